//! Says when the metadata of the repository has to be signed again.

use std::{collections::HashMap, time::Duration};

use muster_common::clock::UnixMillis;
use muster_store::ReadArtifacts as _;
use parking_lot::Mutex;

use crate::app::{App, Error};

/// The same is not said more often.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// When was said of which role that it is due.
#[derive(Debug, Default)]
pub struct Warned(Mutex<HashMap<&'static str, UnixMillis>>);

impl Warned {
    fn is_new(&self, role: &'static str, now: UnixMillis) -> bool {
        let mut said = self.0.lock();
        let is_new = said.get(role).is_none_or(|at| now.since(*at) >= AGAIN_AFTER);
        if is_new {
            said.insert(role, now);
        }
        is_new
    }
}

impl App {
    /// Looks at the ends of all roles: they become numbers, of each replica, and those that are near a warning of
    /// the one that leads.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn watch_repository(&self) -> Result<(), Error> {
        let found = self.store.read_own(|tx| tx.repository_get().map_err(Error::from)).await?;
        let (Some((repository, _)), now) = (found, self.clock.now()) else { return Ok(()) };
        for (name, role) in repository.roles() {
            let seconds = (role.expires_at.0 - now.0) / 1000;
            self.metrics.repository_expires_in(name, seconds);
            if !role.is_due(now) || !self.leads() || !self.warned.is_new(name, now) {
                continue;
            }
            let (version, end) = (role.version, role.expires_at);
            if seconds > 0 {
                tracing::warn!(
                    role = name,
                    version,
                    "the {name} metadata of the repository ends at {end}: sign it again"
                );
            } else {
                tracing::error!(
                    role = name,
                    version,
                    "the {name} metadata of the repository ended at {end}: agents take nothing new"
                );
            }
        }
        Ok(())
    }
}
