//! Blobs over the wire.

use muster_common::digest::Sha256;
use muster_proto::admin::v1::{self as pb, upload_blob_request::Part};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    eventually::{LONG, eventually},
    operator::Operator,
};

/// Bytes of one chunk.
pub const CHUNK: usize = 64 * 1024;

/// Bytes that differ from place to place, and with the seed.
#[must_use]
pub fn bytes(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap_or(0) ^ seed).collect()
}

/// The digest as messages have it.
#[must_use]
pub fn sha256(content: &[u8]) -> Vec<u8> {
    Sha256::of(content).as_bytes().to_vec()
}

/// What an upload of this content begins with.
#[must_use]
pub fn start(content: &[u8], offset: u64) -> pb::UploadStart {
    pb::UploadStart {
        sha256: sha256(content).into(),
        size_bytes: content.len() as u64,
        upload_id: String::new(),
        offset,
    }
}

/// One message of an upload.
#[must_use]
pub const fn message(part: Part) -> pb::UploadBlobRequest {
    pb::UploadBlobRequest { part: Some(part) }
}

/// A message for each chunk.
pub fn chunks(content: &[u8]) -> impl Iterator<Item = pb::UploadBlobRequest> {
    content.chunks(CHUNK).map(|chunk| message(Part::Chunk(chunk.to_vec().into())))
}

/// An upload that says no more than it is told to, and breaks when it is dropped.
#[derive(Debug)]
pub struct Open {
    parts: mpsc::Sender<pb::UploadBlobRequest>,
    answer: tokio::task::JoinHandle<Result<pb::Blob, Status>>,
}

impl Open {
    /// Begins with this.
    #[allow(clippy::disallowed_methods)] // a test's own task, awaited or ended by it
    pub async fn begin(operator: &Operator, start: pb::UploadStart) -> Self {
        let (parts, stream) = mpsc::channel(4);
        let _ = parts.send(message(Part::Start(start))).await;
        let mut client = operator.blobs.clone();
        let answer = tokio::spawn(async move {
            let answer = client.upload_blob(ReceiverStream::new(stream)).await?.into_inner();
            answer.blob.ok_or_else(|| Status::internal("no blob in the answer"))
        });
        Self { parts, answer }
    }

    /// Says these bytes.
    pub async fn say(&self, content: &[u8]) {
        for chunk in chunks(content) {
            let _ = self.parts.send(chunk).await;
        }
    }

    /// Says that this was all; the answer.
    ///
    /// # Errors
    /// If the upload is refused.
    pub async fn end(self) -> Result<pb::Blob, Status> {
        drop(self.parts);
        tokio::time::timeout(LONG, self.answer).await.expect("an answer in time").expect("no panic")
    }

    /// How it ends though more could be said.
    ///
    /// # Errors
    /// If the upload is refused.
    pub async fn answer(self) -> Result<pb::Blob, Status> {
        let answer = tokio::time::timeout(LONG, self.answer).await;
        drop(self.parts);
        answer.expect("an answer in time").expect("no panic")
    }

    /// Breaks, as if the line was cut.
    pub async fn cut(self) {
        self.answer.abort();
        let _ = self.answer.await;
    }
}

impl Operator {
    /// Uploads what comes after `offset`.
    ///
    /// # Errors
    /// If the upload is refused.
    pub async fn upload_from(&self, content: &[u8], offset: usize) -> Result<pb::Blob, Status> {
        let upload = Open::begin(self, start(content, offset as u64)).await;
        upload.say(&content[offset..]).await;
        upload.end().await
    }

    /// Uploads a whole blob.
    pub async fn upload(&self, content: &[u8]) -> pb::Blob {
        self.upload_from(content, 0).await.expect("the upload")
    }

    /// How many bytes are there of an upload.
    ///
    /// # Errors
    /// If there is no such upload.
    pub async fn received(&self, content: &[u8]) -> Result<u64, Status> {
        let request = pb::GetUploadRequest { upload_id: String::new(), sha256: sha256(content).into() };
        let answer = self.blobs.clone().get_upload(request).await?.into_inner();
        Ok(answer.upload.map_or(0, |upload| upload.received_bytes))
    }

    /// Waits until so many bytes of an upload are there.
    pub async fn until_received(&self, content: &[u8], bytes: usize) {
        eventually("the bytes of the upload are there", LONG, || async {
            (self.received(content).await.ok()? == bytes as u64).then_some(())
        })
        .await;
    }

    /// The bytes of a blob from some place on.
    ///
    /// # Errors
    /// If the download is refused or breaks.
    pub async fn download(&self, sha256: &[u8], offset: u64) -> Result<Vec<u8>, Status> {
        let request = pb::DownloadBlobRequest { sha256: sha256.to_vec().into(), offset };
        let mut stream = self.blobs.clone().download_blob(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(message) = stream.message().await? {
            assert!(message.chunk.len() <= CHUNK);
            all.extend_from_slice(&message.chunk);
        }
        Ok(all)
    }

    /// What is known of a blob.
    ///
    /// # Errors
    /// If there is none.
    pub async fn blob(&self, sha256: &[u8]) -> Result<pb::Blob, Status> {
        let request = pb::GetBlobRequest { sha256: sha256.to_vec().into() };
        let answer = self.blobs.clone().get_blob(request).await?.into_inner();
        answer.blob.ok_or_else(|| Status::internal("no blob in the answer"))
    }
}
