//! What a running command speaks with: everything it says is in the ledger
//! before anyone hears it.

use std::{io, sync::Arc};

use muster_common::{
    clock::{Clock, Instant},
    error_chain::Chain,
    ids::CommandId,
};
use tokio::sync::watch;

use super::output::{Output, PIECE};
use crate::{
    ledger::Shared,
    platform::process::Mark,
    state::{Chunk, CommandState, Report},
};

/// The voice of one command.
pub(super) struct Voice {
    id: CommandId,
    ledger: Shared,
    news: Arc<watch::Sender<u64>>,
    clock: Clock,
    output: tokio::sync::Mutex<Output>,
}

impl Voice {
    /// A voice that keeps about `limit` bytes of output.
    pub(super) fn new(
        id: CommandId,
        ledger: Shared,
        news: Arc<watch::Sender<u64>>,
        clock: Clock,
        limit: u64,
    ) -> Self {
        Self { id, ledger, news, clock, output: tokio::sync::Mutex::new(Output::new(limit)) }
    }

    /// A report of now.
    pub(super) fn report(&self, state: CommandState) -> Report {
        Report::new(0, state, self.clock.now())
    }

    /// Time for intervals.
    pub(super) fn monotonic(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Notes which process it is. It must not do anything if that fails.
    pub(super) async fn spawned(&self, mark: Option<Mark>) -> io::Result<()> {
        let mark = mark.ok_or_else(|| io::Error::other("the kernel does not say when it was started"))?;
        let id = self.id;
        self.ledger.with(move |ledger| ledger.spawned(id, mark)).await.map_err(io::Error::other)
    }

    /// A piece of output; what is over the limit is counted and cut.
    pub(super) async fn output(&self, stderr: bool, data: &[u8]) {
        let mut output = self.output.lock().await;
        let kept = output.push(stderr, data);
        self.say(&mut output, stderr, kept).await;
    }

    /// Nothing has come for some time, or nothing more comes: a line that is not over is
    /// not held back any longer.
    pub(super) async fn pause(&self, stderr: bool) {
        let mut output = self.output.lock().await;
        let kept = output.flush(stderr);
        self.say(&mut output, stderr, kept).await;
    }

    /// Says what was cut.
    pub(super) async fn close(&self) {
        for stderr in [false, true] {
            self.pause(stderr).await;
            if let Some((marker, dropped)) = self.output.lock().await.close(stderr) {
                self.keep(stderr, marker, dropped).await;
            }
        }
    }

    async fn say(&self, output: &mut Output, stderr: bool, kept: Vec<u8>) {
        for piece in kept.chunks(PIECE) {
            if !self.keep(stderr, piece.to_vec(), 0).await {
                output.lost(stderr, piece.len());
            }
        }
    }

    async fn keep(&self, stderr: bool, data: Vec<u8>, dropped: u64) -> bool {
        let id = self.id;
        let report =
            Report { output: Some(Chunk { stderr, data, dropped }), ..self.report(CommandState::Running) };
        let kept = self.ledger.with(move |ledger| ledger.output(id, report)).await;
        if let Err(error) = &kept {
            tracing::error!(command = %id, error = %Chain(error), "could not keep output of command {id}");
        }
        self.news.send_modify(|count| *count += 1);
        kept.is_ok()
    }
}
