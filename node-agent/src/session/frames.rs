//! What is said in a session, in the house's own words.

use std::time::Duration;

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    generation::Generation,
    ids::{CommandId, InstanceId, LedgerId, SessionId},
};

use crate::state::{
    CommandState, Condition, Facts, ItemState, ItemStory, Load, Offer, Removal, Report, Ticket,
};

/// To the control plane.
#[derive(Debug, Clone, PartialEq)]
pub enum Outbound {
    /// Who speaks, and what is on the host.
    Hello(Box<Hello>),
    /// I live.
    Heartbeat(Heartbeat),
    /// What the host is.
    Facts(Box<FactsReport>),
    /// What became of items.
    Items(ItemReport),
    /// A step of a command.
    Command(CommandReport),
    /// Roots in force on the host.
    TrustBundle(u64),
    /// The session ends on purpose.
    Goodbye(Goodbye),
}

/// The first message.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// This process.
    pub instance: InstanceId,
    /// The host's part of it.
    pub host: Introduction,
    /// The host's clock.
    pub wall_time: UnixMillis,
}

/// What a host says of itself at the begin of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Introduction {
    /// Which ledger, and how far it is.
    pub ledger: (LedgerId, u64),
    /// Boot of the host.
    pub boot_id: String,
    /// A claim.
    pub machine_fingerprint: Sha256,
    /// Item and command kinds it knows.
    pub capabilities: Vec<String>,
    /// Last history seen; 0: none.
    pub epoch: u64,
    /// The newest generation that it was told.
    pub newest: Generation,
    /// Of the certificate it holds.
    pub certificate_generation: u64,
    /// Of the roots it trusts.
    pub trust_bundle_version: u64,
    /// For what is sealed for it; empty: it takes nothing sealed.
    pub sealing_public_key: Vec<u8>,
    /// Of its facts.
    pub facts_sha256: Sha256,
    /// All that is on it or was tried.
    pub items: Vec<ItemState>,
    /// Commands whose end is not acknowledged.
    pub commands: Vec<OpenCommand>,
}

/// A command whose end is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCommand {
    /// Which.
    pub id: CommandId,
    /// Where it is.
    pub state: CommandState,
    /// Its newest report that is stored.
    pub acked: u64,
    /// Its newest report.
    pub last: u64,
}

/// I live, and this is what I am.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// From 1 in every session, no gaps.
    pub seq: u64,
    /// Over what runs.
    pub state_hash: Sha256,
    /// How busy the host is.
    pub load: Load,
    /// Those that changed.
    pub conditions: Vec<Condition>,
    /// History it follows.
    pub epoch: u64,
}

/// What the host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsReport {
    /// All of it.
    pub facts: Facts,
    /// Of their encoding.
    pub sha256: Sha256,
}

/// What became of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemReport {
    /// Of the desired state that asked; empty: none did.
    pub nonce: String,
    /// Rises in one process.
    pub seq: u64,
    /// Their states.
    pub items: Vec<ItemState>,
    /// These are all.
    pub complete: bool,
    /// What was done for some, in traces.
    pub stories: Vec<ItemStory>,
}

/// A step of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandReport {
    /// Which.
    pub command: CommandId,
    /// The step.
    pub report: Report,
}

/// Why a session ends on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// The agent stops.
    Shutdown,
    /// The host boots anew.
    Reboot,
    /// The agent starts anew.
    Restart,
    /// The host leaves the fleet.
    Disconnect,
    /// A new session follows at once.
    Reconnect,
}

/// From the control plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// On every message.
    pub session: Option<SessionId>,
    /// The message.
    pub body: Body,
}

/// What it says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// The session is open.
    Welcome(Box<Welcome>),
    /// What the node should be.
    Desired(Desired),
    /// An order.
    Command {
        /// Which.
        ticket: Box<Ticket>,
        /// Output that may be sent before the first acknowledgement.
        credit: u32,
    },
    /// An order is to end; with `true` at once.
    Cancel(CommandId, bool),
    /// Reports are stored.
    Ack(Ack),
    /// Whole reports are asked for.
    Need(Need),
    /// Another rhythm.
    Tune(Tune),
    /// Other roots.
    TrustBundle {
        /// Which set.
        version: u64,
        /// All of them.
        roots_der: Vec<Vec<u8>>,
        /// DER; for sessions. Empty: the roots.
        issuers_der: Vec<Vec<u8>>,
    },
    /// The certificate is to be renewed within this time.
    Renew(Duration),
    /// The node gets nothing for now.
    Quarantine(String),
    /// Another session is wanted, here or elsewhere.
    Reconnect(Reconnect),
    /// The node was removed.
    Removed(String),
    /// A kind that this release does not know.
    Unknown,
}

/// The answer to Hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Number of the control plane's history.
    pub epoch: u64,
    /// Its clock.
    pub server_time: UnixMillis,
    /// The rhythm.
    pub tune: Tune,
    /// Largest message.
    pub max_message_bytes: usize,
    /// Output it keeps of one command; 0: it did not say.
    pub max_output_bytes: u64,
    /// What it wants whole.
    pub need: Need,
    /// How people call this node.
    pub display_name: String,
    /// Orders that wait here and must not start any more.
    pub withdrawn: Vec<CommandId>,
}

/// The rhythm of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tune {
    /// Between heartbeats.
    pub heartbeat_interval: Duration,
    /// Each is spread by up to this, both ways.
    pub heartbeat_jitter: Duration,
    /// First wait after a broken session.
    pub reconnect_min: Duration,
    /// Longest such wait.
    pub reconnect_max: Duration,
    /// The node's name; empty: unchanged.
    pub display_name: String,
}

/// What is wanted whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// The facts.
    pub facts: bool,
    /// The items.
    pub items: bool,
}

/// What differs from what the node said it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Echoed by reports.
    pub nonce: String,
    /// To be brought onto the host.
    pub offers: Vec<Offer>,
    /// To be taken off it.
    pub removals: Vec<Removal>,
}

impl Desired {
    /// The newest generation in it.
    #[must_use]
    pub fn newest(&self) -> Option<Generation> {
        let offers = self.offers.iter().map(|offer| offer.version.generation);
        offers.chain(self.removals.iter().map(|removal| removal.generation)).max()
    }
}

/// Reports that are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// Every item report up to this.
    pub items_seq: u64,
    /// Of commands: which, up to where, and how much more output may be sent.
    pub commands: Vec<(CommandId, u64, u32)>,
}

/// Another session is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconnect {
    /// Not before this.
    pub after: Duration,
    /// And a random part of this.
    pub spread: Duration,
    /// Where; empty: the same.
    pub addresses: Vec<String>,
    /// Why.
    pub reason: String,
}
