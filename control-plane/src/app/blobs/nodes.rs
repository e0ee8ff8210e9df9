//! What nodes get.

use muster_common::{digest::Sha256, ids::NodeId, reason::Reason};
use muster_domain::item::ItemName;
use muster_store::ReadBlobs as _;

use super::{App, Error, bundle_referrer};
use crate::{app::catalog::Wanted, blobs::Reader};

impl App {
    /// Whether something that a node should have now refers to a blob. One in
    /// quarantine gets nothing.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn may_fetch(&self, node: NodeId, sha256: Sha256) -> Result<bool, Error> {
        let wanted = self.fleet.with(node, |entry| {
            let quarantined = entry.node.quarantine.is_some();
            (!quarantined).then(|| self.catalog.now().wanted(&entry.node, self.fixed.epoch))
        });
        let referrer = |wanted: Wanted| match wanted.item {
            ItemName::Bundle(name) => Some(bundle_referrer(&name, &wanted.version.version)),
            ItemName::Settings => None,
        };
        let referrers: Vec<String> = wanted.flatten().into_iter().flatten().filter_map(referrer).collect();
        self.store
            .read(move |tx| {
                for referrer in &referrers {
                    if tx.blob_is_referred_by(&sha256, referrer)? {
                        return Ok::<_, Error>(true);
                    }
                }
                Ok(false)
            })
            .await
    }

    /// The bytes of a blob from `offset` on, for a node.
    ///
    /// # Errors
    /// If the node has no need of it, or it has fewer bytes.
    pub async fn read_blob_for(&self, node: NodeId, sha256: Sha256, offset: u64) -> Result<Reader, Error> {
        if !self.may_fetch(node, sha256).await? {
            // The same for one that does not exist: a node does not learn what others have.
            let message = format!("nothing that node {node} should have refers to {sha256}");
            return Err(Error::refused(Reason::PermissionDenied, message));
        }
        self.read_blob(sha256, offset).await
    }
}
