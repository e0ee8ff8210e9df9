//! Whether nodes are heard. Heartbeats are noted in memory; only a change of
//! state is written down.

use std::time::Duration;

use muster_common::clock::Instant;
use muster_domain::{
    liveness::{Change, Event, Limits, Liveness, State, Tracker},
    node::Node,
};
use parking_lot::MutexGuard;

use super::{App, fleet::Entry};
use crate::session::{frames::Refusal, ports::End};

/// A sweep that comes later than this was not only slow.
const AWAY: Duration = Duration::from_secs(2);

impl App {
    /// Finds the silent ones. Answers how many changed their state. `last`: the
    /// sweep before, if there was one: if that is too long ago, this process was
    /// stopped meanwhile, and nobody is blamed for a silence it could not hear.
    pub fn sweep(&self, last: Option<Instant>) -> usize {
        let now = self.clock.monotonic();
        let mut changed = 0;
        if last.is_some_and(|last| now - last > self.fixed.session.heartbeat_interval + AWAY) {
            tracing::warn!("the control plane was away: what it missed is not counted against nodes");
            self.fleet.for_each(|mut entry| {
                changed += usize::from(self.observe(&mut entry, Event::PlaneWasAway, now));
            });
        }
        let mut silent = Vec::new();
        self.fleet.for_each(|mut entry| {
            let expired = entry.node.certificate.current.not_after <= self.clock.now()
                && entry.node.certificate.next.as_ref().is_none_or(|next| next.not_after <= self.clock.now());
            if expired && entry.live.is_none() {
                changed += usize::from(self.observe(&mut entry, Event::CertificateExpired, now));
            }
            if self.observe(&mut entry, Event::Tick, now) {
                changed += 1;
                // A stream that is open and silent is of no use to anyone: the node shall come anew.
                let is_silent = entry.tracker.state() == State::Offline;
                silent.extend(entry.live.as_ref().filter(|_| is_silent).map(|_| entry.node.id));
            }
        });
        for session in silent.into_iter().filter_map(|node| self.hub.get(node)) {
            let reason = muster_common::reason::Reason::SlowReader;
            session.end(End::Refuse(Refusal::new(reason, "nothing was heard for 2.5 heartbeat intervals")));
        }
        changed
    }

    /// Tells a node's machine what happened; a change of state is noted to be stored.
    pub(crate) fn observe(&self, entry: &mut MutexGuard<'_, Entry>, event: Event, now: Instant) -> bool {
        let (tracker, change) = entry.tracker.on(event, now, &self.liveness_limits());
        entry.tracker = tracker;
        let Change::To(state, reason) = change else { return false };
        let since = self.clock.now();
        let node = entry.node.id;
        tracing::info!(%node, ?state, reason, "node {node} is {state:?}: {reason}");
        entry.node.liveness = Liveness { state, since, reason: reason.to_owned() };
        entry.dirty.liveness = true;
        self.recorder.node(&mut entry.dirty, node);
        true
    }

    /// A node just enrolled, or found in the store while running.
    pub(crate) fn tracker_of_new(&self, node: &Node) -> Tracker {
        Tracker::restored(node.liveness.state, self.clock.monotonic())
    }

    /// A node found in the store when the process started: what was heard before is not known now.
    pub(crate) fn tracker_after_start(&self, node: &Node) -> Tracker {
        Tracker::restored(node.liveness.state, self.clock.monotonic())
    }

    pub(crate) fn liveness_limits(&self) -> Limits {
        Limits::from_interval(self.fixed.session.heartbeat_interval)
    }

    /// How often `sweep` is worth calling.
    #[must_use]
    pub fn sweep_interval(&self) -> Duration {
        (self.fixed.session.heartbeat_interval / 10).clamp(Duration::from_millis(100), Duration::from_secs(2))
    }
}

/// A state in one word, for metrics.
#[must_use]
pub const fn word(state: State) -> &'static str {
    match state {
        State::NeverSeen => "never-seen",
        State::Online => "online",
        State::Late => "late",
        State::Offline => "offline",
        State::Unknown => "unknown",
        State::Expired => "expired",
        State::Quarantined => "quarantined",
    }
}
