//! How blobs can fail.

use std::{io, path::PathBuf};

use muster_common::digest::Sha256;

/// Why a blob was not taken, given or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage that is configured cannot be.
    #[error("{0}")]
    Place(String),
    /// A directory of it.
    #[error("cannot use {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of an upload.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// `write`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No room. What was taken before stays, and the rest can be taken when there is some.
    #[error("the disk for blobs is full")]
    DiskFull(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another stream writes the same upload.
    #[error("another stream writes this upload")]
    Busy,
    /// The stream begins after the end of what is there.
    #[error("the stream begins at byte {offset}, and only {received} bytes are there")]
    Gap {
        /// Where it begins.
        offset: u64,
        /// What is there.
        received: u64,
    },
    /// More bytes than were announced.
    #[error("more than the announced {0} bytes came")]
    TooLong(u64),
    /// Fewer bytes than were announced.
    #[error("the stream ended after {received} of {wanted} bytes")]
    TooShort {
        /// What is there.
        received: u64,
        /// What was announced.
        wanted: u64,
    },
    /// Other bytes than were announced.
    #[error("the bytes have the SHA-256 {found}, not {wanted}")]
    Digest {
        /// Announced.
        wanted: Sha256,
        /// Of what came.
        found: Sha256,
    },
    /// The storage has not what the store says it has.
    #[error("the storage has no whole blob {0}")]
    Missing(Sha256),
    /// The storage failed.
    #[error("the storage of blobs failed")]
    Storage(#[source] object_store::Error),
}

impl Error {
    pub(super) fn file(doing: &'static str, path: PathBuf, source: io::Error) -> Self {
        if is_full(&source) { Self::DiskFull(Box::new(source)) } else { Self::File { doing, path, source } }
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            if inner.downcast_ref::<io::Error>().is_some_and(is_full) {
                return Self::DiskFull(Box::new(error));
            }
            cause = inner.source();
        }
        Self::Storage(error)
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
