//! How an operation goes about it, as its caller asked.

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{
    pace::{Pacing, Room},
    precondition::Preconditions,
};
use crate::{item::is_resource_name, violation::Violation};

/// Longest key, in bytes.
const MAX_KEY: usize = 128;

/// All of it; by default all commands go out at once, to whoever is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// How fast.
    pub pacing: Pacing,
    /// To whom, when it comes to it.
    pub preconditions: Preconditions,
    /// Instead of what.
    pub supersede: Option<Supersede>,
    /// Name of the lease of which each command takes a place.
    pub lease: Option<String>,
}

/// In whose place an operation comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supersede {
    /// Of older operations with the same key.
    pub key: String,
    /// What of these is delivered or running is asked to stop.
    pub stop_running: bool,
}

impl Plan {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// The first field that cannot be so.
    pub fn check(&self) -> Result<(), Violation> {
        self.pacing.check()?;
        self.preconditions.check()?;
        if let Some(supersede) = &self.supersede {
            let key = &supersede.key;
            if !(1..=MAX_KEY).contains(&key.len()) || key.contains(char::is_control) {
                let message = format!("it must have 1 to {MAX_KEY} bytes, without control characters");
                return Err(Violation::invalid("supersede.key", message));
            }
        }
        match &self.lease {
            Some(name) if !is_resource_name(name) => {
                let message = format!("{name:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?");
                Err(Violation::invalid("lease", message))
            }
            _ => Ok(()),
        }
    }

    /// Until when its commands wait here: what takes room, or is judged, must not do so hours
    /// before it starts. All others wait on their hosts, which may be cut off by then.
    #[must_use]
    pub fn waits_here_until(&self, not_before: Option<UnixMillis>, rooms: &[Room]) -> Option<UnixMillis> {
        let Self { pacing, preconditions, supersede: _, lease } = self;
        let is_judged = *pacing != Pacing::default() || !preconditions.is_none() || lease.is_some();
        not_before.filter(|_| is_judged || !rooms.is_empty())
    }
}
