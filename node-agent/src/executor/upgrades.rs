//! Verbs about upgrades of the agent itself.

use std::io;

use super::artifacts::{Artifacts, wanted};
use crate::{
    upgrader::order::{Order, Orders},
    verbs::messages::{Said, UpgradeStart, Verb},
};

/// Does them.
#[derive(Debug)]
pub(super) struct Upgrades {
    pub(super) orders: Orders,
    pub(super) artifacts: Artifacts,
}

impl Upgrades {
    pub(super) async fn attend(&self, verb: Verb) -> io::Result<Said> {
        let done = match verb {
            Verb::UpgradeStart(start) => {
                let store = self.artifacts.store()?;
                self.orders.start(&order(&start)?, &store).await
            }
            Verb::UpgradeLook(_) => self.orders.look().await,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(done.map_or_else(|no| Said::Refused(no.into()), Said::Upgrade))
    }
}

fn order(start: &UpgradeStart) -> io::Result<Order> {
    Ok(Order {
        version: start.version.clone(),
        package_version: start.package_version.clone(),
        archive: start.artifact.as_ref().map(wanted).transpose()?,
    })
}
