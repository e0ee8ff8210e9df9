//! What is taken away because it is old: join requests whose token has run
//! out, the tail of the change feed, operations that ended long ago with their
//! commands, output and files, or that are too many, alerts that ended long ago or are too many, silences that
//! ended, events, and what became of the times of
//! schedules. What has not ended stays. In small writes, between which others get their turn.

use muster_common::ids::EventId;
use muster_store::{
    ReadAlerts as _, ReadEvents as _, ReadOperations as _, WriteAlerts as _, WriteBlobs as _,
    WriteChanges as _, WriteEvents as _, WriteJoinRequests as _, WriteOperations as _, WriteRollouts as _,
    WriteSchedules as _, WriteSpentTokens as _, WriteTx,
};

use super::{App, Error};

/// Revisions, or commands, in one write: some milliseconds of the writer.
const STEP: u64 = 200;

impl App {
    /// Takes away what is older than it has to be kept.
    ///
    /// # Errors
    /// If the store fails; the rest goes next time.
    pub async fn prune(&self) -> Result<(), Error> {
        let kept = &self.fixed.retention;
        let (revisions, before) = (kept.revisions, self.clock.now() - kept.operations);
        // Never what one that serves has not taken in.
        let applied = self.replicas.all_know().min(*self.feed.applied().borrow());
        let now = self.clock.now();
        self.in_steps("join-requests", move |tx| Ok(tx.join_request_prune(now, STEP)?)).await?;
        self.in_steps("spent-tokens", move |tx| Ok(tx.spent_token_prune(now, STEP)?)).await?;
        self.in_steps("changes", move |tx| Ok(tx.changes_prune(revisions, applied, STEP)?)).await?;
        let most = kept.operations_at_most;
        let until = move |tx: &mut WriteTx<'_>| {
            let newest = tx.operation_newest_since(most)?;
            Ok::<_, Error>(newest.map_or(before, |since| since.max(before)))
        };
        self.in_steps("results", move |tx| {
            let until = until(tx)?;
            Ok(tx.blob_release_files(until, STEP, now)?)
        })
        .await?;
        self.in_steps("operations", move |tx| {
            let until = until(tx)?;
            Ok(tx.operation_prune(until, STEP)?)
        })
        .await?;
        self.in_steps("alerts", move |tx| {
            let newest = tx.alert_newest_since(most)?;
            Ok(tx.alert_prune(newest.map_or(before, |since| since.max(before)), STEP)?)
        })
        .await?;
        self.in_steps("silences", move |tx| Ok(tx.silence_prune(before, STEP)?)).await?;
        self.prune_events().await?;
        let fires = kept.schedule_fires;
        self.in_steps("schedule-fires", move |tx| Ok(tx.schedule_fire_prune(before, fires, STEP)?)).await?;
        self.in_steps("touches", |tx| Ok(tx.touches_prune(STEP)?)).await
    }

    async fn prune_events(&self) -> Result<(), Error> {
        let (kept, most) = (self.fixed.retention.events, self.fixed.retention.events_at_most);
        let old = (self.clock.now() - kept, EventId::from_u128(0));
        // Read apart: to count so far takes longer than a write may.
        let beyond = self.store.read_own(move |tx| tx.event_beyond(most).map_err(Error::from)).await?;
        let upto = beyond.map_or(old, |beyond| old.max(beyond));
        self.in_steps("events", move |tx| Ok(tx.event_prune(upto, STEP)?)).await
    }

    async fn in_steps<F>(&self, what: &'static str, step: F) -> Result<(), Error>
    where
        F: Fn(&mut WriteTx<'_>) -> Result<u64, Error> + Copy + Send + 'static,
    {
        while !self.is_draining() {
            let gone = self.store.write(self.own_stamp("retention.prune"), step).await?.value;
            self.metrics.pruned(what, gone);
            if gone == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}
