//! The applier's way to blobs: joins its port to the room that downloads.

use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use muster_common::{digest::Sha256, error_chain::Chain};

use crate::{
    applier::fetch::{Connection, Error, Pieces, Source},
    blobs,
};

/// The control plane's blobs.
#[derive(Debug)]
pub(super) struct Blobs(pub(super) blobs::Downloads);

struct Opened(blobs::Connection);

impl Source for Blobs {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, Error>> {
        Box::pin(async {
            let connection: Box<dyn Connection> = Box::new(Opened(self.0.connect().await.map_err(told)?));
            Ok(connection)
        })
    }
}

impl Connection for Opened {
    fn open(&mut self, sha256: Sha256, offset: u64) -> BoxFuture<'_, Result<Pieces, Error>> {
        Box::pin(async move {
            let download = self.0.open(sha256, offset).await.map_err(told)?;
            let pieces: BoxStream<'static, _> = stream::unfold(Some(download), next).boxed();
            Ok(pieces)
        })
    }
}

async fn next(
    download: Option<blobs::Download>,
) -> Option<(Result<bytes::Bytes, Error>, Option<blobs::Download>)> {
    let mut download = download?;
    match download.next().await {
        Ok(piece) => Some((Ok(piece?), Some(download))),
        Err(error) => Some((Err(told(error)), None)),
    }
}

/// A no has a reason; a stream that breaks has none.
fn told(error: blobs::Error) -> Error {
    match error {
        blobs::Error::Refused(refusal) if refusal.reason.is_some() => {
            Error::Refused { reason: refusal.reason, message: refusal.message }
        }
        other => Error::Network(Chain(&other).to_string()),
    }
}
