//! Brings items onto the host: whole or not at all.
//!
//! For a bundle: judge the offer, write the journal, stage every file beside
//! its place, `validate`, swap by renames, `on_change`, `probe`, prove that the control
//! plane is still reached where the bundle wants that, write the record. The record is
//! the point of decision: whatever fails or dies before
//! it is undone, from the journal if need be, and the host returns to what it
//! ran before. An attempt that a crash cut off is not counted as tried: the
//! control plane offers it again. Only a change that is cut off again and again is
//! given up: its hook may be what ends the agent.
//!
//! Files that are blobs are fetched whole before anything on the host changes, into a
//! cache; other items do not wait for that. That a blob could not be had never counts
//! against a version.
//!
//! What fails for the content's sake is settled. What fails for the host's, a full
//! disk or its lock file, is tried again, with growing waits and at once when the
//! lock file changes.
//!
//! Files that were there before a bundle first wrote them are kept, and come
//! back when the bundle is removed. Nothing is written outside the roots of the
//! lock file, and no symbolic link below them is followed.

mod attempt;
mod base;
mod bundle;
mod bundles;
mod cache;
mod change;
mod confirm;
mod correct;
mod cut_offs;
mod drift;
pub mod explain;
mod failure;
pub mod fetch;
mod fetches;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod guard;
mod hooks;
mod journal;
mod options;
mod records;
mod retries;
mod secrets;
mod settle;
mod task;
mod traced;
mod waits;
mod work;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_common::{digest::Sha256, generation::Offer as Judged, reason::Reason};
use parking_lot::Mutex;

use base::Base;
pub use base::Options;
use bundle::Bundle;
use failure::Failure;
use records::{Record, Records};
pub use task::{Handle, Task};

use crate::{
    locks::Locks,
    state::{Cause, ItemState, ItemVersion, Offer, Outcome, Removal},
};

/// The applier cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its folder cannot be used.
    #[error("cannot use {}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The items of one host.
#[derive(Debug)]
pub struct Applier {
    base: Base,
    /// Only one task works with them; it never holds them over an await.
    records: Arc<Mutex<Records>>,
    /// Failures that no record has: they are said as long as this process lives.
    told: BTreeMap<String, ItemState>,
    /// How often paths were corrected of late.
    pace: drift::Pace,
}

impl Applier {
    /// Opens a folder. What an earlier process did not finish is undone by the task.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let folder = options.folder.clone();
        let open = move || {
            let base = Base::open(options)?;
            let records = Records::open(&base.folder, base.clock.now())?;
            Ok((base, records))
        };
        let opened = match tokio::task::spawn_blocking(open).await {
            Ok(opened) => opened,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let (base, records) = opened.map_err(|source| Error::Folder { folder, source })?;
        Ok(Self {
            base,
            records: Arc::new(Mutex::new(records)),
            told: BTreeMap::new(),
            pace: drift::Pace::default(),
        })
    }

    /// Where each item stands, sorted by name.
    #[must_use]
    pub fn states(&self) -> Vec<ItemState> {
        let mut states: BTreeMap<String, ItemState> = self.look(|records| {
            records.all().map(|record| (record.state.item.clone(), record.state.clone())).collect()
        });
        states.extend(self.told.clone());
        states.into_values().collect()
    }

    /// For what is sealed for this host.
    #[must_use]
    pub fn sealing_key(&self) -> &[u8] {
        self.base.sealing.public()
    }

    /// The agent's options that run.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.record(options::ITEM).map(|record| record.settings).unwrap_or_default()
    }

    /// Brings an offer onto the host, or says why not.
    pub async fn apply(&mut self, offer: Offer) -> ItemState {
        self.told.remove(&offer.item);
        let held = self.record(&offer.item).map(|record| record.state);
        if let Some(state) = held.as_ref().and_then(|held| self.already(held, &offer.version)) {
            if state.error.is_some() {
                self.told.insert(offer.item, state.clone());
            }
            return state;
        }
        let (version, had_sealed) = (offer.version.clone(), offer.sealed.is_some());
        let running = held.and_then(|held| held.running);
        let result = match offer.item.as_str() {
            options::ITEM => self.apply_settings(&offer).await,
            item if bundle::is_item(item) => self.apply_bundle(&offer).await,
            item => Err(Failure::rejected(
                Reason::ItemKindUnknown,
                Cause::Content,
                format!("{item:?} is no item that this agent knows"),
            )),
        };
        match result {
            Ok(state) => {
                let (item, version) = (offer.item, version.version);
                tracing::info!(item, version, "{item} runs version {version}");
                state
            }
            Err(failure) => {
                let state = self.failed(&offer.item, version, running, failure).await;
                if had_sealed {
                    self.with(|records| records.sweep_or_warn()).await;
                }
                state
            }
        }
    }

    /// Takes an item off the host. `None`: there is nothing of it.
    pub async fn remove(&mut self, removal: Removal) -> Option<ItemState> {
        self.told.remove(&removal.item);
        let record = self.record(&removal.item)?;
        let version =
            ItemVersion { generation: removal.generation, version: String::new(), sha256: Sha256::ZERO };
        let state = &record.state;
        let newest = state.attempted.iter().chain(&state.running).map(|version| version.generation).max();
        let refused = state.attempted.as_ref() == Some(&version) && !failure::is_unsettled(state);
        if refused || newest.is_some_and(|held| held > removal.generation) {
            return Some(record.state); // the same word again, or an older one than what is here
        }
        let done = if record.owned.is_empty() {
            let item = removal.item.clone();
            let remove = move |records: &mut Records| {
                records.remove(&item)?;
                records.sweep_or_warn();
                Ok::<_, std::io::Error>(())
            };
            let removed = self.with(remove).await;
            removed.map_err(|error| Failure::host(&error))
        } else {
            self.take_away(&record, &version).await
        };
        match done {
            Ok(()) => {
                tracing::info!(item = removal.item, "{} was taken off this host", removal.item);
                None
            }
            Err(failure) => Some(self.failed(&removal.item, version, record.state.running, failure).await),
        }
    }

    /// Whether no other bundle has a file that an offer brings. It says nothing of
    /// whether the offer is any good.
    fn has_room(&self, offer: &Offer) -> bool {
        let bundle = Bundle::decode(&offer.payload);
        bundle.is_ok_and(|bundle| self.check_owners(&bundle, &offer.item).is_ok())
    }

    fn beat(&self, within: std::time::Duration) {
        self.base.beat(within);
    }

    fn rules(&self) -> Locks {
        self.base.locks.current()
    }

    fn has_unsaved(&self) -> bool {
        self.look(Records::has_unsaved)
    }

    /// What an attempt kept that an earlier process did not finish.
    async fn sweep_secrets(&self) {
        if let Err(error) = self.with(|records| records.sweep_secrets()).await {
            tracing::warn!(%error, "protected contents that nothing needs could not be taken away");
        }
    }

    async fn save_unsaved(&self) {
        if self.has_unsaved() {
            self.with(Records::save_unsaved).await;
        }
    }

    /// Works with the records on a thread where waiting for the disk harms nobody.
    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Records) -> T + Send + 'static) -> T {
        let records = Arc::clone(&self.records);
        self.base.blocking(move || work(&mut records.lock())).await
    }

    fn look<T>(&self, look: impl FnOnce(&Records) -> T) -> T {
        look(&self.records.lock())
    }

    fn record(&self, item: &str) -> Option<Record> {
        self.look(|records| records.get(item).cloned())
    }

    fn running(&self, item: &str) -> Option<ItemVersion> {
        self.record(item).and_then(|record| record.state.running)
    }

    /// The answer to an offer that needs no work.
    fn already(&self, held: &ItemState, offered: &ItemVersion) -> Option<ItemState> {
        let newest = held.attempted.as_ref().or(held.running.as_ref())?;
        match Judged::judge(
            offered.generation,
            offered.sha256.as_bytes(),
            newest.generation,
            newest.sha256.as_bytes(),
        ) {
            Judged::Same if failure::is_unsettled(held) => None,
            Judged::Older | Judged::Same => Some(held.clone()),
            Judged::Conflicting => {
                let message = format!("generation {} was offered with two contents", offered.generation);
                let failure = Failure::rejected(Reason::GenerationConflict, Cause::ControlPlane, message);
                let (attempted, running) = (Some(offered.clone()), held.running.clone());
                Some(failure.state(&held.item, attempted, running, self.base.clock.now()))
            }
            Judged::Newer => None,
        }
    }

    async fn apply_settings(&self, offer: &Offer) -> Result<ItemState, Failure> {
        failure::check_payload(&offer.payload, offer.version.sha256)?;
        let settings = options::parse(&offer.payload)?;
        let state = self.applied(&offer.item, &offer.version, Outcome::Applied);
        let record = Record { settings, ..Record::new(state.clone()) };
        self.with(|records| records.put(record)).await.map_err(|error| Failure::host(&error))?;
        Ok(state)
    }

    fn applied(&self, item: &str, version: &ItemVersion, outcome: Outcome) -> ItemState {
        ItemState {
            item: item.to_owned(),
            running: Some(version.clone()),
            attempted: Some(version.clone()),
            outcome,
            error: None,
            changed_at: self.base.clock.now(),
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    async fn failed(
        &mut self,
        item: &str,
        version: ItemVersion,
        running: Option<ItemVersion>,
        failure: Failure,
    ) -> ItemState {
        let record = self.record(item);
        let drift = record.as_ref().map(|record| record.state.drift.clone()).unwrap_or_default();
        let state = failure.state(item, Some(version), running, self.base.clock.now());
        let state = ItemState { drift, ..state };
        if let Some(held) = record.as_ref().map(|record| &record.state) {
            // Tried again, with the same result: no news since then.
            let changed_at = held.changed_at;
            if *held == (ItemState { changed_at, ..state.clone() }) {
                return held.clone();
            }
        }
        let Some(error) = &state.error else { return state };
        tracing::warn!(item, reason = %error.reason, outcome = ?state.outcome, "{item} was not applied: {}", error.message);
        if error.reason == Reason::PathTaken {
            // It was not tried: the other bundle may be about to let go.
            self.told.insert(item.to_owned(), state.clone());
            return state;
        }
        let record = match record {
            Some(record) => Record { state: state.clone(), ..record },
            None => Record::new(state.clone()),
        };
        self.with(|records| records.note(record)).await;
        state
    }
}

/// Undoes what an agent that no longer runs left unfinished.
///
/// # Errors
/// If the folder cannot be used.
pub async fn settle(options: Options) -> Result<(), Error> {
    let folder = options.folder.clone();
    if !folder.exists() {
        return Ok(());
    }
    let mut applier = Applier::open(options).await?;
    applier.settle().await.map_err(|source| Error::Folder { folder, source })
}

/// The options that run, read beside an applier that may be at work.
#[must_use]
pub fn settings_on_disk(folder: &Path) -> BTreeMap<String, String> {
    records::read(folder, options::ITEM).map(|record| record.settings).unwrap_or_default()
}

#[cfg(test)]
mod tests;
