//! Files that go to the control plane.

use std::{path::Path, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use muster_common::{digest::Sha256, ids::CommandId};
use muster_proto::agent::v1::{
    self as pb, blob_service_client::BlobServiceClient, upload_result_request::Part,
};
use tokio::{fs::File, io::AsyncReadExt as _, time::timeout};

use super::{Connection, Error, refused};

/// Bytes of a message.
const PIECE: usize = 64 * 1024;
/// For the whole: the slowest line that is worth it brings 64 MiB in an hour.
const WITHIN: Duration = Duration::from_secs(3600);

impl Connection {
    /// Brings the file of a command, from its first byte.
    ///
    /// # Errors
    /// If it cannot be read, or the control plane does not take it.
    pub async fn bring(
        &self,
        command: CommandId,
        path: &Path,
        sha256: Sha256,
        size_bytes: u64,
    ) -> Result<(), Error> {
        let file = File::open(path).await.map_err(Error::File)?;
        let start = pb::ResultStart {
            command_id: command.to_string(),
            sha256: sha256.as_bytes().to_vec().into(),
            size_bytes,
        };
        let mut client = BlobServiceClient::new(self.0.clone());
        let answer = timeout(WITHIN, client.upload_result(messages(start, file))).await;
        answer.map_err(|_| Error::Stalled)?.map(drop).map_err(|status| refused(&status))
    }
}

/// The start, then the file. A file that cannot be read on ends early, and is refused for it.
fn messages(start: pb::ResultStart, file: File) -> impl Stream<Item = pb::UploadResultRequest> {
    let of = |part| pb::UploadResultRequest { part: Some(part) };
    stream::unfold((Some(start), file), move |(start, mut file)| async move {
        if let Some(start) = start {
            return Some((of(Part::Start(start)), (None, file)));
        }
        let chunk = piece(&mut file).await.filter(|piece| !piece.is_empty())?;
        Some((of(Part::Chunk(chunk)), (None, file)))
    })
}

async fn piece(file: &mut File) -> Option<Bytes> {
    let mut piece = BytesMut::with_capacity(PIECE);
    while piece.len() < PIECE {
        let room = PIECE - piece.len();
        match (&mut *file).take(room as u64).read_buf(&mut piece).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a file could not be read on while it was brought");
                return None;
            }
        }
    }
    Some(piece.freeze())
}
