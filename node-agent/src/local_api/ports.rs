//! What the socket needs of the agent behind it.

use std::{io, sync::Arc};

use muster_common::clock::UnixMillis;
use tokio::sync::watch;

use super::status::{Log, Status};
use crate::{
    applier::explain::Explanation,
    state::{EffectiveSetting, Facts, Pause},
};

/// What was asked cannot be done now.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The host is in no fleet.
    #[error("this host is in no fleet; `muster-node-agent connect` brings it into one")]
    NotInAFleet,
    /// The lock file is against it, and says why.
    #[error("{0}")]
    Locked(String),
    /// The environment decides how much is logged.
    #[error("MUSTER_LOG in the environment of the agent decides what is logged")]
    LogLevelFixed,
    /// The disk says no.
    #[error("cannot use the state directory")]
    Disk(#[from] io::Error),
}

/// The agent, as far as its host may ask it. What waits for the disk is called where that
/// harms nobody.
pub trait Host: Send + Sync + 'static {
    /// How it stands, now and whenever that changes.
    fn status(&self) -> watch::Receiver<Arc<Status>>;

    /// What the host says about itself.
    ///
    /// # Errors
    /// If it is in no fleet: nobody has asked yet.
    fn facts(&self) -> Result<Arc<Facts>, Refused>;

    /// The agent's options in force, without credentials.
    fn settings(&self) -> Vec<EffectiveSetting>;

    /// Where each item stands, and why. Waits for the disk.
    ///
    /// # Errors
    /// If the host is in no fleet, or from the disk.
    fn explain(&self) -> Result<Vec<Explanation>, Refused>;

    /// The time of the host.
    fn now(&self) -> UnixMillis;

    /// From now on changes rest. It is on disk when this returns. Waits for the disk.
    ///
    /// # Errors
    /// From the disk; the pause before then stays.
    fn pause(&self, pause: Pause) -> Result<(), Refused>;

    /// Ends a pause; answers whether there was one. Waits for the disk.
    ///
    /// # Errors
    /// From the disk; the pause then stays.
    fn resume(&self) -> Result<bool, Refused>;

    /// Logs as much as this. `None`: what the options say.
    ///
    /// # Errors
    /// If somebody else decides that.
    fn log_at(&self, level: Option<String>, until: Option<UnixMillis>) -> Result<Log, Refused>;

    /// Takes an extension off this host; answers whether there is one of that name.
    ///
    /// # Errors
    /// If the host is in no fleet.
    fn remove_extension(&self, name: &str) -> Result<bool, Refused>;
}
