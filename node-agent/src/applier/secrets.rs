//! Protected contents on this host: the key that opens what is sealed for it, and the
//! contents that what runs still needs, in files that nobody else may read.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use muster_common::{
    digest::Sha256,
    ids::{NodeId, SecretId},
    reason::Reason,
    sealing::{self, Address, Contents, Sealed, SealingKey},
};
use zeroize::Zeroizing;

use super::Failure;
use crate::{platform::files, state::Cause};

const HASH_BYTES: usize = 32;

/// What is sealed for this host is opened with it.
#[derive(Debug)]
pub(super) struct Sealing {
    node: NodeId,
    key: SealingKey,
}

impl Sealing {
    /// The key of a folder. One that is not there or cannot be read is made anew: the
    /// control plane seals for the key of now.
    pub(super) fn open_or_create(folder: &Path, node: NodeId) -> io::Result<Self> {
        let path = folder.join("sealing.key");
        let kept = match fs::read(&path) {
            Ok(bytes) => SealingKey::from_bytes(&Zeroizing::new(bytes)).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let key = match kept {
            Some(key) => key,
            None => {
                if path.exists() {
                    tracing::error!(
                        "the key of this host for protected contents was damaged; there is a new one"
                    );
                }
                let key = SealingKey::generate().map_err(io::Error::other)?;
                files::write_atomically(&path, &key.to_bytes(), 0o600)?;
                key
            }
        };
        Ok(Self { node, key })
    }

    /// For whoever seals.
    pub(super) fn public(&self) -> &[u8] {
        self.key.public()
    }

    /// The protected contents of an item.
    pub(super) fn open(
        &self,
        item: &str,
        sha256: Sha256,
        sealed: Option<&Sealed>,
    ) -> Result<Contents, Failure> {
        let Some(sealed) = sealed else { return Ok(Contents::new()) };
        let address = Address { node: self.node, item, sha256 };
        self.key.open(address, sealed).map_err(|error: sealing::Error| unreadable(error.to_string()))
    }
}

/// Whoever sealed it is to do so again: the item itself is not at fault.
pub(super) fn unreadable(message: impl Into<String>) -> Failure {
    Failure::rejected(Reason::ProtectedUnreadable, Cause::ControlPlane, message)
}

/// Keeps contents durably, as long as they are needed, each after its hash.
pub(super) fn keep(folder: &Path, contents: &Contents) -> io::Result<()> {
    for (id, content) in contents {
        if read_one(folder, *id).is_ok_and(|kept| kept == *content) {
            continue;
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(HASH_BYTES + content.len()));
        bytes.extend_from_slice(Sha256::of(content).as_bytes());
        bytes.extend_from_slice(content);
        files::write_atomically(&path(folder, *id), &bytes, 0o600)?;
    }
    Ok(())
}

/// The contents with these ids.
pub(super) fn read(folder: &Path, ids: &[SecretId]) -> io::Result<Contents> {
    ids.iter().map(|id| Ok((*id, read_one(folder, *id)?))).collect()
}

fn read_one(folder: &Path, id: SecretId) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes = Zeroizing::new(fs::read(path(folder, id))?);
    match bytes.split_at_checked(HASH_BYTES) {
        Some((hash, content)) if hash == Sha256::of(content).as_bytes() => {
            Ok(Zeroizing::new(content.to_vec()))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("protected content {id} was changed"))),
    }
}

/// Takes away the contents that nothing needs.
pub(super) fn sweep(folder: &Path, needed: &BTreeSet<SecretId>) -> io::Result<()> {
    for file in fs::read_dir(folder.join("secrets"))? {
        let file = file?;
        let id = file.file_name().to_str().and_then(|name| name.parse().ok());
        if !id.is_some_and(|id| needed.contains(&id)) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

fn path(folder: &Path, id: SecretId) -> PathBuf {
    folder.join("secrets").join(id.to_string())
}
