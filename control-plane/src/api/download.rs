//! Response streams with the bytes of a blob: read piece by piece, only as fast as
//! the caller takes them.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tonic::Status;

use super::status;
use crate::{
    app::{App, Error},
    blobs::Reader,
};

/// What a download answers.
pub(super) type Download<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Streams what a reader gives, until its end, its failure or that of the process, or
/// until the caller may not have it any more.
pub(super) fn stream<T: Send + 'static>(
    app: &App,
    reader: Reader,
    may: impl Fn(&App) -> Result<(), Error> + Clone + Send + Sync + 'static,
    message: impl Fn(Bytes) -> T + Send + 'static,
) -> Download<T> {
    let app = app.clone();
    let pieces = stream::unfold(Some(reader), move |reader| next(reader, app.clone(), may.clone()));
    Box::pin(pieces.map(move |piece| piece.map(&message)))
}

async fn next(
    reader: Option<Reader>,
    app: App,
    may: impl Fn(&App) -> Result<(), Error>,
) -> Option<(Result<Bytes, Status>, Option<Reader>)> {
    let mut reader = reader?;
    if app.is_draining() {
        let ending = muster_common::reason::Reason::ShuttingDown;
        return Some((Err(status::status(ending, "the control plane is shutting down")), None));
    }
    if let Err(error) = may(&app) {
        return Some((Err(status::of_app(error)), None));
    }
    match reader.next().await {
        Ok(piece) => {
            let piece = piece?;
            muster_common::crash::point("api.download.piece");
            Some((Ok(piece), Some(reader)))
        }
        Err(error) => Some((Err(status::of_app(Error::Blobs(error))), None)),
    }
}
