//! Bytes that are known by their digest: put piece by piece, read from anywhere,
//! deleted. They lie in a directory or in S3, behind the crate `object_store`.
//!
//! Promises:
//! - What can be had under a digest is whole and has that digest: an upload is
//!   collected and checked in a file of its own before anything is put there.
//! - An upload that breaks can be taken up again where its file ends.
//! - A full disk is an answer, and what was taken before it stays.
//! - Memory: one piece for each upload and each reader, and one part of 5 MiB
//!   while a blob moves into the storage.
//!
//! Never: a decision about who may have what, how much there may be, and what
//! is kept; that is said by the store, and decided in `app`.

mod error;
mod objects;
mod staging;

use std::path::Path;

use muster_common::{digest::Sha256, ids::UploadId};

use crate::config;

pub use error::Error;
pub use objects::{PIECE, Reader};
pub use staging::{Incoming, Wanted, Whole};

/// All blobs of an installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    staging: staging::Staging,
    objects: objects::Objects,
}

impl Blobs {
    /// Opens the storage; makes the directories that are missing.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn open(options: &config::Blobs, state_dir: &Path) -> Result<Self, Error> {
        let place = options.place().map_err(Error::Place)?;
        let place = place.unwrap_or_else(|| config::Place::Directory(state_dir.join("blobs")));
        Ok(Self {
            staging: staging::Staging::open(state_dir.join("uploads"))?,
            objects: objects::Objects::open(&place)?,
        })
    }

    /// How many bytes of an upload are there.
    ///
    /// # Errors
    /// If its file cannot be looked at.
    pub async fn received(&self, upload: UploadId) -> Result<u64, Error> {
        self.staging.received(upload).await
    }

    /// Begins an upload, or takes one up: what is there after `offset` is
    /// dropped. Nobody else can write it until the answer is dropped.
    ///
    /// # Errors
    /// If fewer bytes than `offset` are there, someone else writes it, or the disk fails.
    pub async fn receive(&self, upload: UploadId, wanted: Wanted, offset: u64) -> Result<Incoming, Error> {
        self.staging.receive(upload, wanted, offset).await
    }

    /// Puts a whole upload under its digest. Its file stays; [`Whole::remove`]
    /// takes it away.
    ///
    /// # Errors
    /// If the storage does not take it; it can be tried again.
    pub async fn put(&self, whole: &Whole) -> Result<(), Error> {
        self.objects.put(&whole.sha256(), whole.path(), whole.size_bytes()).await
    }

    /// Takes the file of an upload away, if there is one.
    ///
    /// # Errors
    /// If someone writes it, or it cannot be removed.
    pub async fn discard(&self, upload: UploadId) -> Result<(), Error> {
        self.staging.discard(upload).await
    }

    /// All uploads that have a file.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub async fn uploads(&self) -> Result<Vec<UploadId>, Error> {
        self.staging.uploads().await
    }

    /// Reads the bytes from `offset` on; `size_bytes`: of the whole blob.
    ///
    /// # Errors
    /// If they are not there, or the storage fails.
    pub async fn get(&self, sha256: &Sha256, size_bytes: u64, offset: u64) -> Result<Reader, Error> {
        self.objects.get(sha256, size_bytes, offset).await
    }

    /// Takes the bytes away; those that are not there are gone already.
    ///
    /// # Errors
    /// If the storage fails.
    pub async fn delete(&self, sha256: &Sha256) -> Result<(), Error> {
        self.objects.delete(sha256).await
    }
}

#[cfg(test)]
mod tests;
