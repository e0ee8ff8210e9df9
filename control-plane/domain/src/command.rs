//! Orders for one node.

use muster_common::{
    clock::UnixMillis,
    ids::{CommandId, NodeId, OperationId},
    reason::Reason,
};
use serde::{Deserialize, Serialize};

mod machine;

pub use machine::{Event, Refused, Report, apply};

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Stored; the node has not got it.
    Queued,
    /// Handed to the session; the host may have it in its ledger.
    Delivered,
    /// Started on the host.
    Running,
    /// It ran and said yes.
    Succeeded,
    /// It ran and said no, or could not be started.
    Failed,
    /// Stopped at its time limit.
    TimedOut,
    /// Stopped because someone asked.
    Cancelled,
    /// Started and not seen to end: it may have run.
    Interrupted,
    /// Never delivered in time.
    Expired,
    /// The host's lock file says no.
    Denied,
}

impl State {
    /// All, in the order of a command's life.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Delivered,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Interrupted,
        Self::Expired,
        Self::Denied,
    ];

    /// Whether nothing more can happen to it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Queued | Self::Delivered | Self::Running)
    }

    /// Its written form in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Expired => "expired",
            Self::Denied => "denied",
        }
    }

    /// The state written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One order for one node. What to do stands in its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Never reused.
    pub id: CommandId,
    /// Of which it is part.
    pub operation: OperationId,
    /// For whom.
    pub node: NodeId,
    /// Where it is.
    pub state: State,
    /// At its end, if something ran.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
    /// What the host says it found or made, as it was encoded there; empty: nothing.
    pub result: Vec<u8>,
    /// Someone asked it to stop.
    pub cancel_requested: bool,
    /// At once, without time to tidy up.
    pub cancel_forced: bool,
    /// Last report stored; reports come in order without gaps.
    pub report_seq: u64,
    /// Bytes of output stored.
    pub output_bytes: u64,
    /// Of these, of standard error.
    pub stderr_bytes: u64,
    /// Bytes of output that were cut.
    pub dropped_bytes: u64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Last change.
    pub updated_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// Latest time for delivery, from its operation.
    pub deliver_by: UnixMillis,
    /// The command that it repeats.
    pub retry_of: Option<CommandId>,
}

/// A piece of a command's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Of which command.
    pub command: CommandId,
    /// Of the report that brought it; orders the pieces.
    pub seq: u64,
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// Place in its stream.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
    /// Bytes cut after these.
    pub dropped_bytes: u64,
}
