//! The identity on disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, Identity};
use crate::platform::files;

/// Where the identity lies.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A key that was made and not yet certified. Kept so that a repeated enrollment
/// with the same token brings the same node back.
#[derive(Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct Pending {
    pub key_pem: String,
    /// SHA-256 of the join token's secret: another token is another enrollment.
    pub token_sha256: muster_common::digest::Sha256,
}

impl Store {
    /// Below a state directory.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("identity") }
    }

    /// The identity, if the host has one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn load(&self) -> Result<Option<Identity>, Error> {
        read(&self.path())
    }

    /// Keeps an identity durably.
    ///
    /// # Errors
    /// From the file system; the former identity then stays.
    pub fn save(&self, identity: &Identity) -> Result<(), Error> {
        self.write(&self.path(), identity)
    }

    /// Forgets the identity. None is no error.
    ///
    /// # Errors
    /// From the file system.
    pub fn forget(&self) -> Result<(), Error> {
        for path in [self.path(), self.pending_path()] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::Io { doing: "remove", path, source });
                }
                _ => {}
            }
        }
        match files::sync_folder(&self.folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Io { doing: "flush", path: self.folder.clone(), source })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn pending(&self) -> Result<Option<Pending>, Error> {
        read(&self.pending_path())
    }

    pub(super) fn save_pending(&self, pending: &Pending) -> Result<(), Error> {
        self.write(&self.pending_path(), pending)
    }

    pub(super) fn forget_pending(&self) {
        let _ = fs::remove_file(self.pending_path()); // of no use to anyone, and replaced by the next
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), Error> {
        let io = |source| Error::Io { doing: "write", path: path.to_owned(), source };
        files::private_folder(&self.folder).map_err(io)?;
        let json = serde_json::to_vec_pretty(value).map_err(|error| io(error.into()))?;
        files::write_atomically(path, &json, 0o600).map_err(io)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("current.json")
    }

    fn pending_path(&self) -> PathBuf {
        self.folder.join("pending.json")
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(json) => serde_json::from_slice(&json)
            .map(Some)
            .map_err(|source| Error::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { doing: "read", path: path.to_owned(), source }),
    }
}
