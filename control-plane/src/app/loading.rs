//! Reads all nodes when the process starts: there may be a million.

use muster_domain::page::Page;
use muster_store::{ReadNodes as _, ReadTx};

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
        let mut page = Page { size: AT_A_TIME, after: None };
        loop {
            let listed = tx.node_list(&page)?;
            listed.rows.into_iter().for_each(|node| self.found_at_start(node));
            match listed.next {
                Some(after) => page.after = Some(after),
                None => return Ok(()),
            }
        }
    }
}
