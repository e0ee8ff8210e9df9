//! Upgrades of the agent, as the daemon asks the executor for them.

use std::{io, time::Duration};

use muster_common::reason::Reason;

use super::{
    artifacts::No,
    client::Client,
    messages::{Said, UpgradeStart, UpgradeState, Verb},
};
use crate::state::Cause;

/// For an archive to be copied on a slow disk, and for a package manager to say what is installed.
const WITHIN: Duration = Duration::from_secs(600);

impl Client {
    /// Lets a version be brought. The same again, while it is under way, is no other one.
    ///
    /// # Errors
    /// If it is not begun.
    pub fn upgrade(&self, start: UpgradeStart) -> Result<UpgradeState, No> {
        let said = self.call_once(&Verb::UpgradeStart(start), WITHIN);
        upgrade(said.map_err(|error| failed(&error))?.said())
    }

    /// How upgrades stand.
    ///
    /// # Errors
    /// If nobody says.
    pub fn upgrades(&self) -> Result<UpgradeState, No> {
        let said = self.call(&Verb::UpgradeLook(super::messages::Nothing {}));
        upgrade(said.map_err(|error| failed(&error))?.said())
    }
}

fn upgrade(said: Said) -> Result<UpgradeState, No> {
    match said {
        Said::Upgrade(state) => Ok(state),
        Said::Refused(refused) => Err(refused.into()),
        _ => Err(failed(&super::frame::invalid("the executor answered what was not asked".to_owned()))),
    }
}

fn failed(error: &io::Error) -> No {
    No { reason: Reason::UpgradeFailed, cause: Cause::Host, message: error.to_string() }
}
