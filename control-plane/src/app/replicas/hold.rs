//! Taking nodes, and letting them go.

use muster_domain::{session::HeldBy, sighting::Sighting};
use parking_lot::MutexGuard;

use crate::app::{
    App,
    fleet::{Claim, Entry, Holder},
};

impl App {
    /// The node is this replica's, which has its session.
    pub(in crate::app) fn take_hold(&self, entry: &mut MutexGuard<'_, Entry>, claim: Claim) {
        entry.holder = Holder::Us;
        match claim {
            Claim::Anew => entry.held_since = None,
            // Others may have stored that it is gone, while nobody had it.
            Claim::Again => entry.dirty.liveness = true,
        }
        self.tell_session(entry, claim);
    }

    /// Nobody waits for the node any more: it is nobody's.
    pub(in crate::app) fn let_go_if_gone(&self, entry: &mut MutexGuard<'_, Entry>) {
        if entry.holder == Holder::Us && entry.live.is_none() && entry.tracker.is_gone() {
            entry.holder = Holder::Nobody;
            self.tell_session(entry, Claim::Again);
        }
    }

    /// The other replicas are to know what a session says.
    pub(in crate::app) fn tell_session(&self, entry: &mut MutexGuard<'_, Entry>, claim: Claim) {
        if self.replicas.is_shared() {
            entry.dirty.session = entry.dirty.session.max(Some(claim));
            self.recorder.node(entry);
        }
    }

    /// Whether it is on this replica to say whether the node is heard.
    pub(in crate::app) fn answers_for(&self, entry: &Entry, leads: bool) -> bool {
        match entry.holder {
            Holder::Us => true,
            Holder::Nobody => leads,
            Holder::Other(_) => false,
        }
    }

    /// A node of this replica, as the others are to know it. `None`: it is none.
    pub(in crate::app) fn held(&self, entry: &Entry) -> Option<HeldBy> {
        let replica = self.replicas.id();
        if entry.holder != Holder::Us {
            return None;
        }
        let Some(live) = entry.live.as_deref() else { return Some(HeldBy { replica, session: None }) };
        let seen = entry.sightings.all().iter().rev().find(|seen| seen.instance == live.instance);
        let seen = seen.cloned().unwrap_or_else(|| Sighting {
            instance: live.instance,
            boot_id: String::new(),
            machine_fingerprint: Vec::new(),
            remote: live.remote.ip(),
            at: live.since,
            serial: live.serial.clone(),
        });
        Some(live.held(replica, seen, &entry.conditions))
    }
}
