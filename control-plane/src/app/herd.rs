//! How many nodes this process takes, and when those come again that it cannot take.

use std::time::Duration;

use muster_common::{clock::Instant, ids::NodeId, reason::Reason};
use muster_domain::{
    herd::{Crowds, Slots, window},
    lane::Lane,
};
use parking_lot::Mutex;

use super::{App, Error};
use crate::session::ports::End;

/// A restart takes about so long: who comes sooner finds nobody.
const LEAST: Duration = Duration::from_secs(2);
/// Nodes may stay away for ten heartbeat intervals after a restart before they are
/// offline; half of it is for those that miss their first try.
const INTERVALS: u32 = 5;
/// Nobody is sent away for longer: there may be room before that.
const AWAY: Duration = Duration::from_secs(60);
/// Shortest wait of whoever was turned away because the store does not keep up.
const A_MOMENT: Duration = Duration::from_secs(1);

/// What bounds the herd.
#[derive(Debug)]
pub struct Herd {
    sessions: usize,
    per_second: u32,
    slots: Mutex<Slots>,
    crowds: Mutex<Crowds>,
}

impl Herd {
    /// Of a process that may have so many connections of nodes, and begins so many
    /// handshakes with them in a second. Some connections are kept for those that come to
    /// be told that there is no room, and that may have more of it elsewhere.
    #[must_use]
    pub fn new(connections: usize, per_second: u32) -> Self {
        let sessions = connections - connections / 32;
        let (slots, crowds) = (Mutex::new(Slots::new(per_second, 1)), Mutex::new(Crowds::new(per_second)));
        Self { sessions, per_second, slots, crowds }
    }

    /// A stream broke without a word, of a node that has so long to come back.
    pub(super) fn broke(&self, now: Instant, grace: Duration) {
        self.crowds.lock().broke(now, grace);
    }

    /// Whether a stream that broke then did so together with so many that they stand in a line.
    pub(super) fn is_of_crowd(&self, broke_at: Instant) -> bool {
        self.crowds.lock().has(broke_at)
    }

    /// The next place in the line of those who were sent away.
    fn slot(&self, now: Instant) -> Duration {
        self.slots.lock().take(now, AWAY).unwrap_or(AWAY)
    }
}

impl App {
    /// Whether a node may open a session here now.
    ///
    /// # Errors
    /// `SHUTTING_DOWN`, or `OVERLOADED` if there are as many as may be; with the time at
    /// which it is this node's turn to come again.
    pub(crate) fn admit_session(&self, node: NodeId) -> Result<(), Error> {
        let after = || self.herd.slot(self.clock.monotonic());
        if self.is_draining() {
            return Err(Error::later(Reason::ShuttingDown, "the control plane is shutting down", after()));
        }
        // A node that is here already takes nobody's place: its older session ends.
        if self.hub.len() < self.herd.sessions || self.hub.get(node).is_some() {
            return Ok(());
        }
        self.metrics.limit_met("agents", "sessions");
        let message = format!("this replica has {} sessions and takes no more", self.herd.sessions);
        Err(Error::later(Reason::Overloaded, message, after()))
    }

    /// Over how long a time the nodes of this process are to come back when it ends.
    #[must_use]
    pub fn come_back_within(&self) -> Duration {
        let most = self.fixed.session.heartbeat_interval * INTERVALS;
        window(self.hub.len(), self.herd.per_second, LEAST..=most)
    }

    /// What nodes are told when this process ends: to come back, wherever one is.
    #[must_use]
    pub fn last_word(&self) -> End {
        End::Reconnect {
            after: Duration::ZERO,
            spread: self.come_back_within(),
            addresses: self.replica_addresses(),
            reason: "shutting-down",
        }
    }

    /// Whether work of a lane is begun now.
    ///
    /// # Errors
    /// `OVERLOADED` if the store is too far behind for it.
    pub(crate) fn has_time_for(&self, lane: Lane) -> Result<(), Error> {
        let behind = self.store.behind();
        if !lane.is_shed(behind) {
            return Ok(());
        }
        self.metrics.shed(lane.word());
        let message = format!("the store is {} s behind; try again later", behind.as_secs());
        // As long as the oldest has waited by now: it will not be shorter before that is done.
        Err(Error::later(Reason::Overloaded, message, behind.clamp(A_MOMENT, AWAY)))
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    #[test]
    fn those_who_are_sent_away_come_again_one_after_another() {
        let (herd, now) = (Herd::new(64, 100), Clock::System.monotonic());
        assert_eq!(herd.sessions, 62, "some connections are for those who are told so");
        assert_eq!(Herd::new(1, 100).sessions, 1);
        let slots: Vec<_> = (0..3).map(|_| herd.slot(now).as_millis()).collect();
        assert_eq!(slots, [0, 10, 20]);
        let last = (0..10_000).map(|_| herd.slot(now)).max();
        assert_eq!(last, Some(AWAY), "nobody is sent away for longer");
    }
}
