//! Whether nodes are heard. Heartbeats are noted in memory; only a change of
//! state is written down.

use std::{collections::BTreeMap, time::Duration};

use muster_common::clock::Instant;
use muster_domain::{
    liveness::{Change, Event, Limits, Liveness, SILENT, State, Tracker},
    mass_loss::Away,
    node::Node,
    session::HeldBy,
};
use parking_lot::MutexGuard;

use super::{App, fleet::Entry, numbers::OpenOrders, replicas::Sees};
use crate::session::{frames::Refusal, ports::End};

/// Between two sweeps at least.
const LEAST_REST: Duration = Duration::from_millis(100);
/// And so many times as long as the last one took: of a large fleet it looks at a million nodes.
const RESTS: u32 = 10;
/// A sweep that comes later than this was not only slow.
const AWAY: Duration = Duration::from_secs(2);

/// What a sweep found.
#[derive(Debug)]
pub struct Swept {
    /// Nodes by state.
    pub counts: BTreeMap<State, usize>,
    /// Orders that have not ended.
    pub orders: OpenOrders,
    /// When a node can first change its state by silence.
    pub next: Option<Instant>,
    /// How long it took to look at all of them.
    pub took: Duration,
}

impl App {
    /// Finds the silent ones. `last`: the sweep before, if there was one: if that
    /// is too long ago, this process was stopped meanwhile, and nobody is blamed
    /// for a silence it could not hear.
    pub fn sweep(&self, last: Option<Instant>) -> Swept {
        let now = self.clock.monotonic();
        let was_away = last.is_some_and(|last| now - last > self.sweep_at_most() + AWAY);
        if was_away {
            tracing::warn!("the control plane was away: what it missed is not counted against nodes");
            self.was_away(Away::Suspended);
        }
        let (limits, wall) = (self.liveness_limits(), self.clock.now());
        let (counts, orders) = (BTreeMap::new(), OpenOrders::new());
        let mut swept = Swept { counts, orders, next: None, took: Duration::ZERO };
        let mut silent = Vec::new();
        let (leads, sees) = (self.leads(), self.sees_others());
        match sees {
            Sees::All => {}
            Sees::AllAgain => {
                self.was_away(Away::Database);
                self.events.database_is_back(wall);
            }
            Sees::Nothing => self.events.database_is_away(wall),
        }
        self.fleet.for_each(|mut entry| {
            for ticket in &entry.tickets {
                *swept.orders.entry((ticket.operation, ticket.state)).or_default() += 1;
            }
            if !self.answers_for(&entry, leads) {
                *swept.counts.entry(entry.tracker.state()).or_default() += 1;
                return;
            }
            if was_away {
                self.observe(&mut entry, Event::PlaneWasAway, now);
            }
            if entry.live.is_none() && entry.node.certificate.is_over(wall) {
                self.observe(&mut entry, Event::CertificateExpired, now);
            }
            let due = entry.tracker.next_deadline(&limits).is_some_and(|deadline| deadline <= now);
            let due = match sees {
                Sees::All => due,
                // Where it went meanwhile nobody could say: it has its time from now.
                Sees::AllAgain if due || entry.live.is_none() => {
                    self.observe(&mut entry, Event::PlaneWasAway, now);
                    false
                }
                Sees::AllAgain => false,
                Sees::Nothing => false,
            };
            // A stream that is open and silent is of no use to anyone: the node shall come anew.
            if due && self.tick(&mut entry, now) && entry.tracker.state() == State::Offline {
                silent.extend(entry.live.as_ref().map(|_| entry.node.id));
                self.let_go_if_gone(&mut entry);
            }
            entry.put_away();
            swept.next = entry.tracker.next_deadline(&limits).into_iter().chain(swept.next).min();
            *swept.counts.entry(entry.tracker.state()).or_default() += 1;
        });
        self.counted(&swept.counts);
        if sees == Sees::Nothing {
            swept.next = None; // what is due is not judged now
        }
        for session in silent.into_iter().filter_map(|node| self.hub.get(node)) {
            let reason = muster_common::reason::Reason::SlowReader;
            session.end(End::Refuse(Refusal::new(reason, "nothing was heard for 2.5 heartbeat intervals")));
        }
        swept.took = self.clock.monotonic() - now;
        swept
    }

    /// Shows a node the time. Whose stream broke with many others' may stand in our line.
    fn tick(&self, entry: &mut MutexGuard<'_, Entry>, now: Instant) -> bool {
        let is_in_crowd = entry.tracker.broke_at().is_some_and(|at| self.herd.is_of_crowd(at));
        self.observe(entry, if is_in_crowd { Event::TickInCrowd } else { Event::Tick }, now)
    }

    /// Has the machine know what the node's record says of quarantine.
    pub(crate) fn observe_quarantine(&self, entry: &mut MutexGuard<'_, Entry>, now: Instant) {
        let event = if entry.node.quarantine.is_some() { Event::Quarantined } else { Event::Released };
        self.observe(entry, event, now);
    }

    /// Tells a node's machine what happened; a change of state is noted to be stored.
    pub(crate) fn observe(&self, entry: &mut MutexGuard<'_, Entry>, event: Event, now: Instant) -> bool {
        let was = entry.tracker.state();
        if let Some(how) = self.was_there(entry, event) {
            self.metrics.false_offline(how);
        }
        let (tracker, change) = entry.tracker.on(event, now, &self.liveness_limits());
        entry.tracker = tracker;
        let Change::To(state, reason) = change else { return false };
        self.metrics.liveness_changed(word(state), reason);
        let since = self.clock.now();
        let node = entry.node.id;
        tracing::info!(%node, ?state, reason, "node {node} is {state:?}: {reason}");
        if state == State::Offline && event == Event::Tick {
            self.lost(entry, was);
        }
        entry.node.liveness = Liveness { state, since, reason: reason.into() };
        entry.note_hearing(was);
        entry.dirty.liveness = true;
        self.recorder.node(entry);
        true
    }

    /// How a node shows that was told as offline, for its silence alone, that it was there: what it
    /// says was on its way, or it was in reach and came anew at once.
    fn was_there(&self, entry: &Entry, event: Event) -> Option<&'static str> {
        let how = match event {
            Event::Heard => "heartbeat",
            Event::Connected => "session",
            _ => return None,
        };
        let told = &entry.node.liveness;
        let is_silent = told.state == State::Offline && *told.reason == *SILENT;
        let at_once = self.fixed.session.heartbeat_interval;
        (is_silent && self.clock.now().since(told.since) <= at_once).then_some(how)
    }

    /// A node just enrolled, or found in the store while running.
    pub(crate) fn tracker_of_new(&self, node: &Node) -> Tracker {
        Tracker::restored(node.liveness.state, self.clock.monotonic())
    }

    /// A node found in the store when the process started: what was heard before
    /// is not known now. That is not stored: the next start would find the same.
    pub(crate) fn found_at_start(&self, node: Node, held: Option<HeldBy>) {
        let (id, stored) = (node.id, node.liveness.clone());
        self.fleet.put(node, 0, |node| self.tracker_of_new(node));
        self.fleet.with(id, |mut entry| match held {
            Some(held) => self.is_held(&mut entry, held, stored.state),
            None => self.found(&mut entry, &stored),
        });
    }

    pub(crate) fn liveness_limits(&self) -> Limits {
        Limits::from_interval(self.fixed.session.heartbeat_interval)
    }

    /// How long `sweep` may wait: until a node can first be late, as far as the
    /// last one knew, and not so long that a stream that closed since is forgotten.
    #[must_use]
    pub fn sweep_in(&self, next: Option<Instant>, took: Duration) -> Duration {
        let until = next.map(|next| next.saturating_duration_since(self.clock.monotonic()));
        let most = self.sweep_at_most();
        until.unwrap_or(most).clamp(LEAST_REST.max(took * RESTS).min(most), most)
    }

    fn sweep_at_most(&self) -> Duration {
        (self.fixed.session.heartbeat_interval / 2).clamp(LEAST_REST, Duration::from_secs(5))
    }
}

/// All states, for metrics: one that nobody is in any more counts zero.
pub const STATES: [State; 7] = [
    State::NeverSeen,
    State::Online,
    State::Late,
    State::Offline,
    State::Unknown,
    State::Expired,
    State::Quarantined,
];

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
