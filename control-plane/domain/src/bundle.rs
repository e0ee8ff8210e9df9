//! Named sets of files with hooks. A version is immutable.

use muster_common::{clock::UnixMillis, digest::Sha256};

mod content;

pub use content::{
    Content, File, FileBlob, Hook, MAX_BLOB_BYTES, MAX_BYTES, MAX_FILES, MAX_HOOK_TIMEOUT_S, MAX_WHOLE, Mode,
    OnRemove, SECOND, THIRD, check_bytes, check_content, check_whole, needs,
};

/// A blob that a version of a bundle refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobOf {
    /// Which of the files it is.
    pub file: usize,
    /// Which blob.
    pub sha256: Sha256,
    /// Its bytes, as the bundle says.
    pub size_bytes: u64,
}

/// One version of a bundle, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Name.
    pub name: String,
    /// From 1.
    pub version: u64,
    /// Of the payload.
    pub sha256: Sha256,
    /// Of the payload, in bytes.
    pub size_bytes: u64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// By whom.
    pub created_by: String,
}
