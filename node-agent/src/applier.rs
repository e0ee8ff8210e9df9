//! Brings items onto the host: whole or not at all.
//!
//! For a bundle: judge the offer, write the journal, stage every file beside
//! its place, `validate`, swap by renames, `on_change`, `probe`, write the
//! record. The record is the point of decision: whatever fails or dies before
//! it is undone, from the journal if need be, and the host returns to what it
//! ran before. An attempt that a crash cut off is not counted as tried: the
//! control plane offers it again.
//!
//! Files that were there before a bundle first wrote them are kept, and come
//! back when the bundle is removed. Nothing is written outside the roots of the
//! lock file, and no symbolic link below them is followed.

mod attempt;
mod bundle;
mod change;
mod failure;
mod hooks;
mod journal;
mod options;
mod place;
mod records;
mod task;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use muster_common::{
    clock::Clock, digest::Sha256, error_chain::Chain, generation::Offer as Judged, reason::Reason,
};

use attempt::Attempt;
use bundle::Bundle;
use change::Change;
use failure::Failure;
use records::{Record, Records};
pub use task::{Handle, Task};

use crate::{
    locks,
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
    folder: PathBuf,
    locks: locks::Reader,
    clock: Clock,
    records: Records,
}

impl Applier {
    /// Opens a folder, and undoes what an earlier process did not finish.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub async fn open(folder: &Path, locks: locks::Reader, clock: Clock) -> Result<Self, Error> {
        let unusable = |source| Error::Folder { folder: folder.to_owned(), source };
        let records = Records::open(folder).map_err(unusable)?;
        let mut applier = Self { folder: folder.to_owned(), locks, clock, records };
        applier.settle().await.map_err(unusable)?;
        Ok(applier)
    }

    /// Where each item stands, sorted by name.
    #[must_use]
    pub fn states(&self) -> Vec<ItemState> {
        self.records.all().map(|record| record.state.clone()).collect()
    }

    /// The agent's options that run.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.records.get(options::ITEM).map(|record| record.settings.clone()).unwrap_or_default()
    }

    /// Brings an offer onto the host, or says why not.
    pub async fn apply(&mut self, offer: Offer) -> ItemState {
        let held = self.records.get(&offer.item).map(|record| record.state.clone());
        if let Some(state) = held.as_ref().and_then(|held| self.already(held, &offer.version)) {
            return state;
        }
        let version = offer.version.clone();
        let running = held.and_then(|held| held.running);
        let result = match offer.item.as_str() {
            options::ITEM => self.apply_settings(&offer),
            item if bundle::is_item(item) => self.apply_bundle(&offer).await,
            item => Err(Failure::rejected(
                Reason::ItemKindUnknown,
                Cause::Content,
                format!("{item:?} is no item that this agent knows"),
            )),
        };
        match result {
            Ok(state) => {
                tracing::info!(
                    item = offer.item,
                    version = version.version,
                    "{} runs version {}",
                    offer.item,
                    version.version
                );
                state
            }
            Err(failure) => self.failed(&offer.item, version, running, failure),
        }
    }

    /// Takes an item off the host. `None`: there is nothing of it.
    pub async fn remove(&mut self, removal: Removal) -> Option<ItemState> {
        let record = self.records.get(&removal.item)?.clone();
        let newest = record
            .state
            .attempted
            .iter()
            .chain(&record.state.running)
            .map(|version| version.generation)
            .max();
        if newest.is_some_and(|held| held > removal.generation) {
            return Some(record.state); // an older word than what is here
        }
        let version =
            ItemVersion { generation: removal.generation, version: String::new(), sha256: Sha256::ZERO };
        let done = if record.owned.is_empty() {
            self.records.remove(&removal.item).map_err(|error| Failure::host(&error))
        } else {
            self.take_away(&record, &version).await
        };
        match done {
            Ok(()) => {
                tracing::info!(item = removal.item, "{} was taken off this host", removal.item);
                None
            }
            Err(failure) => Some(self.failed(&removal.item, version, record.state.running, failure)),
        }
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
            Judged::Older | Judged::Same => Some(held.clone()),
            Judged::Conflicting => {
                let message = format!("generation {} was offered with two contents", offered.generation);
                let failure = Failure::rejected(Reason::GenerationConflict, Cause::ControlPlane, message);
                Some(failure.state(
                    &held.item,
                    held.attempted.clone(),
                    held.running.clone(),
                    self.clock.now(),
                ))
            }
            Judged::Newer => None,
        }
    }

    fn apply_settings(&mut self, offer: &Offer) -> Result<ItemState, Failure> {
        failure::check_payload(&offer.payload, offer.version.sha256)?;
        let settings = options::parse(&offer.payload)?;
        let state = self.applied(&offer.item, &offer.version, Outcome::Applied);
        self.records
            .put(Record { settings, ..Record::new(state.clone()) })
            .map_err(|error| Failure::host(&error))?;
        Ok(state)
    }

    async fn apply_bundle(&mut self, offer: &Offer) -> Result<ItemState, Failure> {
        failure::check_payload(&offer.payload, offer.version.sha256)?;
        let bundle = Bundle::decode(&offer.payload)?;
        let locks = self.locks.current();
        bundle.check(&locks)?;
        self.check_owners(&bundle, &offer.item)?;
        let former = self.records.get(&offer.item).filter(|record| !record.owned.is_empty()).cloned();
        let attempt =
            Attempt::bring(&self.folder, (&offer.item, &offer.version), &bundle, former.as_ref(), &locks)?;
        let outcome =
            if attempt.changes() || former.is_none() { Outcome::Applied } else { Outcome::Unchanged };
        let state = self.applied(&offer.item, &offer.version, outcome);
        let record =
            Record { owned: attempt.owned.clone(), made: attempt.made.clone(), ..Record::new(state.clone()) };
        let payload = offer.payload.clone();
        let change = Change {
            version: &offer.version.version,
            new: Some(&bundle),
            former: former.as_ref().and_then(|record| self.records.payload(record)),
        };
        let folder = self.folder.clone();
        self.carry_out(attempt, change, move |records| {
            records::keep_blob(&folder, &payload)?;
            records.put(record)
        })
        .await?;
        Ok(state)
    }

    fn check_owners(&self, bundle: &Bundle, item: &str) -> Result<(), Failure> {
        let foreign = |path: &&Path| self.records.owner_of(path).is_some_and(|owner| owner != item);
        match bundle.paths().find(foreign) {
            Some(path) => {
                let message = format!("{} belongs to another bundle on this host", path.display());
                Err(Failure::rejected(Reason::PayloadInvalid, Cause::Content, message))
            }
            None => Ok(()),
        }
    }

    /// Puts back what was there before the bundle, or nothing where nothing was.
    async fn take_away(&mut self, record: &Record, version: &ItemVersion) -> Result<(), Failure> {
        let attempt = Attempt::take_away(&self.folder, record, version, &self.locks.current())?;
        let change = Change { version: "", new: None, former: self.records.payload(record) };
        let (item, made) = (record.state.item.clone(), record.made.clone());
        self.carry_out(attempt, change, move |records| records.remove(&item)).await?;
        if let Err(error) = journal::remove_folders(&made) {
            tracing::warn!(%error, "folders of {} could not be removed", record.state.item);
        }
        Ok(())
    }

    fn applied(&self, item: &str, version: &ItemVersion, outcome: Outcome) -> ItemState {
        ItemState {
            item: item.to_owned(),
            running: Some(version.clone()),
            attempted: Some(version.clone()),
            outcome,
            error: None,
            changed_at: self.clock.now(),
        }
    }

    fn failed(
        &mut self,
        item: &str,
        version: ItemVersion,
        running: Option<ItemVersion>,
        failure: Failure,
    ) -> ItemState {
        let state = failure.state(item, Some(version), running, self.clock.now());
        if let Some(error) = &state.error {
            tracing::warn!(item, reason = %error.reason, outcome = ?state.outcome, "{item} was not applied: {}", error.message);
        }
        let record = match self.records.get(item) {
            Some(record) => Record { state: state.clone(), ..record.clone() },
            None => Record::new(state.clone()),
        };
        if let Err(error) = self.records.put(record) {
            // It is told in this session all the same; the next process will be offered it again.
            tracing::error!(error = %Chain(&error), "could not write down what became of {item}");
        }
        state
    }
}

/// The options that run, read beside an applier that may be at work.
#[must_use]
pub fn settings_on_disk(folder: &Path) -> BTreeMap<String, String> {
    records::read(folder, options::ITEM).map(|record| record.settings).unwrap_or_default()
}

#[cfg(test)]
mod tests;
