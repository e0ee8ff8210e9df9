//! The control plane about itself.

use muster_domain::liveness::State;
use muster_store::ReadMeta as _;

use super::{App, Error};

/// What an operator can know of this process.
#[derive(Debug, Clone)]
pub struct System {
    /// Of the change feed.
    pub revision: u64,
    /// Nodes by state.
    pub nodes: Vec<(State, usize)>,
    /// Live sessions here.
    pub sessions: usize,
}

impl App {
    /// The present state.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn system(&self) -> Result<System, Error> {
        let revision = self.store.read(|tx| tx.revision().map_err(Error::from)).await?;
        Ok(System { revision, nodes: self.node_counts(), sessions: self.hub.len() })
    }
}
