//! One order to many nodes.

use std::time::Duration;

use muster_common::{clock::UnixMillis, ids::OperationId};

use crate::command;

/// One request that fanned out to commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Never reused.
    pub id: OperationId,
    /// As written.
    pub selector: String,
    /// `run-script`.
    pub kind: String,
    /// The kind's message, as sent to hosts.
    pub args: Vec<u8>,
    /// The caller's own id of the request.
    pub request_id: Option<String>,
    /// Hash of what was asked under that id.
    pub request_sha256: Vec<u8>,
    /// By whom.
    pub created_by: String,
    /// When.
    pub created_at: UnixMillis,
    /// Earliest start on a host.
    pub not_before: Option<UnixMillis>,
    /// Latest delivery.
    pub deliver_by: UnixMillis,
    /// From its start on a host.
    pub run_timeout: Duration,
    /// Someone asked it to stop.
    pub cancel_requested: bool,
    /// When its last command ended.
    pub ended_at: Option<UnixMillis>,
    /// How many commands it has; fixed when it starts.
    pub total: u32,
    /// Of the request.
    pub trace_id: String,
}

/// How many commands are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u32; command::State::ALL.len()]);

impl Counts {
    /// Commands in one state.
    #[must_use]
    pub const fn get(&self, state: command::State) -> u32 {
        self.0[state as usize]
    }

    /// Adds commands in one state.
    pub const fn add(&mut self, state: command::State, count: u32) {
        self.0[state as usize] += count;
    }

    /// All commands.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Those that have not ended.
    #[must_use]
    pub fn open(&self) -> u32 {
        command::State::ALL.into_iter().filter(|s| !s.is_end()).map(|s| self.get(s)).sum()
    }
}
