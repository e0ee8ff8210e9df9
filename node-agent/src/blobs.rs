//! Blobs that the control plane keeps for this node, and files that it takes from it: by
//! connections of their own, so that they never stand before the messages of the session.

mod upload;

use std::time::Duration;

use bytes::Bytes;
use muster_common::{digest::Sha256, settings::Service};
use muster_proto::agent::v1::{self as pb, blob_service_client::BlobServiceClient};
use tokio::{sync::watch, time::timeout};
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    dial::{self, Dialer},
    identity::{self, Identity},
};

/// For the begin of a download, and for each piece of it.
const WITHIN: Duration = Duration::from_secs(30);

/// A download cannot begin, or broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot connect for blobs")]
    Connect(#[from] identity::Error),
    /// The control plane said no, or the stream broke.
    #[error(transparent)]
    Refused(#[from] dial::Refusal),
    /// The file cannot be read.
    #[error("cannot read the file that is to be brought")]
    File(#[source] std::io::Error),
    /// Nothing comes.
    #[error("nothing came of a blob for {} s", WITHIN.as_secs())]
    Stalled,
}

/// Opens connections with the identity of now.
#[derive(Debug, Clone)]
pub struct Downloads {
    identity: watch::Receiver<Identity>,
    dialer: Dialer,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Connection(Channel);

/// The bytes of one blob.
#[derive(Debug)]
pub struct Download(Streaming<pb::DownloadBlobResponse>);

impl Downloads {
    /// With the newest identity at each opening, by the way of then.
    #[must_use]
    pub const fn new(identity: watch::Receiver<Identity>, dialer: Dialer) -> Self {
        Self { identity, dialer }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If the control plane cannot be reached.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let identity = self.identity.borrow().clone();
        Ok(Connection(identity::connect(&identity, Service::Artifacts, &self.dialer).await?))
    }
}

impl Connection {
    /// Begins with the byte at `offset`.
    ///
    /// # Errors
    /// If the node has no need of the blob, or nothing comes.
    pub async fn open(&self, sha256: Sha256, offset: u64) -> Result<Download, Error> {
        let request = pb::DownloadBlobRequest { sha256: sha256.as_bytes().to_vec().into(), offset };
        let mut client = BlobServiceClient::new(self.0.clone());
        let answer = timeout(WITHIN, client.download_blob(request)).await.map_err(|_| Error::Stalled)?;
        Ok(Download(answer.map_err(|status| refused(&status))?.into_inner()))
    }
}

impl Download {
    /// The next bytes. `None`: that was the end.
    ///
    /// # Errors
    /// If the stream breaks, or nothing comes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let message = timeout(WITHIN, self.0.message()).await.map_err(|_| Error::Stalled)?;
        Ok(message.map_err(|status| refused(&status))?.map(|message| message.chunk))
    }
}

fn refused(status: &Status) -> Error {
    dial::Refusal::from(status).into()
}
