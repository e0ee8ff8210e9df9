//! Reads the file: who could have written it, what is wrong with it, what changed.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_common::{error_chain::Chain, settings};
use parking_lot::Mutex;

use super::{
    Locks,
    profile::{self, Written},
};
use crate::{config::warn_of_readers, watched::Watched};

/// Longest file that is read.
const MAX_BYTES: u64 = 256 * 1024;

/// A lock file that cannot be trusted or read. Everything is locked then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read lock file {}{}", path.display(), remedy(source))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its administrator could have written it.
    #[error("lock file {} is not to be trusted: {why}", path.display())]
    Untrusted {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It does not parse.
    #[error("lock file {} is not valid: {why}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why, without what may be a credential.
        why: String,
    },
    /// A root is not an absolute path in normal form.
    #[error("lock file {} names {root:?}, which is not an absolute path without . and ..", path.display())]
    Root {
        /// Which file.
        path: PathBuf,
        /// Which root.
        root: PathBuf,
    },
    /// A kind of command that a list cannot have: whoever wrote it would wait in vain for it
    /// to be locked, or open.
    #[error("lock file {} has {kind:?} in commands.{list}; it can have {}", path.display(), can.join(", "))]
    Command {
        /// Which file.
        path: PathBuf,
        /// `allow` or `deny`.
        list: &'static str,
        /// What stands there.
        kind: String,
        /// What could.
        can: &'static [&'static str],
    },
    /// A profile that cannot be.
    #[error("lock file {} has the profile {name:?}, {why}", path.display())]
    Profile {
        /// Which file.
        path: PathBuf,
        /// Which profile.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An identity that would be nobody's, or everybody's.
    #[error("lock file {}: [[workload.identities]] number {number} {why}", path.display())]
    Workload {
        /// Which file.
        path: PathBuf,
        /// Which of them, from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// An option of the agent that cannot be.
    #[error("lock file {} cannot be used", path.display())]
    Setting {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: settings::Invalid,
    },
}

impl Error {
    /// Whether this user may not read the file.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            ", which this user may not (for the agent: root:muster, mode 0640)"
        }
        _ => "",
    }
}

impl Locks {
    /// Reads a lock file; none locks everything.
    ///
    /// # Errors
    /// If it is there and cannot be used.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = match File::options().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(Error::Untrusted { path: path.to_owned(), why: "it is a symbolic link" });
            }
            Err(error) => return Err(read(error)),
        };
        let metadata = file.metadata().map_err(read)?;
        if let Some(why) = untrusted(&metadata) {
            return Err(Error::Untrusted { path: path.to_owned(), why });
        }
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(read)?;
        Self::of(path, &text)
    }

    /// The rules of a text. `path`: the name of its file, to tell.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn of(path: &Path, text: &str) -> Result<Self, Error> {
        Self::of_written(path, text).map(|(locks, _)| locks)
    }

    /// The same, with the rules as they would be written.
    pub(super) fn of_written(path: &Path, text: &str) -> Result<(Self, toml::Table), Error> {
        if text.len() as u64 > MAX_BYTES {
            // Cut it would lack rules, and those may be the ones that deny.
            return Err(Error::Untrusted { path: path.to_owned(), why: "it is larger than 256 KiB" });
        }
        let Written { rules, ceiling, sources, table } = profile::read(path, text)?;
        Ok((Self { rules, ceiling, sources, is_unusable: false }, table))
    }
}

fn untrusted(metadata: &Metadata) -> Option<&'static str> {
    let own = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        Some("it is not a regular file")
    } else if metadata.uid() != 0 && metadata.uid() != own {
        Some("it belongs neither to root nor to the agent's user")
    } else if metadata.mode() & 0o022 != 0 {
        Some("others may write to it")
    } else {
        None
    }
}

/// The rules of now: an edit counts without a restart. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Mutex<Cached>>);

#[derive(Debug)]
struct Cached {
    file: Watched,
    locks: Locks,
    error: Option<String>,
    /// How often it was read.
    version: u64,
}

impl Reader {
    /// Reads from this file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let (file, locks) = (Watched::new(path), Locks::default());
        let mut cached = Cached { file, locks, error: None, version: 0 };
        cached.refresh();
        Self(Arc::new(Mutex::new(cached)))
    }

    /// The rules of now; everything is locked while the file cannot be used.
    #[must_use]
    pub fn current(&self) -> Locks {
        let mut cached = self.0.lock();
        cached.refresh();
        cached.locks.clone()
    }

    /// Why everything is locked, if the file cannot be used.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let mut cached = self.0.lock();
        cached.refresh();
        cached.error.clone()
    }

    /// Another number once the rules may be others.
    #[must_use]
    pub fn version(&self) -> u64 {
        let mut cached = self.0.lock();
        cached.refresh();
        cached.version
    }
}

impl Cached {
    fn refresh(&mut self) {
        if !self.file.is_news() {
            return;
        }
        self.version += 1;
        match Locks::load(self.file.path()) {
            Ok(locks) => {
                (self.locks, self.error) = (locks, None);
                warn_of_readers(self.file.path(), self.locks.setting("proxy.url"));
            }
            Err(error) => self.lock(&error),
        }
    }

    fn lock(&mut self, error: &Error) {
        if matches!(error, Error::Read { .. }) {
            self.file.again();
        }
        let error = Chain(error).to_string();
        if self.error.as_ref() != Some(&error) {
            tracing::error!(error, "everything is locked: {error}");
        }
        (self.locks, self.error) = (Locks::everything(), Some(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_in_reading_passes_without_an_edit_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks.toml");
        std::fs::write(&path, "[hooks]\nallow = true\n").unwrap();
        let reader = Reader::new(path.clone());
        assert!(reader.current().allows_hooks() && reader.error().is_none());
        let source = io::Error::from(rustix::io::Errno::MFILE);
        reader.0.lock().lock(&Error::Read { path, source });
        assert!(reader.0.lock().locks == Locks::everything());
        assert!(reader.current().allows_hooks() && reader.error().is_none());
    }
}
