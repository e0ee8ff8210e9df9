//! The identity on disk.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use muster_common::{digest::Sha256, ids::NodeId};
use rcgen::{KeyPair, PublicKeyData as _};
use rustix::fs::{FlockOperation, flock};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{Error, Identity};
use crate::{platform::files, watched::Watched};

/// Where the identity lies. The agent and its command line both change it: each
/// looks at what is there and changes it under one lock, so that nobody brings
/// back what the other has just taken away.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A key that was made and not yet certified. Kept so that a repeated enrollment
/// with the same token brings the same node back.
#[derive(Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct Pending {
    pub key_pem: Zeroizing<String>,
    /// SHA-256 of the join token's secret: another token is another enrollment.
    pub token_sha256: Sha256,
}

/// A key for a recovery that is under way.
#[derive(Serialize, serde::Deserialize)]
struct Recovery {
    node: NodeId,
    key_pem: Zeroizing<String>,
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

    /// The file of the identity, for who waits until somebody changes it.
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched::new(self.path())
    }

    /// Keeps the first identity of a host, durably.
    ///
    /// # Errors
    /// From the file system, or if it has one meanwhile.
    pub fn save_first(&self, identity: &Identity) -> Result<(), Error> {
        let _lock = self.lock()?;
        if let Some(other) = self.load()? {
            return Err(Error::Enrolled(other.node));
        }
        self.write(&self.path(), identity)?;
        let _ = fs::remove_file(self.pending_path()); // of no use to anyone, and replaced by the next
        Ok(())
    }

    /// Changes the identity of a node, durably, if the host still is this node.
    /// `tell` hears of it before anyone can change it again. `None`: nothing was to change.
    ///
    /// # Errors
    /// From the file system, or from `change`; the former identity then stays.
    pub fn update(
        &self,
        node: NodeId,
        change: impl FnOnce(&Identity) -> Result<Option<Identity>, Error>,
        tell: impl FnOnce(Identity),
    ) -> Result<(), Error> {
        let _lock = self.lock()?;
        let held = self.load()?.filter(|held| held.node == node).ok_or(Error::Gone(node))?;
        if let Some(changed) = change(&held)? {
            self.write(&self.path(), &changed)?;
            tell(changed);
        }
        Ok(())
    }

    /// Forgets the identity of a node. If the host is another one, or none, nothing happens.
    ///
    /// # Errors
    /// From the file system.
    pub fn forget(&self, node: NodeId) -> Result<(), Error> {
        let _lock = self.lock()?;
        if self.load()?.is_none_or(|held| held.node != node) {
            return Ok(());
        }
        for path in [self.path(), self.pending_path(), self.recovery_path()] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::Io { doing: "remove", path, source });
                }
                _ => {}
            }
        }
        files::sync_folder(&self.folder).map_err(|source| Error::Io {
            doing: "flush",
            path: self.folder.clone(),
            source,
        })
    }

    /// Waits for the right to change what is here; it ends with the file.
    fn lock(&self) -> Result<File, Error> {
        let path = self.folder.join("lock");
        let locked = files::private_folder(&self.folder).and_then(|()| {
            let file = File::create(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        });
        locked.map_err(|source| Error::Io { doing: "lock", path, source })
    }

    /// The key for a recovery of this node: the same until it has succeeded.
    pub(super) fn recovery_key(&self, node: NodeId) -> Result<Zeroizing<String>, Error> {
        let path = self.recovery_path();
        let known: Option<Recovery> = read(&path).unwrap_or_default(); // damaged: another key does as well
        if let Some(known) = known.filter(|known| known.node == node) {
            return Ok(known.key_pem);
        }
        let key_pem = Zeroizing::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?.serialize_pem());
        self.write(&path, &Recovery { node, key_pem: key_pem.clone() })?;
        Ok(key_pem)
    }

    /// The key is in use, or of no use any more.
    pub(super) fn forget_recovery_key(&self) {
        let _ = fs::remove_file(self.recovery_path()); // it is checked against the node before it is used
    }

    pub(super) fn pending(&self) -> Result<Option<Pending>, Error> {
        read(&self.pending_path())
    }

    /// What others see of the key that is to be certified.
    pub(super) fn pending_key_sha256(&self) -> Result<Sha256, Error> {
        let pending = self.pending()?.ok_or(Error::None)?;
        Ok(Sha256::of(&KeyPair::from_pem(&pending.key_pem)?.subject_public_key_info()))
    }

    pub(super) fn save_pending(&self, pending: &Pending) -> Result<(), Error> {
        self.write(&self.pending_path(), pending)
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), Error> {
        let io = |source| Error::Io { doing: "write", path: path.to_owned(), source };
        files::private_folder(&self.folder).map_err(io)?;
        let json = Zeroizing::new(serde_json::to_vec_pretty(value).map_err(|error| io(error.into()))?);
        files::write_atomically(path, &json, 0o600).map_err(io)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("current.json")
    }

    fn recovery_path(&self) -> PathBuf {
        self.folder.join("recovery.json")
    }

    fn pending_path(&self) -> PathBuf {
        self.folder.join("pending.json")
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match files::read_plain(path).map(Zeroizing::new) {
        Ok(json) => serde_json::from_slice(&json)
            .map(Some)
            .map_err(|source| Error::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { doing: "read", path: path.to_owned(), source }),
    }
}
