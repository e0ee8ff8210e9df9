//! The folder of a repository: what a mirror serves, and the list that is not signed yet.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use muster_common::{
    clock::UnixMillis,
    tuf::{Error, Role, Target, Update, signing},
};
use serde::{Deserialize, Serialize};

/// What `add` and `remove` have said since it was signed; beside what is served.
const PENDING: &str = "pending.json";

/// The folder.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

/// All files that the next list is to have.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    targets: Vec<Listed>,
}

/// A file of the list.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    name: String,
    size: u64,
    sha256: muster_common::digest::Sha256,
    about: Option<muster_common::tuf::About>,
}

impl Folder {
    /// Of a repository that there is.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let folder = Self(path.to_owned());
        if !folder.metadata("1.root.json").is_file() {
            bail!("{} is no repository: it has no metadata/1.root.json; `init` makes one", path.display());
        }
        Ok(folder)
    }

    /// For a new one.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        let folder = Self(path.to_owned());
        if folder.metadata("1.root.json").exists() {
            bail!("{} is a repository already", path.display());
        }
        for name in ["metadata", "targets"] {
            let made = path.join(name);
            fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a file is that a mirror serves by this path.
    pub(crate) fn served(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn metadata(&self, name: &str) -> PathBuf {
        self.0.join("metadata").join(name)
    }

    /// The first root: what hosts pin.
    pub(crate) fn first_root(&self) -> Result<Vec<u8>> {
        read(&self.metadata("1.root.json"))
    }

    /// The newest root.
    pub(crate) fn root(&self) -> Result<(NonZeroU64, Vec<u8>)> {
        let newest = self.newest("root.json")?.context("there is no root metadata")?;
        Ok((newest, read(&self.metadata(&format!("{newest}.root.json")))?))
    }

    /// The newest metadata of a role, with its version.
    pub(crate) fn current(&self, role: Role) -> Result<Option<(NonZeroU64, Vec<u8>)>> {
        let path = match role {
            Role::Timestamp => self.metadata("timestamp.json"),
            role => match self.newest(&format!("{role}.json"))? {
                Some(version) => self.metadata(&format!("{version}.{role}.json")),
                None => return Ok(None),
            },
        };
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read(&path)?;
        let version = signing::version(role, &bytes).with_context(|| format!("of {}", path.display()))?;
        Ok(Some((version, bytes)))
    }

    fn newest(&self, ending: &str) -> Result<Option<NonZeroU64>> {
        let folder = self.0.join("metadata");
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut newest = None;
        for entry in entries {
            let name = entry?.file_name();
            let version =
                name.to_str().and_then(|name| name.strip_suffix(ending)?.strip_suffix('.')?.parse().ok());
            newest = newest.max(version);
        }
        Ok(newest)
    }

    /// Writes metadata, whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write(&self.metadata(name), bytes)
    }

    /// What the next list of files is to be.
    pub(crate) fn pending(&self) -> Result<Vec<Target>> {
        let path = self.0.join(PENDING);
        match fs::read(&path) {
            Ok(json) => {
                let pending: Pending = serde_json::from_slice(&json)
                    .with_context(|| format!("cannot use {}", path.display()))?;
                let target =
                    |it: Listed| Target { name: it.name, size: it.size, sha256: it.sha256, about: it.about };
                Ok(pending.targets.into_iter().map(target).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.listed(),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The list that is signed by the newest root. That its time may be over does not matter
    /// to who signs anew.
    fn listed(&self) -> Result<Vec<Target>> {
        match self.current(Role::Targets)? {
            Some((version, bytes)) => signing::listed(&self.root()?.1, &bytes)
                .with_context(|| format!("metadata/{version}.targets.json cannot be gone on from")),
            None => Ok(Vec::new()),
        }
    }

    /// Says what the next list of files is to be.
    pub(crate) fn set_pending(&self, targets: Vec<Target>) -> Result<()> {
        let listed = |it: Target| Listed { name: it.name, size: it.size, sha256: it.sha256, about: it.about };
        let pending = Pending { targets: targets.into_iter().map(listed).collect() };
        write(&self.0.join(PENDING), &serde_json::to_vec_pretty(&pending)?)
    }

    /// It is signed.
    pub(crate) fn clear_pending(&self) -> Result<()> {
        match fs::remove_file(self.0.join(PENDING)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.0.join(PENDING).exists()
    }

    /// Reads it as a host does that pins this root.
    pub(crate) fn update(
        &self,
        pinned: &[u8],
        now: UnixMillis,
    ) -> Result<(Vec<String>, muster_common::tuf::Repository)> {
        let mut update = Update::begin(pinned, None, now)?;
        let mut paths = Vec::new();
        while let Some(want) = update.wants() {
            match fs::read(self.served(&want.path)) {
                Ok(bytes) => {
                    update.take(Some(&bytes)).with_context(|| want.path.clone())?;
                    paths.push(want.path);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => update.take(None)?,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", want.path)),
            }
        }
        let repository = update.finish().map_err(|error: Error| anyhow::anyhow!(error))?;
        Ok((paths, repository))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A web server may read it at any time: it is the old one or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    let written = File::create(&staged)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&staged, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}
