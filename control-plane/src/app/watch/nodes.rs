//! News of nodes, for one watcher: as its selector goes, and as its scope goes at
//! that moment. Who does not see every node is told of no other node, not even that
//! it is gone; so what such a watcher was told is kept here, and its watch cannot be
//! resumed: who is told nothing of a node cannot be told later that it left.

use std::collections::{BTreeSet, HashSet};

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    access::{Reach, Scope},
    labels::{Selector, Written},
};
use muster_store::ChangeKind;

use super::{ids_of, not_any_more};
use crate::app::{App, Error, nodes::View, selectors};

/// News of a node.
#[derive(Debug)]
pub enum NodeNews {
    /// New, changed, or now matching.
    Upserted(Box<View>),
    /// Deleted, or no longer matching, or no longer in the scope.
    Removed(NodeId),
}

/// What one watcher asked for, and knows.
#[derive(Debug)]
pub struct NodeWatch {
    written: Written,
    /// By the groups as they were when it was last looked at.
    selector: Selector,
    scope: Scope,
    /// Nodes that it was told of. None: it sees every node, so it may be told of all.
    told: Option<HashSet<NodeId>>,
}

impl App {
    /// A watch of whoever has this scope.
    ///
    /// # Errors
    /// If it names a group that is not there.
    pub fn node_watch(&self, scope: Scope, written: Written) -> Result<NodeWatch, Error> {
        let selector = selectors::resolved("selector", &written, &self.catalog.now().groups)?;
        let told = (!scope.is_whole()).then(HashSet::new);
        Ok(NodeWatch { written, selector, scope, told })
    }

    /// The revision a token of a watch of nodes stands for.
    ///
    /// # Errors
    /// If it belongs to another history, what it knows is not kept any more, a group that
    /// the watch names has changed since, or the watcher does not see every node.
    pub async fn resume_nodes_from(&self, watch: &NodeWatch, token: &str) -> Result<u64, Error> {
        if watch.told.is_some() {
            let message = "a watch of some nodes only starts from the start";
            return Err(Error::refused(Reason::ResumeTokenExpired, message));
        }
        let revision = self.resume_from(token).await?;
        if self.catalog.now().groups.revision_of(&watch.written) > revision {
            let message = "a group that the selector names has changed; watch from the start";
            return Err(Error::refused(Reason::ResumeTokenExpired, message));
        }
        Ok(revision)
    }

    /// The token for going on after a revision; empty if there is no going on.
    #[must_use]
    pub fn node_token(&self, watch: &NodeWatch, revision: u64) -> String {
        if watch.told.is_some() { String::new() } else { self.resume_token(revision) }
    }

    /// All nodes that match, and the revision from which to go on. Only their
    /// ids: a watcher that reads slowly must not hold a fleet of views.
    pub fn nodes_now(&self, watch: &NodeWatch) -> (Vec<NodeId>, u64) {
        // First the revision: what changes while we read is told again.
        let revision = *self.feed.applied().borrow();
        (self.matching(&watch.scope, &watch.selector), revision)
    }

    /// Nodes of which there may be news since a revision, and the revision they reach.
    ///
    /// # Errors
    /// If the store fails, or a group that the watch names is gone.
    pub async fn node_changes(&self, watch: &mut NodeWatch, from: u64) -> Result<(Vec<NodeId>, u64), Error> {
        let (changes, reached) = self.changes(from).await?;
        let mut ids: BTreeSet<NodeId> = ids_of(&changes, ChangeKind::Node);
        ids.append(&mut ids_of(&changes, ChangeKind::NodeReport));
        ids.append(&mut self.rescope(watch)?);
        Ok((ids.into_iter().collect(), reached))
    }

    /// What there is to tell of a node, as it is now. None: nothing that the watcher may know.
    pub fn node_news(&self, watch: &mut NodeWatch, id: NodeId) -> Option<NodeNews> {
        // Asked for each: a reader may be so slow that its bindings have changed meanwhile.
        let now = self.access.scope_now(&watch.scope, false);
        let now = now.unwrap_or_else(|| Scope { reach: Reach::none(), ..watch.scope.clone() });
        match self.node(&now, id) {
            Ok(view) if watch.selector.matches(&view.node.labels, &view.node.facts) => {
                watch.told.as_mut().map(|told| told.insert(id));
                Some(NodeNews::Upserted(Box::new(view)))
            }
            _ => {
                let knew = watch.told.as_mut().is_none_or(|told| told.remove(&id));
                knew.then_some(NodeNews::Removed(id))
            }
        }
    }

    /// Whether the watcher may watch any node at all.
    ///
    /// # Errors
    /// If it may not any more.
    pub fn may_watch(&self, watch: &NodeWatch) -> Result<(), Error> {
        if watch.scope.reach.is_none() { Err(not_any_more()) } else { Ok(()) }
    }

    /// Takes the scope and the groups as they are now. Answers the nodes that came into
    /// what is watched, or left it.
    fn rescope(&self, watch: &mut NodeWatch) -> Result<BTreeSet<NodeId>, Error> {
        let selector = selectors::resolved("selector", &watch.written, &self.catalog.now().groups)?;
        let now = self.access.scope_now(&watch.scope, false);
        let now = now.unwrap_or_else(|| Scope { reach: Reach::none(), ..watch.scope.clone() });
        if now == watch.scope && selector == watch.selector {
            return Ok(BTreeSet::new());
        }
        let knew = match watch.told.take() {
            Some(told) => told,
            None => self.matching(&watch.scope, &watch.selector).into_iter().collect(),
        };
        let sees: HashSet<NodeId> = self.matching(&now, &selector).into_iter().collect();
        let moved = knew.symmetric_difference(&sees).copied().collect();
        watch.told = (!now.is_whole()).then_some(knew);
        (watch.scope, watch.selector) = (now, selector);
        Ok(moved)
    }
}
