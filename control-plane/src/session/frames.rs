//! What is said in a session, in the house's own words. `api::wire` turns them
//! into the messages of `muster.agent.v1` and back.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    generation::Generation,
    ids::{CommandId, InstanceId, NodeId, OperationId, SessionId},
    reason::Reason,
};
use muster_domain::{
    command,
    condition::Condition,
    facts::Facts,
    item::{ItemName, ItemState},
    liveness,
    node::LedgerMark,
};

pub use self::{
    ack::{Ack, CommandAck},
    desired::{Desired, Removal, Upsert},
    trust::{Trust, TrustBundle},
};
use super::line::Line;
use crate::traces::Told;

mod ack;
mod desired;
mod trust;

/// From a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// Who speaks, and what is on the host.
    Hello(Box<Hello>),
    /// I live.
    Heartbeat(Heartbeat),
    /// About the host.
    Facts(Box<FactsReport>),
    /// What became of items.
    Items(ItemReport),
    /// A step of a command.
    Command(CommandReport),
    /// Roots in force on the host.
    TrustBundle(u64),
    /// The node ends the session on purpose.
    Goodbye(Goodbye),
    /// A kind this release does not know.
    Unknown,
}

/// The first message.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// This process.
    pub instance: InstanceId,
    /// How far the host's ledger is.
    pub ledger: LedgerMark,
    /// Boot of the host.
    pub boot_id: String,
    /// Claim.
    pub machine_fingerprint: Vec<u8>,
    /// Release of the agent.
    pub agent_version: String,
    /// Oldest protocol it speaks.
    pub protocol_min: u32,
    /// Newest protocol it speaks.
    pub protocol_max: u32,
    /// Item and command kinds it knows.
    pub capabilities: Vec<String>,
    /// Last epoch seen; 0: none.
    pub epoch: u64,
    /// The newest that it was told.
    pub newest: Generation,
    /// The host's clock.
    pub wall_time: UnixMillis,
    /// Of the certificate it holds.
    pub certificate_generation: u64,
    /// Of the roots it trusts.
    pub trust_bundle_version: u64,
    /// For what is sealed to it; empty: it takes nothing sealed.
    pub sealing_key: Vec<u8>,
    /// Of its last facts; empty: none.
    pub facts_sha256: Vec<u8>,
    /// All it has or has tried.
    pub items: Vec<ItemState>,
    /// Commands in its ledger whose end is not acknowledged.
    pub open_commands: Vec<OpenCommand>,
}

/// A command the host knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCommand {
    /// Which.
    pub id: CommandId,
    /// Where it is. `None`: in a state this release does not know.
    pub state: Option<command::State>,
}

/// I live.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// From 1, no gaps.
    pub seq: u64,
    /// Over what runs. `None`: malformed.
    pub state_hash: Option<Sha256>,
    /// How busy the host is.
    pub load: Load,
    /// Those that changed.
    pub conditions: Vec<Condition>,
}

/// How busy a host is, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Of all cores.
    pub cpu: u32,
    /// Memory in use.
    pub memory: u32,
    /// The fullest disk.
    pub disk: u32,
}

/// About the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsReport {
    /// All facts.
    pub facts: Facts,
    /// Of their encoding, as in Hello.
    pub sha256: Vec<u8>,
}

/// What became of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemReport {
    /// Rises in one agent process.
    pub seq: u64,
    /// Their states.
    pub items: Vec<ItemState>,
    /// These are all.
    pub complete: bool,
    /// What was done for some, in traces.
    pub traces: Vec<ItemTold>,
}

/// What a host did to bring a version of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemTold {
    /// Which.
    pub item: ItemName,
    /// At which place of the history.
    pub generation: Generation,
    /// The parts of it.
    pub spans: Vec<Told>,
}

/// A step of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandReport {
    /// Which.
    pub command: CommandId,
    /// From 1, no gaps.
    pub seq: u64,
    /// Where it is now.
    pub state: command::State,
    /// A piece of output.
    pub output: Option<Chunk>,
    /// At the end of what ran.
    pub exit_code: i32,
    /// Signal that ended it; 0: none.
    pub signal: i32,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
    /// What the host found or made.
    pub result: Option<Found>,
    /// How far the host's ledger was when it said so.
    pub ledger_seq: u64,
    /// What the host did, in a trace.
    pub spans: Vec<Told>,
}

/// What a host found or made for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// For which kind of command this can be.
    pub kind: &'static str,
    /// As it was encoded there.
    pub bytes: Vec<u8>,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// The bytes.
    pub data: Bytes,
    /// Cut after these.
    pub dropped_bytes: u64,
}

/// The node ends the session on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// What the silence after it means.
    pub how: liveness::Closed,
    /// For people.
    pub message: String,
}

/// To a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Outbound {
    /// The answer to Hello.
    Welcome(Box<Welcome>),
    /// What should be there and is not, or the reverse.
    Desired(Desired),
    /// An order.
    Command(Box<Ticket>),
    /// Stop an order.
    Cancel {
        /// Which.
        command: CommandId,
        /// At once.
        force: bool,
    },
    /// Stored; the host may forget.
    Ack(Ack),
    /// Asks for whole reports.
    Need(Need),
    /// A new rhythm.
    Tune(Tune),
    /// Whom to trust.
    TrustBundle(TrustBundle),
    /// Renew the certificate.
    Renew {
        /// Within this time.
        spread: Duration,
        /// Why.
        reason: &'static str,
    },
    /// The node gets nothing.
    Quarantine {
        /// One stable word.
        reason: &'static str,
        /// For people.
        message: &'static str,
    },
    /// Come again later.
    Reconnect {
        /// Not before this.
        after: Duration,
        /// And a random part of this.
        spread: Duration,
        /// Where to; empty: to where it is.
        addresses: std::sync::Arc<[String]>,
        /// Why.
        reason: &'static str,
    },
    /// The node is no more.
    Removed {
        /// Why.
        reason: String,
    },
}

/// The answer to Hello.
#[derive(Debug, Clone, PartialEq)]
pub struct Welcome {
    /// Of this session.
    pub session: SessionId,
    /// Who the certificate says they are.
    pub node: NodeId,
    /// As people call it.
    pub display_name: String,
    /// Of the control plane's history.
    pub epoch: u64,
    /// Chosen.
    pub protocol: u32,
    /// Of the control plane.
    pub server_time: UnixMillis,
    /// The rhythm.
    pub tune: Tune,
    /// Output kept of one command, in bytes.
    pub output_limit: u64,
    /// What is wanted whole.
    pub need: Need,
    /// Orders that wait on the host and must not start there any more.
    pub withdrawn: Vec<CommandId>,
}

/// The rhythm of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tune {
    /// Between heartbeats.
    pub heartbeat_interval: Duration,
    /// Each is spread by up to this.
    pub heartbeat_jitter: Duration,
    /// First backoff.
    pub reconnect_min: Duration,
    /// Longest backoff.
    pub reconnect_max: Duration,
    /// As people call the node; empty: unchanged.
    pub display_name: String,
}

/// What is wanted whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// All facts.
    pub facts: bool,
    /// All items.
    pub items: bool,
}

impl Need {
    /// Whether anything is.
    #[must_use]
    pub const fn any(self) -> bool {
        self.facts || self.items
    }
}

/// An order as handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Never reused.
    pub id: CommandId,
    /// Of which it is part.
    pub operation: OperationId,
    /// `run-script`.
    pub kind: String,
    /// The kind's message.
    pub args: Bytes,
    /// Earliest start.
    pub not_before: Option<UnixMillis>,
    /// Latest delivery.
    pub deliver_by: UnixMillis,
    /// Latest end.
    pub finish_by: Option<UnixMillis>,
    /// Of the request.
    pub trace_id: String,
    /// Its place in the trace; empty: nobody collects that.
    pub traceparent: String,
    /// Output that may be sent before the first acknowledgement.
    pub output_credit: u32,
    /// In which it was issued.
    pub epoch: u64,
    /// The order that it repeats.
    pub retry_of: Option<CommandId>,
    /// Someone asked it to stop since.
    pub cancel: bool,
    /// On the host it runs after those of the same lane; empty: in none.
    pub lane: String,
    /// At once.
    pub force: bool,
}

/// A refusal with its stable reason; ends the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Who opened a stream, as its certificate and connection say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Which node.
    pub node: NodeId,
    /// Of the certificate shown.
    pub serial: String,
    /// From where.
    pub remote: SocketAddr,
    /// How the keys of the connection were agreed on.
    pub key_exchange: &'static str,
    /// The connection.
    pub line: Line,
    /// The store could not be asked, when it came, what else happened to its node: this
    /// replica may know less than another one does.
    pub is_unsure: bool,
}
