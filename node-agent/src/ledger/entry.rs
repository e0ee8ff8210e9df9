//! One command in the ledger, and the changes that make it what it is.

use std::io;

use muster_common::{
    clock::UnixMillis,
    ids::{CommandId, LedgerId},
};
use serde::{Deserialize, Serialize};

use crate::{
    platform::process::Mark,
    state::{CommandState, Report, Ticket},
};

/// No ledger gets so far: changes of a century, a billion a second.
const LAST_SEQ: u64 = 1 << 62;

/// A command whose end is not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As it was delivered.
    pub ticket: Ticket,
    /// The report of its start. `None`: nothing was started.
    pub first: Option<Report>,
    /// What runs, or ran.
    pub process: Option<Mark>,
    /// What it is to change, as it was before: which boot, which process of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The report of its end.
    pub end: Option<Report>,
    /// Number of its newest report.
    pub last_seq: u64,
    /// Newest report that is stored.
    #[serde(skip)]
    pub acked: u64,
}

impl Entry {
    pub(super) const fn new(ticket: Ticket) -> Self {
        Self { ticket, first: None, process: None, was: None, end: None, last_seq: 0, acked: 0 }
    }

    pub(super) fn start(&mut self, at: UnixMillis) {
        self.last_seq = 1;
        self.first = Some(Report::new(1, CommandState::Running, at));
    }

    /// Ended before anything was started: what the control plane asked for is answered.
    pub(super) fn refused(ticket: Ticket, report: Report) -> Self {
        let mut entry = Self::new(ticket);
        entry.finish(report);
        entry
    }

    pub(super) fn finish(&mut self, report: Report) {
        self.last_seq = report.seq;
        self.process = None;
        self.end = Some(report);
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> CommandState {
        match (&self.end, &self.first) {
            (Some(end), _) => end.state,
            (None, Some(_)) => CommandState::Running,
            (None, None) => CommandState::Delivered,
        }
    }
}

/// Whether lines whose checksums hold can be a journal of ours: what goes on
/// from numbers near the end of all numbers, or without knowing which ledger it
/// is, would only fail later.
pub(super) fn check(lines: &[Line]) -> io::Result<()> {
    let begins = lines.first().is_none_or(|line| matches!(line.change, Change::Begun { .. }));
    if begins && lines.iter().all(|line| line.seq < LAST_SEQ) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "its lines are not those of a ledger"))
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub seq: u64,
    #[serde(flatten)]
    pub change: Change,
}

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub(super) enum Change {
    /// First line of a journal.
    Begun {
        ledger: LedgerId,
        watermark: UnixMillis,
        closed: Vec<(CommandId, UnixMillis)>,
        /// As `Ledger::shown`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<u64>,
    },
    /// Another process begins to write, and has not heard of the control plane.
    Opened,
    /// The control plane was heard.
    Heard,
    /// Taken over from the journal before.
    Kept { entry: Box<Entry> },
    /// Delivered.
    Accepted { ticket: Box<Ticket> },
    /// Delivered, and ended at once: nothing was or will be started.
    Refused { ticket: Box<Ticket>, report: Box<Report> },
    /// It may have run.
    Started { id: CommandId, at: UnixMillis },
    /// What runs.
    Spawned { id: CommandId, process: Mark },
    /// What it is to change.
    Noted { id: CommandId, was: String },
    /// It ended.
    Ended { id: CommandId, report: Box<Report> },
    /// Its end is acknowledged.
    Closed { id: CommandId },
}
