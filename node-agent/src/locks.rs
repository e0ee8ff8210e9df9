//! The host's own rules, in a file that only its administrator writes. No remote
//! side can override them. No file: everything is locked.
//!
//! ```toml
//! [paths]
//! allow = ["/etc/app"]     # roots under which bundles may write
//! [hooks]
//! allow = false            # whether bundles may run programs
//! [commands]
//! run-script = false       # whether operators may run scripts; or the table below
//! allow = ["reboot"]       # kinds that are denied unless they stand here
//! deny = ["disconnect"]    # kinds that are denied, whatever else is said
//! services = ["app-*.service"] # units on which `service` acts
//! journals = ["*"]         # units whose journals `collect-logs` takes
//! [commands.run-script]
//! allow = true
//! users = ["app"]          # as whom; without this line: as the agent's own user
//! sha256 = ["9f86d0…"]     # only these scripts, by the hash of their text
//! [settings]
//! log-level = "debug"      # options of the agent, whatever the control plane gives
//! ```

mod commands;

use std::{
    collections::BTreeMap,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use commands::Commands;
pub use commands::{KINDS, Text, User};
use muster_common::{settings, unit_name};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::redaction::redact;

/// Longest file that is read.
const MAX_BYTES: u64 = 256 * 1024;

/// What this host allows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Locks {
    paths: Paths,
    hooks: Hooks,
    commands: Commands,
    #[serde(deserialize_with = "settings::from_tables")]
    settings: BTreeMap<String, String>,
    /// The file cannot be used: nobody knows what it locks.
    #[serde(skip)]
    is_unusable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Paths {
    allow: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Hooks {
    allow: bool,
}

/// A lock file that cannot be trusted or read. Everything is locked then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read lock file {}", path.display())]
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
    #[error("lock file {} allows {root:?}, which is not an absolute path without . and ..", path.display())]
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
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(read)?;
        let locks: Self = toml::from_str(&text).map_err(|error| {
            // The parser shows the line, and it may have a password.
            Error::Parse { path: path.to_owned(), why: redact(error.to_string().trim_end()) }
        })?;
        if let Some(root) = locks.paths.allow.iter().find(|root| !is_normal(root)) {
            return Err(Error::Root { path: path.to_owned(), root: root.clone() });
        }
        locks.commands.check(path)?;
        for (key, value) in &locks.settings {
            settings::check(key, value).map_err(|source| Error::Setting { path: path.to_owned(), source })?;
        }
        Ok(locks)
    }

    /// The rules of a file that cannot be used: everything is locked.
    #[must_use]
    pub fn everything() -> Self {
        Self { is_unusable: true, ..Self::default() }
    }

    /// The allowed root under which a path lies. `None`: it may not be written.
    #[must_use]
    pub fn root_of(&self, path: &Path) -> Option<&Path> {
        let under = |root: &&PathBuf| path.starts_with(root) && path != root.as_path();
        self.paths.allow.iter().filter(|_| is_normal(path)).find(under).map(PathBuf::as_path)
    }

    /// Whether bundles may run programs.
    #[must_use]
    pub const fn allows_hooks(&self) -> bool {
        self.hooks.allow
    }

    /// Why a script may not run where scripts may. `None`: it may.
    #[must_use]
    pub fn refuses_script(&self, user: &User<'_>, text: &Text<'_>) -> Option<String> {
        self.commands.run_script.refuses(user, text)
    }

    /// Whether a kind of command may run.
    #[must_use]
    pub fn allows_command(&self, kind: &str) -> bool {
        self.commands.allows(kind, self.is_unusable)
    }

    /// Whether `service` may act on a unit.
    #[must_use]
    pub fn allows_service(&self, unit: &str) -> bool {
        self.commands.services.iter().any(|pattern| unit_name::matches(pattern, unit))
    }

    /// Whether the journal of a unit may leave the host.
    #[must_use]
    pub fn allows_journal(&self, unit: &str) -> bool {
        self.commands.journals.iter().any(|pattern| unit_name::matches(pattern, unit))
    }

    /// The value at which an option of the agent is locked.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// Whether options that the control plane gives may come into force.
    #[must_use]
    pub const fn allows_settings(&self) -> bool {
        !self.is_unusable
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

fn is_normal(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && (text == b"/" || text[1..].split(|byte| *byte == b'/').all(plain))
}

/// The rules of now: an edit counts without a restart. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Mutex<Cached>>);

#[derive(Debug)]
struct Cached {
    path: PathBuf,
    seen: Option<Seen>,
    locks: Locks,
    error: Option<String>,
}

/// What tells one content of the file from the next.
type Seen = (u64, u64, u64, i64, i64);

impl Reader {
    /// Reads from this file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let cached = Cached { path, seen: None, locks: Locks::default(), error: None };
        let reader = Self(Arc::new(Mutex::new(cached)));
        reader.0.lock().read();
        reader
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
}

impl Cached {
    fn refresh(&mut self) {
        if self.seen != seen(&self.path) {
            self.read();
        }
    }

    fn read(&mut self) {
        // Looked at before it is read: a change in between is then seen next time.
        self.seen = seen(&self.path);
        (self.locks, self.error) = match Locks::load(&self.path) {
            Ok(locks) => (locks, None),
            Err(error) => {
                let error = muster_common::error_chain::Chain(&error).to_string();
                tracing::error!(error, "everything is locked: {error}");
                (Locks::everything(), Some(error))
            }
        };
    }
}

fn seen(path: &Path) -> Option<Seen> {
    let of = |m: Metadata| (m.dev(), m.ino(), m.size(), m.ctime(), m.ctime_nsec());
    std::fs::symlink_metadata(path).ok().map(of)
}

#[cfg(test)]
mod tests;
