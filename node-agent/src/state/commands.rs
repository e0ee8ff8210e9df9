//! Orders: what is asked, and what is told about it.

use muster_common::{
    clock::UnixMillis,
    ids::{CommandId, OperationId},
    reason::Reason,
};
use serde::{Deserialize, Serialize};

use super::Span;

/// An order, as it was delivered. Times are the control plane's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Never reused.
    pub id: CommandId,
    /// Of which it is part.
    pub operation: OperationId,
    /// `run-script`.
    pub kind: String,
    /// The kind's own message.
    #[serde(with = "hex::serde")]
    pub args: Vec<u8>,
    /// Not to be started earlier.
    pub not_before: Option<UnixMillis>,
    /// Not to be taken later.
    pub deliver_by: UnixMillis,
    /// Stopped then.
    pub finish_by: Option<UnixMillis>,
    /// Orders of one lane run one after the other; empty: in none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lane: String,
    /// Ties logs of both sides together.
    pub trace: String,
    /// Its place in that trace, of which the parts are to be told; empty: nobody collects them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceparent: String,
    /// When it came, by the host's clock; known of one whose trace somebody collects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<UnixMillis>,
    /// History in which it was issued.
    pub epoch: u64,
}

/// Where a command is, as far as a host can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandState {
    /// In the ledger, not started.
    Delivered,
    /// Started.
    Running,
    /// It said yes.
    Succeeded,
    /// It said no, or could not be started.
    Failed,
    /// Stopped at its time limit.
    TimedOut,
    /// Stopped because someone asked.
    Cancelled,
    /// Started and not seen to end.
    Interrupted,
    /// Came too late.
    Expired,
    /// The lock file says no.
    Denied,
}

impl CommandState {
    /// Whether nothing more can happen to it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Delivered | Self::Running)
    }
}

/// One step of one command. Kept until acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// From 1, no gaps.
    pub seq: u64,
    /// Where the command is now.
    pub state: CommandState,
    /// What it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Chunk>,
    /// At the end of what ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// That ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What it found or made: the wire's `CommandResult`, encoded.
    #[serde(default, with = "hex::serde", skip_serializing_if = "Vec::is_empty")]
    pub result: Vec<u8>,
    /// What was done, in its trace; at its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Host's clock.
    pub at: UnixMillis,
    /// How far the ledger was when this was told. Known when it is told.
    #[serde(skip)]
    pub ledger_seq: u64,
    /// Ties logs of both sides together. Known when it is told.
    #[serde(skip)]
    pub trace: String,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// What was written.
    #[serde(with = "hex::serde")]
    pub data: Vec<u8>,
    /// Bytes cut after these.
    pub dropped: u64,
}

impl Report {
    /// A step without output.
    #[must_use]
    pub const fn new(seq: u64, state: CommandState, at: UnixMillis) -> Self {
        Self {
            seq,
            state,
            output: None,
            exit_code: None,
            signal: None,
            reason: None,
            message: String::new(),
            result: Vec::new(),
            spans: Vec::new(),
            at,
            ledger_seq: 0,
            trace: String::new(),
        }
    }

    /// Why it ended so.
    #[must_use]
    pub fn because(mut self, reason: Reason, message: impl Into<String>) -> Self {
        self.reason = Some(reason);
        self.message = message.into();
        self
    }

    /// Bytes of output it carries.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.output.as_ref().map_or(0, |chunk| chunk.data.len())
    }
}
