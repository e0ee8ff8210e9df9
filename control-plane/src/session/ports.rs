//! What a session asks of the rest of the house. `app` implements both ports;
//! every call is short, never waits, and never touches the disk itself.

use std::collections::BTreeSet;

use muster_common::{digest::Sha256, ids::CommandId};
use muster_domain::liveness;

use super::{
    frames::{
        Ack, Caller, CommandReport, Desired, FactsReport, Heartbeat, Hello, ItemReport, Refusal, Ticket,
        Trust, Tune, Welcome,
    },
    hub::Handle,
};

/// What a node tells us.
pub trait Inbox: Send + Sync + 'static {
    /// A stream said Hello: fences an older session and answers the Welcome.
    ///
    /// # Errors
    /// If this node gets no session now.
    fn opened(
        &self,
        handle: &Handle,
        caller: &Caller,
        hello: &Hello,
        protocol: u32,
    ) -> Result<Opened, Refusal>;

    /// A heartbeat in order.
    fn heard(&self, session: &Handle, beat: Heartbeat);

    /// All facts. Nothing is owed: the next Hello tells if they were lost.
    fn facts(&self, session: &Handle, report: FactsReport);

    /// Items. Answers the hash of what the node now says it runs; the
    /// acknowledgement comes through the mailbox once stored.
    fn items(&self, session: &Handle, report: ItemReport) -> Sha256;

    /// A step of a command; acknowledged through the mailbox once stored.
    ///
    /// # Errors
    /// The step, if there is no room for it now.
    fn command(&self, session: &Handle, report: CommandReport) -> Result<(), Box<CommandReport>>;

    /// The roots in force on the host.
    fn trust_bundle(&self, session: &Handle, version: u64);

    /// A message of a kind this release does not know.
    fn unknown(&self, session: &Handle);

    /// The stream is gone. Called exactly once for each `opened` that succeeded.
    fn closed(&self, session: &Handle, why: &Closed);
}

/// What a session starts with.
#[derive(Debug, Clone)]
pub struct Opened {
    /// To be sent first.
    pub welcome: Welcome,
    /// Hash of what the node says it runs.
    pub state_hash: Sha256,
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// One side said so before.
    Goodbye(liveness::Closed),
    /// We ended it.
    Refused(Refusal),
    /// The node ended the stream without a word, or the connection broke.
    Lost,
}

/// What a node should get.
pub trait Desk: Send + Sync + 'static {
    /// The difference between what the node should have and what it last said.
    fn desired(&self, session: &Handle) -> Desired;

    /// Orders marked as delivered and not yet handed to this session.
    fn tickets(&self, session: &Handle) -> Vec<Ticket>;

    /// What the node should know of identity: roots, a renewal, quarantine.
    fn trust(&self, session: &Handle) -> Trust;

    /// The rhythm of now.
    fn tune(&self, session: &Handle) -> Tune;
}

/// Hints for a session. Each says: look again; none carries the truth, except
/// acknowledgements and what was given up, which are few and merge.
#[derive(Debug, Default)]
pub struct Hints {
    /// Desired state may differ.
    pub desired: bool,
    /// There may be orders, or orders to stop.
    pub tickets: bool,
    /// The rhythm changed.
    pub tune: bool,
    /// Roots, certificate or quarantine may differ.
    pub trust: bool,
    /// Stored reports.
    pub ack: Ack,
    /// Orders that have ended here and that the host may still run.
    pub given_up: BTreeSet<CommandId>,
    /// The session is to end.
    pub end: Option<End>,
}

/// How a session is to end.
#[derive(Debug, Clone)]
pub enum End {
    /// With a status.
    Refuse(Refusal),
    /// With `Removed`, then a status.
    Removed(String),
    /// With `Reconnect`, then normally.
    Reconnect {
        /// Not before this.
        after: std::time::Duration,
        /// And a random part of this.
        spread: std::time::Duration,
        /// Where to; empty: to where it is.
        addresses: std::sync::Arc<[String]>,
        /// Why.
        reason: &'static str,
    },
}
