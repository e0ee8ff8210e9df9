//! What is taken away because it is old: join requests whose token has run
//! out, the tail of the change feed, and operations that ended long ago with their
//! commands and output. In small writes, between which others get their turn.

use muster_store::{
    WriteChanges as _, WriteJoinRequests as _, WriteOperations as _, WriteRollouts as _,
    WriteSpentTokens as _, WriteTx,
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
        // Never what this process has not taken in itself.
        let applied = *self.feed.applied().borrow();
        let now = self.clock.now();
        self.in_steps("join-requests", move |tx| Ok(tx.join_request_prune(now, STEP)?)).await?;
        self.in_steps("spent-tokens", move |tx| Ok(tx.spent_token_prune(now, STEP)?)).await?;
        self.in_steps("changes", move |tx| Ok(tx.changes_prune(revisions, applied, STEP)?)).await?;
        self.in_steps("operations", move |tx| Ok(tx.operation_prune(before, STEP)?)).await?;
        self.in_steps("touches", |tx| Ok(tx.touches_prune(STEP)?)).await
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
