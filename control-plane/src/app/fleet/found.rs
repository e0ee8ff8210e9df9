//! Which nodes a selector matches, asked of the roster and not of each node.
//!
//! The roster is written under the lock of the node's entry, so both say the same; whoever
//! holds the roster's lock takes no other, and holds it for a moment: of a million nodes that
//! are found it looks up some, and then lets others write.

use std::collections::BinaryHeap;

use muster_common::ids::NodeId;
use muster_domain::{
    access::Scope,
    facts::Known,
    labels::{Labels, Selector},
};

use super::{Entry, Fleet};

/// Ids that are looked up in one go.
const AT_A_TIME: usize = 4096;

/// Some of the nodes that a selector matches.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Their ids, in order.
    pub ids: Vec<NodeId>,
    /// There are others behind them.
    pub has_more: bool,
    /// How many match in all.
    pub total: usize,
}

impl Entry {
    /// Whether it is one of a selector's nodes that the scope sees.
    #[must_use]
    pub fn is_found(&self, scope: &Scope, selector: &Selector) -> bool {
        selector.matches(&self.node.labels, &self.node.facts) && scope.sees(&self.node)
    }
}

impl Fleet {
    /// Ids of the nodes of a scope that a selector matches, in order.
    #[must_use]
    pub fn matching(&self, scope: &Scope, selector: &Selector) -> Vec<NodeId> {
        let mut ids = Vec::new();
        self.each_matching(scope, selector, |id| ids.push(id));
        ids.sort(); // they are nearly in order already
        ids
    }

    /// The first of them behind a node, at most so many; and how many there are.
    #[must_use]
    pub fn some_matching(
        &self,
        scope: &Scope,
        selector: &Selector,
        after: Option<NodeId>,
        size: usize,
    ) -> Part {
        // The first ones, and one more, the last of them on top.
        let (mut first, mut total) = (BinaryHeap::new(), 0);
        self.each_matching(scope, selector, |id| {
            total += 1;
            if after.is_some_and(|after| id <= after) {
                return;
            }
            if first.len() <= size {
                first.push(id);
            } else if let Some(mut last) = first.peek_mut()
                && id < *last
            {
                *last = id;
            }
        });
        let mut ids = first.into_sorted_vec();
        let has_more = ids.len() > size;
        ids.truncate(size);
        Part { ids, has_more, total }
    }

    /// How many nodes of a scope a selector matches.
    #[must_use]
    pub fn count_matching(&self, scope: &Scope, selector: &Selector) -> usize {
        let found = self.0.roster.read().find(selector, &scope.reach);
        if found.is_exact {
            return found.len();
        }
        let mut total = 0;
        self.each_matching(scope, selector, |_| total += 1);
        total
    }

    /// Shows each of them, in no order.
    fn each_matching(&self, scope: &Scope, selector: &Selector, mut see: impl FnMut(NodeId)) {
        let (found, entered) = {
            let roster = self.0.roster.read();
            (roster.find(selector, &scope.reach), roster.entered())
        };
        let mut places = found.places().peekable();
        let mut ids = Vec::with_capacity(found.len().min(AT_A_TIME));
        // Not until no ids come: some places may all have been left meanwhile.
        while places.peek().is_some() {
            // Whoever entered since may have the place of one that was found and left.
            let is_sure = {
                let roster = self.0.roster.read();
                ids.extend(places.by_ref().take(AT_A_TIME).filter_map(|place| roster.id(place)));
                found.is_exact && roster.entered() == entered
            };
            let matches = |id| self.with(id, |entry| entry.is_found(scope, selector)) == Some(true);
            ids.drain(..).filter(|id| is_sure || matches(*id)).for_each(&mut see);
        }
    }

    /// What selectors see of a node is this from now on. Nobody else may change it.
    pub(in crate::app) fn sees(&self, entry: &mut Entry, labels: Labels, facts: Known) {
        let node = &mut entry.node;
        if let Some(place) = entry.place {
            self.0.roster.write().change(place, (&node.labels, &node.facts), (&labels, &facts));
        }
        (node.labels, node.facts) = (labels, facts);
    }

    /// A node that was taken out is found no more.
    pub(super) fn strike(&self, entry: &mut Entry) {
        if let Some(place) = entry.place.take() {
            self.0.roster.write().leave(place, &entry.node.labels, &entry.node.facts);
        }
    }
}

/// At the end of each test of the use-cases the roster and the entries say the same.
#[cfg(test)]
impl Drop for super::Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut anew = muster_domain::labels::Roster::default();
        let mut selectors = std::collections::BTreeSet::from(["*".to_owned()]);
        for (id, entry) in self.nodes.get_mut() {
            let node = &entry.lock().node;
            anew.enter(*id, &node.labels, &node.facts);
            selectors.extend(node.labels.iter().map(|(key, value)| format!("{key}={value}")));
            selectors.insert(format!("facts.agent-version={}", node.facts.agent_version()));
            selectors.insert(format!("facts.timezone={}", node.facts.timezone()));
        }
        for text in selectors {
            // What a host says need not be a word of a selector.
            let Ok(selector) = Selector::parse(&text) else { continue };
            let ids = |roster: &muster_domain::labels::Roster| {
                let found = roster.find(&selector, &muster_domain::access::Reach::all());
                roster.ids(&found).collect::<std::collections::BTreeSet<NodeId>>()
            };
            assert_eq!(ids(self.roster.get_mut()), ids(&anew), "{text}");
        }
    }
}
