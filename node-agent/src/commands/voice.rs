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
pub struct Voice {
    id: CommandId,
    ledger: Shared,
    news: Arc<watch::Sender<u64>>,
    clock: Clock,
    output: tokio::sync::Mutex<Output>,
    limit: u64,
    /// Said already, by an earlier process of the agent.
    said: parking_lot::Mutex<Said>,
}

/// What is in the ledger of standard output and of standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) bytes: [u64; 2],
    pub(super) dropped: [u64; 2],
    /// Reports with output.
    pub(super) reports: u64,
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
        let output = tokio::sync::Mutex::new(Output::new(limit));
        Self { id, ledger, news, clock, output, limit, said: parking_lot::Mutex::default() }
    }

    /// Goes on where an earlier process ended. The command is heard from its beginning once
    /// more; what was said is not said again.
    pub(super) fn after(mut self, said: Said) -> Self {
        self.output.get_mut().go_on_after(said.bytes, said.reports);
        *self.said.lock() = said;
        self
    }

    /// About how many bytes of output it keeps.
    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// A report of now.
    #[must_use]
    pub fn report(&self, state: CommandState) -> Report {
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

    /// Notes what is to be changed. It must not be if that fails.
    pub(super) async fn noted(&self, was: String) -> io::Result<()> {
        let id = self.id;
        self.ledger.with(move |ledger| ledger.noted(id, was)).await.map_err(io::Error::other)
    }

    /// A piece of output; what is over the limit is counted and cut.
    pub async fn output(&self, stderr: bool, data: &[u8]) {
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

    /// Output that never came here: it is counted as cut.
    pub(super) async fn lost(&self, stderr: bool, bytes: u64) {
        self.output.lock().await.lost(stderr, bytes);
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
                output.lost(stderr, piece.len() as u64);
            }
        }
    }

    async fn keep(&self, stderr: bool, data: Vec<u8>, dropped: u64) -> bool {
        let Some((data, dropped)) = self.said.lock().news(stderr, data, dropped) else { return true };
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

impl Said {
    /// What a chunk in the ledger says. One that counts what was cut has a marker, and nothing
    /// of the output.
    pub(super) fn add(&mut self, chunk: &Chunk) {
        let stream = usize::from(chunk.stderr);
        self.dropped[stream] += chunk.dropped;
        if chunk.dropped == 0 {
            self.bytes[stream] += chunk.data.len() as u64;
            self.reports += 1;
        }
    }

    /// What of this was not said before. `None`: nothing.
    fn news(&mut self, stderr: bool, mut data: Vec<u8>, dropped: u64) -> Option<(Vec<u8>, u64)> {
        let stream = usize::from(stderr);
        let is_marker = dropped > 0;
        let known = usize::try_from(self.bytes[stream]).unwrap_or(usize::MAX).min(data.len());
        let known = if is_marker { 0 } else { known };
        let counted = self.dropped[stream].min(dropped);
        data.drain(..known);
        self.bytes[stream] -= known as u64;
        self.dropped[stream] -= counted;
        let is_news = if is_marker { dropped > counted } else { !data.is_empty() };
        is_news.then(|| (data, dropped - counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_is_not_said_again() {
        let mut said = Said { bytes: [5, 0], dropped: [0, 7], reports: 2 };
        assert_eq!(said.news(false, b"abc".to_vec(), 0), None);
        assert_eq!(said.news(true, b"x".to_vec(), 0), Some((b"x".to_vec(), 0)), "each stream for itself");
        assert_eq!(said.news(false, b"defg".to_vec(), 0), Some((b"fg".to_vec(), 0)));
        assert_eq!(said.news(false, b"h".to_vec(), 0), Some((b"h".to_vec(), 0)));
        assert_eq!(said.news(true, Vec::new(), 9), Some((Vec::new(), 2)));
        assert_eq!(said.news(true, Vec::new(), 1), Some((Vec::new(), 1)));
        let mut said = Said::default();
        for (data, dropped) in [(&b"abc\n"[..], 0), (b"[cut]\n", 3)] {
            said.add(&Chunk { stderr: false, data: data.to_vec(), dropped });
        }
        assert_eq!(said, Said { bytes: [4, 0], dropped: [3, 0], reports: 1 });
        assert_eq!(said.news(false, b"abc\n".to_vec(), 0), None);
        assert_eq!(said.news(false, b"[cut]\n".to_vec(), 3), None, "a marker, too, is said once");
    }
}
