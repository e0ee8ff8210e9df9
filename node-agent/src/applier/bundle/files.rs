//! The files of a bundle, and what this host says to them.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use muster_common::{digest::Sha256, ids::SecretId, reason::Reason, sealing::Contents};
use muster_proto::types::v1 as types;

use super::invalid;
use crate::{
    applier::{
        Failure,
        base::Base,
        cache::{Blob, Cache},
        records::Kind,
        secrets,
    },
    locks::Locks,
    platform::{accounts, bytes::Bytes},
    state::Cause,
};

const MAX_BYTES: usize = 64 * 1024;
const MAX_BLOB_BYTES: u64 = 8 * 1024 * 1024;
const MAX_FILES: usize = 64;
const DEFAULT_MODE: u32 = 0o644;
const DEFAULT_FOLDER_MODE: u32 = 0o755;
const PROTECTED_MODE: u32 = 0o600;

/// The rights that everybody has.
const OTHERS: u32 = 0o007;

/// One file or folder, or one that must not be there.
#[derive(Debug, Clone)]
pub(in crate::applier) struct File {
    pub(in crate::applier) path: PathBuf,
    pub(in crate::applier) kind: Kind,
    pub(in crate::applier) content: Content,
    pub(in crate::applier) mode: u32,
    /// Its content is a secret, and is not in the payload.
    pub(in crate::applier) secret: Option<SecretId>,
    /// As the bundle names them; empty: nobody in particular.
    names: (String, String),
    /// Numbers of the user and the group that were named, once they are looked up.
    owner: (Option<u32>, Option<u32>),
}

/// The content of a file.
#[derive(Clone)]
pub(in crate::applier) enum Content {
    /// It stands in the bundle.
    Inline(Vec<u8>),
    /// It is a blob.
    Blob(Blob),
}

impl fmt::Debug for Content {
    /// Without the content itself, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Content").field(&self.size()).finish()
    }
}

impl Content {
    pub(in crate::applier) fn sha256(&self) -> Sha256 {
        match self {
            Self::Inline(bytes) => Sha256::of(bytes),
            Self::Blob(blob) => blob.sha256,
        }
    }

    pub(in crate::applier) fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.size,
        }
    }

    /// Where its bytes are, in the applier's folder.
    pub(in crate::applier) fn bytes(&self, folder: &Path) -> Bytes {
        match self {
            Self::Inline(bytes) => Bytes::Inline(bytes.clone()),
            Self::Blob(blob) => Cache::at(folder).bytes(blob),
        }
    }

    pub(in crate::applier) const fn blob(&self) -> Option<Blob> {
        match self {
            Self::Inline(_) => None,
            Self::Blob(blob) => Some(*blob),
        }
    }
}

impl File {
    pub(super) fn fill(&mut self, contents: &Contents) -> Result<(), Failure> {
        let Some(secret) = self.secret else { return Ok(()) };
        let missing = || secrets::unreadable(format!("the content of {} did not come", self.path.display()));
        self.content = Content::Inline(contents.get(&secret).ok_or_else(missing)?.to_vec());
        Ok(())
    }

    /// To whom it belongs where `other` would have it otherwise. Who put a file in the
    /// place of a secret does not get to own the secret.
    pub(in crate::applier) fn owner_or(&self, other: (u32, u32)) -> (u32, u32) {
        let other = if self.secret.is_some() { accounts::me() } else { other };
        (self.owner.0.unwrap_or(other.0), self.owner.1.unwrap_or(other.1))
    }

    /// Whether the bundle says to whom it belongs.
    pub(in crate::applier) const fn names_owner(&self) -> bool {
        self.owner.0.is_some() || self.owner.1.is_some()
    }

    pub(super) fn look_up_owner(&mut self) -> Result<(), Failure> {
        let number = |name: &str, look_up: fn(&str) -> std::io::Result<u32>| {
            let found = (!name.is_empty()).then(|| look_up(name)).transpose();
            found.map_err(|error| {
                let message = format!("{}: {error}", self.path.display());
                Failure::rejected(Reason::WriteFailed, Cause::Host, message)
            })
        };
        self.owner = (number(&self.names.0, accounts::user)?, number(&self.names.1, accounts::group)?);
        Ok(())
    }
}

/// Folders first, each before what is in it: they are there, and closed to others,
/// before anything is put into them.
pub(super) fn decode(files: Vec<types::BundleFile>) -> Result<Vec<File>, Failure> {
    let mut files = files.into_iter().map(file).collect::<Result<Vec<File>, Failure>>()?;
    files.sort_by(|a, b| (a.kind != Kind::Folder, &a.path).cmp(&(b.kind != Kind::Folder, &b.path)));
    Ok(files)
}

fn file(file: types::BundleFile) -> Result<File, Failure> {
    let (kind, default) = match (file.absent, file.directory) {
        (false, false) => (Kind::File, DEFAULT_MODE),
        (true, false) => (Kind::Absent, DEFAULT_MODE),
        (false, true) => (Kind::Folder, DEFAULT_FOLDER_MODE),
        (true, true) => return Err(invalid(format!("{} cannot be a folder and absent", file.path))),
    };
    if kind != Kind::File && !(file.content.is_empty() && file.blob.is_none()) {
        return Err(invalid(format!("{} cannot have content", file.path)));
    }
    let secret = secret(&file)?;
    let default = if secret.is_some() { PROTECTED_MODE } else { default };
    let content = match file.blob {
        None => Content::Inline(file.content.to_vec()),
        Some(_) if !file.content.is_empty() => {
            return Err(invalid(format!("{} has content and a blob", file.path)));
        }
        Some(blob) => match Sha256::from_slice(&blob.sha256) {
            Some(sha256) => Content::Blob(Blob { sha256, size: blob.size_bytes }),
            None => return Err(invalid(format!("the blob of {} has no SHA-256", file.path))),
        },
    };
    Ok(File {
        path: PathBuf::from(file.path),
        kind,
        content,
        mode: if file.mode == 0 { default } else { file.mode },
        secret,
        names: (file.owner, file.group),
        owner: (None, None),
    })
}

/// The protected content of a file.
fn secret(file: &types::BundleFile) -> Result<Option<SecretId>, Failure> {
    if !file.protected {
        return Ok(None);
    }
    let is_file = !file.absent && !file.directory;
    match file.protected_id.parse() {
        Ok(id) if is_file && file.content.is_empty() && file.blob.is_none() && file.mode & OTHERS == 0 => {
            Ok(Some(id))
        }
        _ => Err(invalid(format!("{} is protected, and not as it must be", file.path))),
    }
}

/// By the agent's own limits, and by the host's lock file. `looks`: they are only looked at.
pub(super) fn check(files: &[File], looks: bool, locks: &Locks, base: &Base) -> Result<(), Failure> {
    let (inline, blobs): (Vec<&Content>, Vec<&Content>) =
        files.iter().map(|file| &file.content).partition(|content| content.blob().is_none());
    let bytes = |of: &[&Content]| of.iter().map(|content| content.size()).fold(0, u64::saturating_add);
    let (bytes, blob_bytes) = (bytes(&inline), bytes(&blobs));
    if files.is_empty() || files.len() > MAX_FILES || bytes > MAX_BYTES as u64 || blob_bytes > MAX_BLOB_BYTES
    {
        let count = files.len();
        return Err(invalid(format!(
            "{count} files with {bytes} bytes, and {blob_bytes} in blobs; it must be 1 to {MAX_FILES} files with at \
             most {MAX_BYTES} bytes, and {MAX_BLOB_BYTES} in blobs"
        )));
    }
    for file in files {
        check_place(&file.path, looks, locks, base)?;
        if file.mode > 0o777 {
            let message = format!("mode {:o} of {} is not allowed", file.mode, file.path.display());
            return Err(invalid(message));
        }
    }
    check_apart(files)
}

/// No file twice, none inside another that is no folder.
fn check_apart(files: &[File]) -> Result<(), Failure> {
    let kinds: BTreeMap<&Path, Kind> = files.iter().map(|file| (file.path.as_path(), file.kind)).collect();
    if kinds.len() < files.len() {
        return Err(invalid("a path stands there twice"));
    }
    let blocks = |above: &Path| kinds.get(above).is_some_and(|kind| *kind != Kind::Folder);
    match kinds.keys().find(|path| path.ancestors().skip(1).any(blocks)) {
        Some(path) => Err(invalid(format!("{} lies inside another file of the bundle", path.display()))),
        None => Ok(()),
    }
}

/// Whether a bundle may write there, or look there.
fn check_place(path: &Path, looks: bool, locks: &Locks, base: &Base) -> Result<(), Failure> {
    let refused = locks.refuses_writing(path).filter(|_| !looks || locks.root_of(path).is_none());
    let message = match refused {
        Some(refused) => refused,
        None if base.protects(path) => format!("the agent itself lives in {}", path.display()),
        None => return Ok(()),
    };
    Err(Failure::rejected(Reason::PathNotAllowed, Cause::Host, message))
}
