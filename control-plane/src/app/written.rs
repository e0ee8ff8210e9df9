//! Nodes that were written since memory last followed the store. Memory is a moment
//! behind; what is decided in a write asks the store about these, and memory about
//! the rest.

use std::{collections::HashMap, sync::Arc};

use muster_common::ids::NodeId;
use muster_domain::node::Node;
use muster_store::{ChangeKind, ReadChanges as _, ReadNodes as _, WriteTx};

use super::{Error, watch::ids_of};

/// Changes read in one go.
const BATCH: u32 = 500;

/// The nodes, as they are in the store. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Written(Arc<HashMap<NodeId, Option<Node>>>);

impl Written {
    /// Those of this write's moment that came after `revision`.
    pub(super) fn since(tx: &mut WriteTx<'_>, revision: u64) -> Result<Self, Error> {
        let (mut found, mut from) = (HashMap::new(), revision);
        loop {
            let changes = tx.changes_since(from, BATCH)?;
            let Some(last) = changes.last() else { return Ok(Self(Arc::new(found))) };
            from = last.revision;
            for kind in [ChangeKind::Node, ChangeKind::NodeReport] {
                for id in ids_of::<NodeId>(&changes, kind) {
                    found.insert(id, tx.node_get(id)?);
                }
            }
        }
    }

    /// A node that was written; `Some(None)`: it is no more. `None`: memory knows it.
    pub(super) fn get(&self, id: NodeId) -> Option<&Option<Node>> {
        self.0.get(&id)
    }

    /// All of them that are there.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.0.values().flatten()
    }
}
