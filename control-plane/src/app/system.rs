//! The control plane about itself.

use muster_domain::{access::Scope, liveness::State};
use muster_store::ReadMeta as _;

use super::{App, Error};

/// What an operator can know of this process.
#[derive(Debug, Clone)]
pub struct System {
    /// Of the change feed.
    pub revision: u64,
    /// Nodes of the scope by state.
    pub nodes: Vec<(State, usize)>,
    /// Their live sessions here.
    pub sessions: usize,
}

impl App {
    /// The present state.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn system(&self, scope: &Scope) -> Result<System, Error> {
        let revision = self.store.read(|tx| tx.revision().map_err(Error::from)).await?;
        let (nodes, live) = self.node_counts(scope).await;
        let sessions = if scope.is_whole() { self.hub.len() } else { live };
        Ok(System { revision, nodes, sessions })
    }
}
