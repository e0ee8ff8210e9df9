//! What happened to nodes and to the fleet, for those who want to know it later or at once.
//!
//! An event is a fact with its time, told for its own sake: a node went offline, an item was taken
//! back, a rollout stopped. Who did what is in the [audit](crate::audit). What many nodes do at once
//! is one event of many, so that no event of the fleet makes as many rows as there are nodes.

mod bound;
mod filter;
mod happened;
mod kind;
mod many;
mod of_node;

use std::collections::BTreeMap;

use muster_common::{
    clock::UnixMillis,
    ids::{EventId, NodeId, OperationId},
};
use serde::{Deserialize, Serialize};

pub use bound::{AT_ONCE, Rates};
pub use filter::Filter;
pub use happened::Happened;
pub use kind::{Kind, UnknownKind};
pub use many::{Group, Many, SHOWN, groups};
pub use of_node::{hearing, of_hearing, of_item};

use crate::alert::Severity;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// For ever.
    pub id: EventId,
    /// What happened.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// When; of many, when it began.
    pub at: UnixMillis,
    /// To which node. `None`: to many, or to none.
    pub node: Option<NodeId>,
    /// About what beside the node: `bundle/web`, `rollout/ID`; empty: nothing.
    pub subject: String,
    /// Why, in one stable CamelCase word, or an error's reason; empty: there is no more to say.
    pub reason: String,
    /// For people, without control characters.
    pub message: String,
    /// More, by stable names.
    pub details: BTreeMap<String, String>,
    /// The operation by which it happened.
    pub operation: Option<OperationId>,
    /// Who did it, where somebody did.
    pub actor: String,
    /// Of the request that made it.
    pub trace_id: String,
    /// Of many nodes.
    pub many: Option<Many>,
    /// Revision of the last write.
    #[serde(skip)]
    pub revision: u64,
}
