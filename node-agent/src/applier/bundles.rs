//! Bundles: brought onto the host, and taken off it again.

use std::sync::Arc;

use muster_common::{reason::Reason, sealing::Contents};

use super::{
    Applier, Failure,
    attempt::Attempt,
    bundle::{Bundle, Mode, OnRemove},
    change::Change,
    drift, failure,
    records::{self, Record, Records},
    secrets,
};
use crate::state::{Cause, ItemState, ItemVersion, Offer, Outcome};

impl Applier {
    pub(super) async fn apply_bundle(&mut self, offer: &Offer) -> Result<ItemState, Failure> {
        failure::check_payload(&offer.payload, offer.version.sha256)?;
        let mut bundle = Bundle::decode(&offer.payload)?;
        let contents = self.base.sealing.open(&offer.item, offer.version.sha256, offer.sealed.as_ref())?;
        bundle.fill(&contents)?;
        self.check_owners(&bundle, &offer.item)?;
        self.settle().await.map_err(|error| Failure::host(&error))?;
        let bundle = self.judge(bundle).await?;
        if bundle.mode == Mode::Audit {
            return self.audit(offer, &bundle, contents).await;
        }
        if !self.lacking(&bundle).await.missing.is_empty() {
            return Err(Failure::not_fetched("blobs of it are not here"));
        }
        let former = self.record(&offer.item).filter(|record| !record.owned.is_empty());
        let had = former.is_some();
        let (attempt, former) = self.plan(offer, (Arc::clone(&bundle), contents), former).await?;
        let outcome = if attempt.changes() || !had { Outcome::Applied } else { Outcome::Unchanged };
        let state = self.applied(&offer.item, &offer.version, outcome);
        let (owned, made) = (attempt.owned.clone(), attempt.made.clone());
        let record = Record { owned, made, ..Record::new(state.clone()) };
        let change = Change { version: &offer.version.version, new: Some(&bundle), former };
        self.carry_out(attempt, change, |records| records.put(record)).await?;
        Ok(state)
    }

    /// Looks how the host differs from a bundle. What an earlier version wrote stays its
    /// own: a later one may put back what was there before.
    async fn audit(
        &self,
        offer: &Offer,
        bundle: &Arc<Bundle>,
        contents: Contents,
    ) -> Result<ItemState, Failure> {
        let (locks, wanted) = (self.rules(), Arc::clone(bundle));
        let around = (self.cache(), self.base.hands.clone());
        let differences = self.base.blocking(move || drift::look(&wanted, &locks, &around)).await;
        let state = self.applied(&offer.item, &offer.version, Outcome::Unchanged);
        let state = ItemState { drift: drift::merge(&[], &differences, state.changed_at), ..state };
        let (base, payload) = (self.base.clone(), offer.payload.clone());
        let (owned, made) = self.record(&offer.item).map(|it| (it.owned, it.made)).unwrap_or_default();
        let record = Record { owned, made, ..Record::new(state.clone()) };
        let keep = move |records: &mut Records| {
            secrets::keep(&base.folder, &contents)?;
            records::keep_blob(&base.folder, &payload)?;
            records.put(record)?;
            records.sweep_or_warn();
            Ok(())
        };
        self.with(keep).await.map_err(|error: std::io::Error| Failure::host(&error))?;
        Ok(state)
    }

    /// Whether this host takes a bundle, and to whom its files are to belong here.
    pub(super) async fn judge(&self, mut bundle: Bundle) -> Result<Arc<Bundle>, Failure> {
        let base = self.base.clone();
        let judge = move || {
            bundle.check(&base)?;
            bundle.look_up_owners()?;
            Ok(Arc::new(bundle))
        };
        self.base.blocking(judge).await
    }

    /// An attempt, planned whole, and the bundle that runs until now.
    async fn plan(
        &self,
        offer: &Offer,
        (bundle, contents): (Arc<Bundle>, Contents),
        former: Option<Record>,
    ) -> Result<(Attempt, Option<Bundle>), Failure> {
        let base = self.base.clone();
        let (item, version, payload) = (offer.item.clone(), offer.version.clone(), offer.payload.clone());
        let plan = move |records: &mut Records| {
            let locks = base.locks.current();
            let attempt = Attempt::bring(&base, (&item, &version), &bundle, former.as_ref(), &locks)?;
            // Now, so that a full disk is met before anything changes.
            let kept = secrets::keep(&base.folder, &contents);
            kept.and_then(|()| records::keep_blob(&base.folder, &payload))
                .map_err(|error| Failure::host(&error))?;
            Ok((attempt, former.and_then(|record| records.payload(&record))))
        };
        self.with(plan).await
    }

    pub(super) fn check_owners(&self, bundle: &Bundle, item: &str) -> Result<(), Failure> {
        if bundle.mode == Mode::Audit {
            return Ok(()); // it takes nothing from anybody
        }
        self.look(|records| {
            let owner = |path| records.owner_of(path).filter(|owner| *owner != item);
            match bundle.paths().find_map(|path| Some((path, owner(path)?))) {
                Some((path, owner)) => {
                    let message = format!("{} belongs to {owner} on this host", path.display());
                    Err(Failure::rejected(Reason::PathTaken, Cause::Host, message))
                }
                None => Ok(()),
            }
        })
    }

    /// Does with the files of a bundle what it says is to become of them. A bundle that
    /// cannot be read any more says nothing: what was there before is put back.
    pub(super) async fn take_away(&mut self, record: &Record, version: &ItemVersion) -> Result<(), Failure> {
        self.settle().await.map_err(|error| Failure::host(&error))?;
        let (base, record, version) = (self.base.clone(), record.clone(), version.clone());
        let item = record.state.item.clone();
        let plan = move |records: &mut Records| {
            let former = records.payload(&record);
            let on_remove = former.as_ref().map_or(OnRemove::Restore, |former| match former.mode {
                Mode::Audit => OnRemove::Leave,
                Mode::Monitor | Mode::Correct => former.on_remove,
            });
            let attempt = Attempt::new(&base, &record.state.item, &version, true);
            let mut attempt = attempt.take_away(&record, on_remove, &base.locks.current())?;
            if on_remove != OnRemove::Leave {
                attempt.journal.leaves = record.made;
            }
            Ok((attempt, former))
        };
        let (attempt, former) = self.with(plan).await?;
        let change = Change { version: "", new: None, former };
        let locks = self.rules();
        if attempt.changes() && change.on_change().is_some() && !locks.allows_hooks() {
            return Err(Failure::hook_denied(&locks));
        }
        self.carry_out(attempt, change, move |records| records.remove(&item)).await
    }
}
