//! What a session asks of its host.

use std::future::Future;

use muster_common::ids::CommandId;

use super::frames::{Desired, FactsReport, Introduction, OpenCommand, Welcome};
use crate::state::{Condition, ItemState, ItemStory, Load, Report, Ticket};

/// The host behind a session. Calls are short.
pub trait Host: Send + 'static {
    /// What to say first.
    fn introduce(&mut self) -> impl Future<Output = Introduction> + Send;

    /// Where sessions are opened, now.
    fn addresses(&self) -> Vec<String>;

    /// How busy the host is, and all its conditions.
    fn beat(&mut self) -> (Load, Vec<Condition>);

    /// All facts.
    fn facts(&mut self) -> FactsReport;

    /// All items, sorted by name.
    fn items(&mut self) -> Vec<ItemState>;

    /// What was done for items and is to be told with them, once.
    fn stories(&mut self) -> Vec<ItemStory> {
        Vec::new()
    }

    /// Commands whose end is not acknowledged.
    fn commands(&mut self) -> impl Future<Output = Vec<OpenCommand>> + Send;

    /// Reports of a command after `after`, at most about `bytes` of output.
    fn reports(
        &mut self,
        id: CommandId,
        after: u64,
        bytes: usize,
    ) -> impl Future<Output = Vec<Report>> + Send;

    /// Waits until something may be new. May be dropped at any time.
    fn changed(&mut self) -> impl Future<Output = Changes> + Send;

    /// Takes an order of the control plane. May come twice.
    fn take(&mut self, order: Order) -> impl Future<Output = ()> + Send;
}

/// What may be new on the host. A hint: look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Facts.
    pub facts: bool,
    /// Items.
    pub items: bool,
    /// Commands.
    pub commands: bool,
    /// This set of roots is in force now.
    pub trust_bundle: Option<u64>,
    /// There is a new certificate: a new session is to show it.
    pub certificate: bool,
}

/// What the control plane tells the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// The session is open.
    Welcome(Box<Welcome>),
    /// People call this node so.
    Name(String),
    /// What it should be.
    Desired(Desired),
    /// To be run.
    Command(Box<Ticket>),
    /// To be ended; with `true` at once.
    Cancel(CommandId, bool),
    /// Reports of a command are stored up to this.
    Acked(CommandId, u64),
    /// Other roots.
    TrustBundle {
        /// Which set.
        version: u64,
        /// All of them.
        roots_der: Vec<Vec<u8>>,
        /// DER; for sessions. Empty: the roots.
        issuers_der: Vec<Vec<u8>>,
    },
    /// One side does not accept the other's certificate.
    IdentityRefused,
    /// The certificate is to be renewed after this time.
    Renew(std::time::Duration),
    /// The node gets nothing for now.
    Quarantine(String),
    /// Sessions are to be opened there.
    Addresses(Vec<String>),
}
