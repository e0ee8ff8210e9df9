//! What hosts read of the repository.

use bytes::Bytes;
use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{artifact::target_of, lane::Lane};
use muster_store::{ReadArtifacts as _, ReadBlobs as _, ReadTx};

use crate::{
    app::{App, Error},
    blobs::Reader,
};

/// Longest path that is looked for.
const PATH: usize = 512;

/// A file of the repository.
#[derive(Debug)]
pub struct Given {
    /// Of the whole.
    pub size_bytes: u64,
    /// Its bytes from the offset on.
    pub source: Source,
}

/// Where its bytes come from.
#[derive(Debug)]
pub enum Source {
    /// Metadata.
    Whole(Bytes),
    /// A blob.
    Blob(Reader),
}

enum Found {
    Metadata(Vec<u8>),
    Blob(muster_domain::blob::Blob),
}

impl App {
    /// A file by its path on a mirror, from `offset` on. All nodes may read all of it.
    ///
    /// # Errors
    /// If there is no such file, it has fewer bytes, the node is in quarantine, or the
    /// store is far behind.
    pub async fn artifact(&self, node: NodeId, path: String, offset: u64) -> Result<Given, Error> {
        self.check_artifacts(node)?;
        self.has_time_for(Lane::Artifacts)?;
        if path.len() > PATH {
            return Err(Error::invalid("path", format!("it is longer than {PATH} bytes")));
        }
        let missing = Error::not_found("artifact", &path);
        let found = self.store.read(move |tx| find(tx, &path)).await?.ok_or(missing)?;
        let size_bytes = match &found {
            Found::Metadata(content) => content.len() as u64,
            Found::Blob(blob) => blob.size_bytes,
        };
        if offset > size_bytes {
            return Err(Error::invalid("offset", format!("the file has {size_bytes} bytes")));
        }
        let source = match found {
            Found::Metadata(content) => {
                let from = usize::try_from(offset).unwrap_or(content.len());
                Source::Whole(Bytes::from(content).split_off(from))
            }
            Found::Blob(blob) => Source::Blob(self.blobs.get(&blob.sha256, size_bytes, offset).await?),
        };
        Ok(Given { size_bytes, source })
    }

    /// Whether a node may read the repository now: it is asked again while bytes go.
    ///
    /// # Errors
    /// If it is in quarantine, or no node any more.
    pub fn check_artifacts(&self, node: NodeId) -> Result<(), Error> {
        match self.fleet.with(node, |entry| entry.node.quarantine.is_none()) {
            Some(true) => Ok(()),
            Some(false) => Err(Error::refused(Reason::Quarantined, format!("node {node} is in quarantine"))),
            None => Err(Error::refused(Reason::PermissionDenied, format!("{node} is no node"))),
        }
    }
}

fn find(tx: &mut ReadTx<'_>, path: &str) -> Result<Option<Found>, Error> {
    if let Some(content) = tx.metadata_get(path)? {
        return Ok(Some(Found::Metadata(content)));
    }
    let Some((sha256, name)) = target_of(path) else { return Ok(None) };
    // Only what the newest state names, whatever other blobs there are.
    let Some(target) = tx.target_get(&name)?.filter(|it| it.sha256 == sha256) else { return Ok(None) };
    Ok(tx.blob_get(&target.sha256)?.map(Found::Blob))
}
