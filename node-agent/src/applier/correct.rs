//! Looks after what runs: tells where the host differs from it, and corrects that
//! where the bundle wants it. A correction is a change as any other, journaled and
//! with hooks; only its outcome is told as drift, not as an attempt.

use std::{collections::BTreeMap, sync::Arc};

use muster_common::clock::Instant;

use super::{
    Applier, Failure,
    attempt::Attempt,
    bundle::{self, Bundle, Mode},
    change::Change,
    drift::{self, Difference},
    fetches::Lacking,
    records::Record,
};
use crate::state::{Drift, ItemState, Outcome};

/// What is to be done after a look.
#[derive(Debug, Default)]
pub(super) struct After {
    /// Items that must be looked at again, and when.
    pub(super) again: BTreeMap<String, Instant>,
    /// Items that can be corrected once these are here.
    pub(super) wants: BTreeMap<String, Lacking>,
}

/// What one look has found.
struct Looked {
    record: Record,
    bundle: Bundle,
    differences: Vec<Difference>,
}

impl Applier {
    /// Bundles that run here.
    pub(super) fn running_bundles(&self) -> Vec<String> {
        self.look(|records| {
            let running = records.all().filter(|record| record.state.running.is_some());
            let items = running.map(|record| record.state.item.clone());
            items.filter(|item| bundle::is_item(item)).collect()
        })
    }

    /// Looks whether some items are as they should be. In a pause none is; what is left has
    /// its turn afterwards.
    pub(super) async fn look_after(&mut self, items: Vec<String>) -> After {
        let mut after = After::default();
        for item in items {
            if self.base.pauses.holds() {
                after.again.insert(item, self.base.clock.monotonic());
                continue;
            }
            if let Some(due) = self.look_after_one(&item, &mut after.wants).await {
                after.again.insert(item, due);
            }
        }
        after
    }

    async fn look_after_one(&mut self, item: &str, wants: &mut BTreeMap<String, Lacking>) -> Option<Instant> {
        let Looked { record, bundle, differences } = self.look_at(item).await?;
        let drift = drift::merge(&record.state.drift, &differences, self.base.clock.now());
        let record = self.tell_drift(record, drift).await;
        if differences.is_empty() || bundle.mode != Mode::Correct || is_given_up(&record.state) {
            return None;
        }
        let now = self.base.clock.monotonic();
        let paths = || differences.iter().map(|one| one.path.as_path());
        if let Some(due) = self.pace.held_until(paths(), now) {
            return Some(due);
        }
        let lacking = self.lacking(&bundle).await;
        if !lacking.missing.is_empty() {
            wants.insert(item.to_owned(), lacking);
            return None;
        }
        self.pace.count(paths(), now);
        match self.correct(&record, bundle).await {
            Ok(()) => {
                tracing::info!(item, "{} paths of {item} were corrected on this host", differences.len());
                None
            }
            Err(failure) => {
                self.not_corrected(record, failure).await;
                Some(now + drift::WAIT)
            }
        }
    }

    /// `None`: nothing of the item runs, or its bundle cannot be read any more.
    async fn look_at(&self, item: &str) -> Option<Looked> {
        let name = item.to_owned();
        let running = self.with(move |records| {
            let record = records.get(&name)?.clone();
            let bundle = records.whole(&record)?;
            Some((record, bundle))
        });
        let (record, mut bundle) = running.await?;
        let (locks, around) = (self.rules(), (self.cache(), self.base.hands.clone()));
        let look = move || {
            // Who is not known here any more owns nothing: the file is compared without.
            let _ = bundle.look_up_owners();
            let differences = drift::look(&bundle, &locks, &around);
            Looked { record, bundle, differences }
        };
        Some(self.base.blocking(look).await)
    }

    /// Where an item differs now, known and written down, if that is news.
    async fn tell_drift(&self, record: Record, drift: Vec<Drift>) -> Record {
        if record.state.drift == drift {
            return record;
        }
        let item = &record.state.item;
        for one in drift.iter().filter(|one| !one.corrected && !record.state.drift.contains(one)) {
            tracing::warn!(item, path = one.path, "{} is not as {item} says: {}", one.path, one.what);
        }
        let record = Record { state: ItemState { drift, ..record.state.clone() }, ..record };
        let told = record.clone();
        self.with(move |records| records.tell(told)).await;
        record
    }

    async fn correct(&mut self, record: &Record, bundle: Bundle) -> Result<(), Failure> {
        self.settle().await.map_err(|error| Failure::host(&error))?;
        let Some(version) = record.state.running.clone() else { return Ok(()) };
        let bundle = Arc::new(bundle);
        let (base, former, wanted) = (self.base.clone(), record.clone(), Arc::clone(&bundle));
        let number = record.corrections.saturating_add(1);
        let plan = move |records: &mut super::Records| {
            let (item, version) = (former.state.item.as_str(), former.state.running.as_ref());
            let version = version.ok_or_else(|| Failure::host(&std::io::ErrorKind::NotFound.into()))?;
            let locks = base.locks.current();
            let mut attempt = Attempt::bring(&base, (item, version), &wanted, Some(&former), &locks)?;
            attempt.journal.correction = Some(number);
            Ok((attempt, records.payload(&former)))
        };
        let (attempt, former) = self.with(plan).await?;
        let state = ItemState { drift: drift::corrected(record.state.drift.clone()), ..record.state.clone() };
        let done = Record {
            state,
            owned: attempt.owned.clone(),
            made: attempt.made.clone(),
            corrections: number,
            ..record.clone()
        };
        let change = Change { version: &version.version, new: Some(&bundle), former };
        self.carry_out(attempt, change, |records| records.put(done)).await
    }

    /// The bytes for a correction could not be had.
    pub(super) async fn blobs_missed(&mut self, item: &str, failure: Failure) {
        if let Some(record) = self.record(item) {
            self.not_corrected(record, failure).await;
        }
    }

    async fn not_corrected(&mut self, record: Record, failure: Failure) {
        let item = record.state.item.clone();
        if failure.outcome == Outcome::Broken {
            if let Some(running) = record.state.running {
                self.failed(&item, running.clone(), Some(running), failure).await;
            }
            return;
        }
        let (reason, message) = (failure.error.reason, failure.error.message);
        tracing::warn!(item, %reason, "drift of {item} was not corrected: {message}");
        let drift = drift::failed(record.state.drift.clone(), &format!("{reason}: {message}"));
        self.tell_drift(record, drift).await;
    }
}

/// What runs could not be brought back, or ends the agent when it is: a person is needed.
fn is_given_up(state: &ItemState) -> bool {
    let of_running = state.attempted == state.running;
    match state.outcome {
        Outcome::Broken => true,
        Outcome::RolledBack | Outcome::Rejected => of_running,
        Outcome::UnderWay | Outcome::Applied | Outcome::Unchanged | Outcome::Removed => false,
    }
}
