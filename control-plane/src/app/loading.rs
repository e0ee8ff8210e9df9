//! Reads all nodes when the process starts: there may be a million.

use std::collections::HashMap;

use muster_common::ids::NodeId;
use muster_domain::{page::Page, session::HeldBy};
use muster_store::{ReadNodeSessions as _, ReadNodes as _, ReadTx};

use super::{App, Error};

/// Nodes that are read in one go: as they are stored they take several times what they take
/// in memory, so few are there in both forms.
const AT_A_TIME: u32 = 1000;

impl App {
    /// Takes in all nodes of one state of the store.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn load_nodes(&self, tx: &mut ReadTx<'_>) -> Result<(), Error> {
        let mut held: HashMap<NodeId, HeldBy> = tx.node_session_all()?.into_iter().collect();
        let mut page = Page { size: AT_A_TIME, after: None };
        loop {
            let listed = tx.node_list(&page)?;
            for node in listed.rows {
                let by = held.remove(&node.id);
                self.found_at_start(node, by);
            }
            match listed.next {
                Some(after) => page.after = Some(after),
                None => break,
            }
        }
        self.fleet.pack();
        Ok(())
    }
}
