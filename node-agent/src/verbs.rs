//! What the two halves of a split agent say to each other: a closed list of verbs, each
//! with typed words, over a socket of this host.
//!
//! One connection is one verb: a request, the bytes that belong to it, an answer. So there
//! is nothing to get out of step with, nothing to replay into, and whoever hangs up wants
//! what it asked for no longer. A request that is not exactly as it would be written here
//! is none.
//!
//! Who uses this room does not know which half does the work: [`Hands`] and [`Runs`] are
//! this process or the executor.

mod artifacts;
pub mod client;
pub mod extensions;
mod files;
pub mod frame;
pub mod messages;
pub mod runs;
pub mod tools;
mod upgrades;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use artifacts::{No, cause, number};
pub use client::{Client, Locked};
pub use extensions::Depots;
pub use files::{Spot, found};
pub use runs::Runs;

use crate::platform::{
    accounts,
    place::{Place, Rights},
};
use messages::{Act, FileVerb};

/// Where the executor listens.
pub const SOCKET: &str = "/run/muster/executor.sock";

/// Who does what needs the rights of the host's administrator. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub enum Hands {
    /// This process, as far as its own rights go.
    #[default]
    Here,
    /// The root half of a split agent.
    Executor(Client),
}

impl Hands {
    /// The place of a file. `None`: a folder on the way to it does not exist. The executor
    /// finds the root in its own reading of the lock file.
    ///
    /// # Errors
    /// If the way to it cannot be gone.
    pub fn open(&self, root: &Path, path: &Path) -> io::Result<Option<Spot>> {
        match self {
            Self::Here => Ok(Place::open(root, path)?.map(Spot::here)),
            Self::Executor(client) => Ok(Some(Spot::there(client.clone(), path, false))),
        }
    }

    /// The place of a file, with the folders on the way to it, made if they are missing.
    ///
    /// # Errors
    /// If the way to it cannot be gone.
    pub fn make(&self, root: &Path, path: &Path) -> io::Result<Spot> {
        match self {
            Self::Here => Place::make(root, path).map(Spot::here),
            Self::Executor(client) => Ok(Spot::there(client.clone(), path, true)),
        }
    }

    /// Folders on the way to a file that do not exist, from the root on.
    ///
    /// # Errors
    /// If that cannot be seen.
    pub fn missing(&self, root: &Path, path: &Path) -> io::Result<Vec<PathBuf>> {
        match self {
            Self::Here => Place::missing(root, path),
            Self::Executor(client) => {
                let paths = client.file(FileVerb::of(path, Act::Missing))?.paths()?;
                Ok(paths.into_iter().map(PathBuf::from).collect())
            }
        }
    }

    /// To whom belongs what nobody is named as the owner of.
    #[must_use]
    pub fn me(&self) -> (u32, u32) {
        match self {
            Self::Here => accounts::me(),
            Self::Executor(_) => (0, 0),
        }
    }

    /// Lets go of what was kept from before bundles wrote, but for these files.
    ///
    /// # Errors
    /// If that fails; it is no harm.
    pub fn sweep(&self, needed: &[(PathBuf, muster_common::digest::Sha256)]) -> io::Result<()> {
        match self {
            Self::Here => Ok(()), // kept with the records, and swept with them
            Self::Executor(client) => client.sweep(needed),
        }
    }
}

impl From<Rights> for messages::Rights {
    fn from(rights: Rights) -> Self {
        Self { mode: rights.mode, user: rights.owner.0, group: rights.owner.1 }
    }
}

impl From<messages::Rights> for Rights {
    fn from(rights: messages::Rights) -> Self {
        Self { mode: rights.mode, owner: (rights.user, rights.group) }
    }
}
