//! The item `release/agent`: which version of the agent this host is to run. The agent that
//! takes the word brings what is needed, and hands it to the watchdog (`upgrader`); it ends in
//! the middle of it, and the version that runs then goes on telling how far it is.
//!
//! Promises:
//! - What is under way is in the record before it begins: no restart forgets whose word it was.
//! - A version is settled only if the watchdog blames it. After every other failure it is
//!   tried again, after a while that grows, also across restarts: the way back restarts the
//!   agent, too.
//! - While one is under way no other begins. To take the item away changes nothing.

mod content;
mod failure;
mod order;
mod record;
mod task;
mod wait;

use std::{path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use muster_common::clock::Clock;

pub use content::{Archive, Content};
pub use task::{Error, Task};

use crate::{
    locks,
    state::{ItemError, Pauses},
    verbs::messages::UpgradeState,
};

/// The item.
pub const ITEM: &str = "release/agent";

/// Told how many bytes are here.
pub type Told = Arc<dyn Fn(u64) + Send + Sync>;

/// Who brings what a version is made from, and who puts it in place.
pub trait Port: Send + Sync {
    /// Brings a file of the signed repository to this host, checked and admitted.
    fn obtain(&self, archive: &Archive, told: Told) -> BoxFuture<'static, Result<(), ItemError>>;

    /// Lets a version be put in place. The same again is no other one.
    fn start(&self, content: &Content) -> BoxFuture<'static, Result<UpgradeState, ItemError>>;

    /// How that stands, whoever began it.
    fn look(&self) -> BoxFuture<'static, Result<UpgradeState, ItemError>>;
}

/// What the room needs from others.
#[derive(Clone)]
pub struct Options {
    /// Its own folder.
    pub folder: PathBuf,
    /// The version of this program.
    pub version: String,
    /// Who does it.
    pub port: Arc<dyn Port>,
    /// The host's rules.
    pub locks: locks::Reader,
    /// What time it is.
    pub clock: Clock,
    /// While one holds nothing begins.
    pub pauses: Pauses,
}

#[cfg(test)]
mod tests;
