//! Blobs.

use bytes::Bytes;
use muster_common::{digest::Sha256, reason::Reason};
use muster_domain::blob::{Blob, Upload};
use muster_proto::{admin::v1 as pb, agent::v1 as agent};
use tonic::Status;

use super::{id, timestamp};
use crate::{
    api::status::{invalid, of_app},
    app::{
        Error,
        blobs::{Told, Which, Wish},
    },
    blobs::PIECE,
};

/// Without its referrers.
pub(in crate::api) fn blob(blob: &Blob) -> pb::Blob {
    pb::Blob {
        sha256: Bytes::copy_from_slice(blob.sha256.as_bytes()),
        size_bytes: blob.size_bytes,
        create_time: Some(timestamp(blob.created_at)),
        created_by: blob.created_by.clone(),
        unreferenced_time: blob.unreferenced_since.map(timestamp),
        referrers: Vec::new(),
    }
}

/// An upload, and how far it is.
pub(in crate::api) fn upload(upload: &Upload, received_bytes: u64) -> pb::Upload {
    pb::Upload {
        id: upload.id.to_string(),
        sha256: Bytes::copy_from_slice(upload.sha256.as_bytes()),
        size_bytes: upload.size_bytes,
        received_bytes,
        expire_time: Some(timestamp(upload.expires_at)),
    }
}

/// What a caller wants to upload.
pub(in crate::api) fn wish_from(start: &pb::UploadStart) -> Result<Wish, Status> {
    let upload = (!start.upload_id.is_empty()).then(|| id("start.upload_id", &start.upload_id));
    Ok(Wish {
        sha256: sha256_from("start.sha256", &start.sha256)?,
        size_bytes: start.size_bytes,
        upload: upload.transpose()?,
        offset: start.offset,
    })
}

/// What a node says it brings.
pub(in crate::api) fn told_from(start: &agent::ResultStart) -> Result<Told, Status> {
    Ok(Told {
        command: id("start.command_id", &start.command_id)?,
        sha256: sha256_from("start.sha256", &start.sha256)?,
        size_bytes: start.size_bytes,
    })
}

/// Which upload is meant.
pub(in crate::api) fn which_from(request: &pb::GetUploadRequest) -> Result<Which, Status> {
    match (request.upload_id.as_str(), request.sha256.as_ref()) {
        ("", sha256) => sha256_from("sha256", sha256).map(Which::Of),
        (upload, []) => id("upload_id", upload).map(Which::Id),
        _ => Err(invalid("upload_id", "either upload_id or sha256")),
    }
}

/// The next bytes of an upload.
pub(in crate::api) fn chunk_from(chunk: Bytes) -> Result<Bytes, Status> {
    if chunk.is_empty() {
        return Err(invalid("chunk", format!("it is empty; it has from 1 to {PIECE} bytes")));
    }
    if chunk.len() <= PIECE {
        return Ok(chunk);
    }
    Err(of_app(Error::Invalid {
        reason: Reason::TooLarge,
        field: "chunk".to_owned(),
        message: format!("it has {} bytes; it may have {PIECE}", chunk.len()),
    }))
}

/// A digest in a request.
pub(in crate::api) fn sha256_from(field: &'static str, bytes: &[u8]) -> Result<Sha256, Status> {
    let wrong = || invalid(field, format!("it has {} bytes; a SHA-256 has 32", bytes.len()));
    Sha256::from_slice(bytes).ok_or_else(wrong)
}
