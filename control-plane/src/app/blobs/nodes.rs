//! What nodes get.

use muster_common::{digest::Sha256, ids::NodeId, reason::Reason};
use muster_domain::lane::Lane;
use muster_store::ReadBlobs as _;

use super::{App, Error, here};
use crate::blobs::Reader;

impl App {
    /// Whether something refers to a blob that a node should have now, or had before the
    /// rollout that brought it. One in quarantine gets nothing. Answered from memory.
    #[must_use]
    pub fn may_fetch(&self, node: NodeId, sha256: &Sha256) -> bool {
        let catalog = self.catalog.now();
        let may = self
            .fleet
            .with(node, |entry| entry.node.quarantine.is_none() && catalog.refers(&entry.node, sha256));
        may.unwrap_or(false)
    }

    /// The same, as an answer. Asked again while the bytes go: a version that was taken back
    /// meanwhile must not come onto a host because it was large.
    ///
    /// # Errors
    /// If the node has no need of it.
    pub fn check_fetch(&self, node: NodeId, sha256: &Sha256) -> Result<(), Error> {
        if self.may_fetch(node, sha256) {
            return Ok(());
        }
        // The same for one that does not exist: a node does not learn what others have.
        let message = format!("nothing that node {node} should have refers to {sha256}");
        Err(Error::refused(Reason::PermissionDenied, message))
    }

    /// The bytes of a blob from `offset` on, for a node.
    ///
    /// # Errors
    /// If the node has no need of it, it has fewer bytes, or the store is far behind.
    pub async fn read_blob_for(&self, node: NodeId, sha256: Sha256, offset: u64) -> Result<Reader, Error> {
        self.check_fetch(node, &sha256)?;
        self.has_time_for(Lane::Artifacts)?;
        let blob = self.store.read(move |tx| here(tx.blob_get(&sha256)?, &sha256)).await?;
        self.read_from(&blob, offset).await
    }
}
