//! Extensions of this host: brought, enabled, watched over, updated, and taken away again.
//!
//! Each has a worker of its own, so that a verb that takes an hour keeps no other waiting.
//! A worker goes from step to step as [`machine`] says; each step is in the record of the
//! extension, with a deadline, before it begins, and is done again if the agent ends in the
//! middle of it: verbs are such that they may be. The last good version stays on the host
//! until the next one has proved itself, and is returned to otherwise.
//!
//! What a package can do stands in it, what may be brought in the host's lock file. Who runs
//! its programs, with which limits, is said by [`Depots`]: this process or the executor.

mod content;
mod failure;
mod machine;
mod output;
mod program;
mod prove;
mod record;
mod story;
mod supervise;
mod task;
mod verb;
mod worker;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use muster_common::{
    clock::Clock,
    digest::Sha256,
    sealing::{Contents, Sealed},
};

pub use content::Artifact;
pub use task::{Error, Handle, Task, leave};

use crate::{
    locks,
    state::{ItemError, Pauses},
    verbs::Depots,
};

/// How the names of this room's items begin.
pub const PREFIX: &str = content::PREFIX;

/// Told how many bytes are here.
pub type Told = Arc<dyn Fn(u64) + Send + Sync>;
/// Opens the protected contents of an item.
pub type Opener = Arc<dyn Fn(&str, Sha256, Option<&Sealed>) -> Result<Contents, String> + Send + Sync>;
/// The agent's own way out, as variables of an environment.
pub type WayOut = Arc<dyn Fn() -> BTreeMap<String, String> + Send + Sync>;

/// Where packages come from.
pub trait Source: Send + Sync {
    /// Brings a file of the signed repository to this host, checked and admitted, so that the
    /// depot can open it by its digest. What is here already takes no time.
    fn obtain(&self, artifact: &Artifact, told: Told) -> BoxFuture<'static, Result<(), ItemError>>;
}

/// What the room needs from others.
#[derive(Clone)]
pub struct Options {
    /// Its own folder.
    pub folder: PathBuf,
    /// Who has the packages and runs their programs.
    pub depots: Depots,
    /// Where packages come from.
    pub source: Arc<dyn Source>,
    /// The host's rules.
    pub locks: locks::Reader,
    /// What time it is.
    pub clock: Clock,
    /// While one holds nothing is brought or taken away; what runs is watched over.
    pub pauses: Pauses,
    /// Opens what is sealed for this host.
    pub open: Opener,
    /// For packages that ask for it.
    pub way_out: WayOut,
}

#[cfg(test)]
mod tests;
