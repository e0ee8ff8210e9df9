//! What was read of a node anew, put into what memory has of it.

use muster_common::clock::UnixMillis;
use muster_domain::{node::Node, sighting::Sightings};

use super::{Dirty, Entry, Fleet};

impl Fleet {
    /// What operators edit comes from the store; what the node reports is newer
    /// here. What was read some moments ago may be older than what is here already.
    pub(super) fn merge(&self, entry: &mut Entry, stored: Node) {
        // All that selectors see, and since when: one generation must never stand for two contents.
        if stored.selector_revision > entry.node.selector_revision {
            self.sees_anew(entry, &stored);
        }
        entry.merge(stored);
    }

    /// Takes in what the node told another replica, as it was stored.
    pub fn take_told(&self, entry: &mut Entry, stored: Node, now: UnixMillis) {
        if stored.selector_revision >= entry.node.selector_revision {
            self.sees_anew(entry, &stored);
        }
        entry.take_told(stored, now);
    }

    fn sees_anew(&self, entry: &mut Entry, stored: &Node) {
        self.sees(entry, stored.labels.clone(), stored.facts.clone());
        entry.node.selector_revision = stored.selector_revision;
        entry.node.facts_sha256 = stored.facts_sha256;
    }
}

fn take_name(node: &mut Node, stored: &Node) {
    if stored.revision >= node.revision {
        node.revision = stored.revision;
        node.display_name.clone_from(&stored.display_name);
    }
}

impl Entry {
    fn merge(&mut self, stored: Node) {
        let is_locking = self.locking;
        let node = &mut self.node;
        take_name(node, &stored);
        node.machine_fingerprint = stored.machine_fingerprint;
        node.recoveries = stored.recoveries;
        node.accepted = stored.accepted;
        node.own_since = stored.own_since;
        node.touches = stored.touches;
        let was_let_out = node.quarantine.is_some() && stored.quarantine.is_none();
        if !is_locking {
            node.quarantine = stored.quarantine;
        }
        if stored.certificate.is_as_new_as(&node.certificate) {
            node.certificate = stored.certificate;
        }
        let is_kept_anew = stored.kept.is_some() && stored.kept != node.kept;
        if is_kept_anew || was_let_out && !is_locking {
            self.released(stored.kept);
        } else if stored.kept.is_none() {
            node.kept = None;
            if !self.turned_away.all().is_empty() {
                self.turned_away = Sightings::default();
            }
        }
    }

    fn take_told(&mut self, stored: Node, now: UnixMillis) {
        for state in &stored.items {
            self.note_progress(state, now);
        }
        if !self.progressed.is_empty() {
            self.progressed.retain(|item, _| stored.items.iter().any(|state| state.item == *item));
        }
        let node = &mut self.node;
        take_name(node, &stored); // it may have been edited together with labels
        if stored.certificate.is_as_new_as(&node.certificate) {
            node.certificate = stored.certificate;
        }
        node.liveness = stored.liveness;
        node.ledger = stored.ledger;
        node.trust_bundle_version = stored.trust_bundle_version;
        node.items = stored.items;
        // What we knew better was of a session that is over.
        self.told = None;
        self.dirty = Dirty { queued: self.dirty.queued, ..Dirty::default() };
    }
}
