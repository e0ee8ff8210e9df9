//! What of the signed repository this host believes, and the files that it took from it:
//! by the root that the host's administrator pinned, and by nobody's word.
//!
//! Promises:
//! - What is believed is written down before anything is done with it, whole or not at all,
//!   and never becomes older, whoever brings metadata, and across crashes.
//! - A file in the store was hashed while it was copied here, has the size and the digest
//!   that were signed for its name, and nobody else can write it.
//! - With each file stands what was signed of it, for as long as the file is there: that says
//!   what a package is, and not who asks for it.
//! - The store has a quota. What was not used for longest goes first.
//!
//! In a split agent only the executor has this, in a folder of root. It opens no path that
//! the daemon names: metadata and files come as bytes.

mod error;
mod pin;
mod store;

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read, Seek as _},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use error::Error;
use muster_common::{
    clock::Clock,
    crash,
    digest::Sha256,
    tuf::{self, About, Kept, Repository, Update},
};
use parking_lot::Mutex;
use store::Files;
pub(crate) use store::check_disk;

use crate::platform::{bytes, files};

/// Metadata by the paths of a mirror: `metadata/timestamp.json`.
pub type Metadata = BTreeMap<String, Vec<u8>>;

/// What it works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its own folder.
    pub folder: PathBuf,
    /// The pinned root metadata.
    pub root: PathBuf,
    /// Most bytes of all files.
    pub quota: Quota,
    /// By which it is judged whether the time of metadata is over.
    pub clock: Clock,
}

/// Most bytes of all files, as it is at any moment.
#[derive(Clone)]
pub struct Quota(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Quota {
    /// As `of` says each time.
    pub fn new(of: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }

    pub(crate) fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Quota").field(&self.now()).finish()
    }
}

/// A file that is wanted, as an item names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the repository.
    pub target: String,
    /// Bytes.
    pub size: u64,
    /// Of all of them.
    pub sha256: Sha256,
}

/// A file that this host has, and believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// By which it is opened.
    pub sha256: Sha256,
    /// Bytes.
    pub size: u64,
    /// What it is, as it was signed when it was admitted. `None`: who signed it said nothing.
    pub about: Option<About>,
}

/// The host's belief and its files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    files: Files,
    /// One at a time reads what is believed, and writes it down.
    believing: Mutex<()>,
}

impl Store {
    /// Opens its folder. What an earlier process did not finish goes.
    ///
    /// # Errors
    /// From the file system.
    pub fn open(options: Options) -> io::Result<Self> {
        files::private_folder(&options.folder)?;
        let files = Files::open(&options.folder, options.quota.clone())?;
        Ok(Self(Arc::new(Inner { options, files, believing: Mutex::new(()) })))
    }

    /// Takes metadata as far as it is to be believed. What of it is, stays so, also where an
    /// error ends it.
    ///
    /// # Errors
    /// If it is not believed to its end, or there is no pinned root.
    pub fn believe(&self, metadata: &Metadata) -> Result<Repository, Error> {
        let _one = self.0.believing.lock();
        let pinned = self.pinned()?;
        let kept = self.kept()?;
        let mut update = Update::begin(&pinned, kept.as_ref(), self.0.options.clock.now())
            .map_err(|error| self.told(error))?;
        let mut taken = Ok(());
        while let (Some(want), true) = (update.wants(), taken.is_ok()) {
            taken = update.take(metadata.get(&want.path).map(Vec::as_slice));
        }
        let now = update.kept();
        if kept.as_ref() != Some(&now) {
            crash::point("admission.believe");
            let json = serde_json::to_vec(&now).map_err(io::Error::from)?;
            files::write_atomically(&self.belief(), &json, 0o600)?;
        }
        Ok(taken.and_then(|()| update.finish())?)
    }

    /// Copies a file into the store, if it is the one that is signed by its name. Exactly
    /// as many bytes are read as are wanted.
    ///
    /// # Errors
    /// If it is another, is not in what is believed, or there is no room for it.
    pub fn admit(&self, wanted: &Wanted, content: impl Read) -> Result<Admitted, Error> {
        let target = self.signed(wanted)?;
        if !self.0.files.has(target.sha256, target.size) {
            self.0.files.take(&target, content)?;
        }
        self.0.files.note(&target)?;
        Ok(Admitted { sha256: target.sha256, size: target.size, about: target.about })
    }

    /// A file that was admitted before by this name, whatever is believed by now.
    ///
    /// # Errors
    /// From the file system.
    pub fn admitted(&self, wanted: &Wanted) -> io::Result<Option<Admitted>> {
        if !self.0.files.has(wanted.sha256, wanted.size) {
            return Ok(None);
        }
        let signed = self.0.files.signed(wanted.sha256)?;
        let Some(signed) = signed.into_iter().find(|signed| signed.name == wanted.target) else {
            return Ok(None);
        };
        self.0.files.used(wanted.sha256, &self.0.options.clock)?;
        Ok(Some(Admitted { sha256: wanted.sha256, size: wanted.size, about: signed.about }))
    }

    /// Opens a file that was admitted. It can be read to its end also if it goes meanwhile.
    ///
    /// # Errors
    /// `NotFound`, if it is not there (any more); from the file system.
    pub fn open_admitted(&self, sha256: Sha256) -> io::Result<File> {
        let file = self.0.files.open_file(sha256)?;
        self.0.files.used(sha256, &self.0.options.clock)?;
        Ok(file)
    }

    /// The same, hashed once more, and all that was signed of it when it was admitted. One
    /// that a disk has damaged goes, so that it is fetched anew.
    ///
    /// # Errors
    /// As there, and if it was damaged: neither is the fault of what is in it.
    pub fn open_signed(&self, sha256: Sha256) -> io::Result<(File, Vec<About>)> {
        let mut file = self.open_admitted(sha256)?;
        if bytes::digest(&file)? != sha256 {
            self.0.files.remove(sha256)?;
            let message = format!("the file {sha256} of the store was damaged, and is to be fetched anew");
            return Err(io::Error::other(message));
        }
        file.rewind()?;
        let signed = self.0.files.signed(sha256)?;
        Ok((file, signed.into_iter().filter_map(|signed| signed.about).collect()))
    }

    /// What is signed by the name of a file, if it is what is wanted.
    fn signed(&self, wanted: &Wanted) -> Result<tuf::Target, Error> {
        let pinned = self.pinned()?;
        let nothing = || tuf::Error::Missing { path: "metadata that is believed".to_owned() };
        let kept = self.kept()?.ok_or_else(nothing)?;
        let repository =
            kept.repository(&pinned, self.0.options.clock.now()).map_err(|error| self.told(error))?;
        let target = repository.target(&wanted.target)?;
        if (target.size, target.sha256) == (wanted.size, wanted.sha256) {
            Ok(target)
        } else {
            Err(tuf::Error::OtherFile(wanted.target.clone()).into())
        }
    }

    fn pinned(&self) -> Result<Vec<u8>, Error> {
        pinned(&self.0.options.root)
    }

    fn kept(&self) -> Result<Option<Kept>, Error> {
        let path = self.belief();
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| damaged(error.to_string())).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // It may be well, and readable the next time: nobody is to take it away for that.
            Err(error) => Err(error.into()),
        }
    }

    fn belief(&self) -> PathBuf {
        belief(&self.0.options.folder)
    }

    fn told(&self, error: tuf::Error) -> Error {
        match error {
            tuf::Error::Damaged(why) => Error::Damaged { path: self.belief(), why },
            tuf::Error::NoTrustRoot(why) => Error::NoRoot { path: self.0.options.root.clone(), why },
            other => other.into(),
        }
    }
}

/// The bytes of the pinned root.
///
/// # Errors
/// If there is none that can be used.
pub fn pinned(root: &Path) -> Result<Vec<u8>, Error> {
    pin::read(root)
}

/// Where it is written what is believed.
fn belief(folder: &Path) -> PathBuf {
    folder.join("believed.json")
}

#[cfg(test)]
pub(crate) mod tests;
