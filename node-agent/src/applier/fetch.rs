//! How blobs come: the port to the control plane, and one download after the other.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use muster_common::{crash, digest::Sha256, reason::Reason};

use super::{
    Failure,
    base::Base,
    cache::{Blob, Cache, Incoming, Wrong},
};
use crate::state::Cause;

/// Where blobs are fetched from.
pub trait Source: std::fmt::Debug + Send + Sync {
    /// Opens one connection for some downloads, one after the other.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, Error>>;
}

/// An open connection. Dropped: closed.
pub trait Connection: Send {
    /// The bytes of a blob from `offset` on, piece by piece. A stream that gives no piece
    /// for long ends by itself.
    fn open(&mut self, sha256: Sha256, offset: u64) -> BoxFuture<'_, Result<Pieces, Error>>;
}

/// What comes of a blob.
pub type Pieces = BoxStream<'static, Result<Bytes, Error>>;

/// A blob did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The control plane cannot be reached, or the stream broke.
    #[error("{0}")]
    Network(String),
    /// The control plane said no.
    #[error("{}{message}", reason.map(|reason| format!("{reason}: ")).unwrap_or_default())]
    Refused {
        /// Stable reason, if it gave one that this release knows.
        reason: Option<Reason>,
        /// For people.
        message: String,
    },
}

/// Where nothing can be fetched from.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Source for Nowhere {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, Error>> {
        Box::pin(async { Err(Error::Network("this agent has nowhere to fetch blobs from".to_owned())) })
    }
}

fn failed(error: Error) -> Failure {
    match error {
        Error::Network(message) => Failure::not_fetched(message),
        Error::Refused { reason, message } => {
            let reason = reason.unwrap_or(Reason::FetchFailed);
            let message = format!("the control plane does not give a blob: {message}");
            Failure::rejected(reason, Cause::ControlPlane, message)
        }
    }
}

/// Brings some blobs into the cache, in which there is room for them. What has come of
/// them stays, whatever happens.
pub(super) async fn fetch(base: Base, source: Arc<dyn Source>, blobs: Vec<Blob>) -> Result<(), Failure> {
    let mut connection = source.connect().await.map_err(failed)?;
    for blob in blobs {
        if bring(&base, connection.as_mut(), blob).await?.is_ok() {
            continue;
        }
        // It was begun by an earlier process or stream: what had come then may be damaged.
        bring(&base, connection.as_mut(), blob).await?.map_err(|Wrong| wrong(blob))?;
    }
    Ok(())
}

fn wrong(blob: Blob) -> Failure {
    let message = format!("what the control plane gives as blob {} has another digest or size", blob.sha256);
    Failure::rejected(Reason::DigestMismatch, Cause::ControlPlane, message)
}

/// Brings one blob, from where its part ends. `Wrong`: something else has come in part
/// or in whole, and nothing of it is kept; of what came in one go that is a failure.
async fn bring(
    base: &Base,
    connection: &mut dyn Connection,
    blob: Blob,
) -> Result<Result<(), Wrong>, Failure> {
    let cache = Cache::at(&base.folder);
    let begun = base.blocking(move || cache.receive(blob)).await;
    let incoming = begun.map_err(|error| Failure::host(&error))?;
    let resumed = incoming.received() > 0;
    match receive(base, connection, incoming).await? {
        Err(Wrong) if !resumed => Err(wrong(blob)),
        other => Ok(other),
    }
}

async fn receive(
    base: &Base,
    connection: &mut dyn Connection,
    mut incoming: Incoming,
) -> Result<Result<(), Wrong>, Failure> {
    let host = |error: std::io::Error| Failure::host(&error);
    if !incoming.is_whole() {
        let mut pieces =
            connection.open(incoming.blob().sha256, incoming.received()).await.map_err(failed)?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failed)?;
            let write = move || incoming.write(&piece).map(|written| (incoming, written));
            let written = base.blocking(write).await.map_err(host)?;
            incoming = written.0;
            if written.1 == Err(Wrong) {
                base.blocking(move || incoming.discard()).await.map_err(host)?;
                return Ok(Err(Wrong));
            }
            crash::point("agent.fetch.piece");
        }
        if !incoming.is_whole() {
            let (received, blob) = (incoming.received(), incoming.blob());
            let message = format!("blob {} ended after {received} of {} bytes", blob.sha256, blob.size);
            return Err(Failure::not_fetched(message));
        }
    }
    crash::point("agent.fetch.whole");
    base.blocking(move || incoming.finish()).await.map_err(host)
}
