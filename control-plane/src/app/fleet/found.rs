//! Which nodes a selector matches, asked of the roster and not of each node.
//!
//! The roster is written under the lock of the node's entry, so both say the same; whoever
//! holds the roster's lock takes no other.

use muster_common::ids::NodeId;
use muster_domain::{
    access::Scope,
    facts::Known,
    labels::{Labels, Selector},
};

use super::{Entry, Fleet};

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
        let roster = self.0.roster.read();
        let found = roster.find(selector, &scope.reach);
        let mut ids: Vec<NodeId> = roster.ids(&found).collect();
        drop(roster);
        if !found.is_exact {
            ids.retain(|id| self.with(*id, |entry| entry.is_found(scope, selector)) == Some(true));
        }
        ids.sort(); // they are nearly in order already
        ids
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
