//! What of nodes' news waits while the store is far behind: facts and items. Memory has
//! them, and their hosts keep them until they are acknowledged.

use muster_common::ids::NodeId;
use muster_domain::lane::Lane;

use crate::app::{App, fleet::Dirty};

impl App {
    /// Puts off reports if the store is far behind. Answers the nodes of which something else
    /// is to be written.
    pub(super) fn put_off_reports(&self, nodes: Vec<NodeId>) -> Vec<NodeId> {
        if Lane::Reports.is_shed(self.store.behind()) {
            nodes.into_iter().filter(|id| self.put_off(*id)).collect()
        } else {
            nodes
        }
    }

    fn put_off(&self, id: NodeId) -> bool {
        let put_off = |dirty: &mut Dirty| {
            let reports = reports_of(dirty);
            if reports != Dirty::default() {
                self.metrics.shed(Lane::Reports.word());
                add(self.recorder.later.lock().entry(id).or_default(), reports);
            }
            dirty.queued = *dirty != Dirty { queued: true, ..Dirty::default() };
            dirty.queued
        };
        self.fleet.with(id, |mut entry| put_off(&mut entry.dirty)).unwrap_or(false)
    }

    /// Has reports written that were put off, unless the store is still far behind.
    pub(super) fn take_up_reports(&self) {
        if Lane::Reports.is_shed(self.store.behind()) {
            return;
        }
        let later = std::mem::take(&mut *self.recorder.later.lock());
        for (id, reports) in later {
            self.fleet.with(id, |mut entry| {
                add(&mut entry.dirty, reports);
                self.recorder.node(&mut entry);
            });
        }
    }
}

/// Takes out what can wait.
fn reports_of(dirty: &mut Dirty) -> Dirty {
    Dirty {
        facts: std::mem::take(&mut dirty.facts),
        items: std::mem::take(&mut dirty.items),
        items_seq: std::mem::take(&mut dirty.items_seq),
        noted: dirty.noted.extract_if(.., |noted| noted.is_of_items()).collect(),
        ..Dirty::default()
    }
}

fn add(dirty: &mut Dirty, reports: Dirty) {
    dirty.facts |= reports.facts;
    dirty.items_seq = dirty.items_seq.max(reports.items_seq);
    reports.noted.into_iter().for_each(|noted| dirty.note(noted));
    let more: Vec<_> = reports.items.into_iter().filter(|item| !dirty.items.contains(item)).collect();
    dirty.items.extend(more);
}
