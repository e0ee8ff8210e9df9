//! What a running command speaks with: everything it says is in the ledger
//! before anyone hears it.

use std::{io, sync::Arc};

use muster_common::{
    clock::{Clock, Instant},
    error_chain::Chain,
    ids::CommandId,
};
use tokio::sync::watch;

use crate::{
    ledger::Shared,
    platform::process::Mark,
    state::{Chunk, CommandState, Report},
};

/// What a report costs besides its output. A command that says little at a time
/// could otherwise fill the host's disk with reports.
const REPORT_BYTES: u64 = 200;

/// The voice of one command.
pub(super) struct Voice {
    id: CommandId,
    ledger: Shared,
    news: Arc<watch::Sender<u64>>,
    clock: Clock,
    room: tokio::sync::Mutex<Room>,
}

/// How much more is kept, in how many reports, and what was cut: of standard
/// output, of standard error.
struct Room {
    left: u64,
    reports: u64,
    dropped: [u64; 2],
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
        let room = Room { left: limit, reports: (limit / REPORT_BYTES).max(1), dropped: [0; 2] };
        Self { id, ledger, news, clock, room: tokio::sync::Mutex::new(room) }
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
        let mut room = self.room.lock().await;
        let keep = usize::try_from(room.left).unwrap_or(usize::MAX).min(data.len());
        let kept = &data[..keep];
        if kept.is_empty() || room.reports == 0 || !self.keep(stderr, kept.to_vec(), 0).await {
            room.dropped[usize::from(stderr)] += data.len() as u64;
            return;
        }
        room.left -= keep as u64;
        room.reports -= 1;
        room.dropped[usize::from(stderr)] += (data.len() - keep) as u64;
    }

    /// Says what was cut.
    pub(super) async fn close(&self) {
        let room = self.room.lock().await;
        for stderr in [false, true] {
            let dropped = room.dropped[usize::from(stderr)];
            if dropped > 0 {
                self.keep(stderr, Vec::new(), dropped).await;
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
