//! Whom an operation would reach, before it is started.

use std::collections::HashSet;

use muster_common::ids::NodeId;
use muster_domain::{
    access::Scope,
    labels::Groups,
    liveness,
    operation::{Plan, Timing},
    page::{Listed, Page},
};
use parking_lot::MutexGuard;

use super::{Wish, check_lease, supersede};
use crate::app::{App, Error, dispatch::spoken, fleet::Entry, selectors, written::Written};

/// A node that would be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previewed {
    /// Which.
    pub node: NodeId,
    /// Its name.
    pub display_name: String,
    /// Whether it is heard.
    pub liveness: liveness::State,
    /// A precondition that does not hold of it now.
    pub unmet: Option<String>,
    /// Its agent does not know the kind.
    pub kind_unknown: bool,
    is_here: bool,
}

/// All of them, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PreviewCounts {
    /// Nodes.
    pub total: usize,
    /// That have a session and may get orders.
    pub online: usize,
    /// Of which some precondition does not hold.
    pub unmet: usize,
    /// Whose agents do not know the kind.
    pub kind_unknown: usize,
    /// Queued commands of older operations that would end.
    pub superseded: u32,
}

impl App {
    /// One page of the nodes that an operation would reach now, in the order in which they
    /// would get their orders, and counts of all.
    ///
    /// # Errors
    /// If the operation could not be started so.
    pub async fn preview_operation(
        &self,
        scope: &Scope,
        wish: &Wish,
        page: Page,
    ) -> Result<(Listed<Previewed>, PreviewCounts), Error> {
        let groups = self.catalog.now().groups.clone();
        let selector =
            selectors::resolved("selector", &selectors::written("selector", &wish.selector)?, &groups)?;
        Timing::check(self.clock.now(), wish.not_before, wish.deliver_within, wish.run_timeout)?;
        wish.plan.check()?;
        let nodes = self.matching(scope, &selector);
        let superseded = self.would_end(&wish.plan, &nodes).await?;
        let nodes = self.in_order(nodes, &wish.plan, &Written::default());
        let first = match &page.after {
            Some(key) => key.parse().map_err(|_| muster_store::Error::PageKey(key.clone()))?,
            None => 0,
        };
        let end = usize::saturating_add(first, page.size as usize);
        let (mut rows, mut counts) = (Vec::new(), PreviewCounts { superseded, ..PreviewCounts::default() });
        for (n, id) in nodes.iter().enumerate() {
            let look = |entry: MutexGuard<'_, Entry>| self.previewed(&entry, wish, &groups);
            let Some(seen) = self.fleet.with(*id, look) else { continue };
            counts.add(&seen);
            if (first..end).contains(&n) {
                rows.push(seen);
            }
        }
        Ok((Listed { rows, next: (end < nodes.len()).then(|| end.to_string()) }, counts))
    }

    async fn would_end(&self, plan: &Plan, nodes: &[NodeId]) -> Result<u32, Error> {
        let (plan, nodes): (_, HashSet<NodeId>) = (plan.clone(), nodes.iter().copied().collect());
        let read = self.store.read(move |tx| {
            check_lease(tx, &plan)?;
            supersede::count_older(tx, plan.supersede.as_ref(), &nodes)
        });
        read.await
    }

    fn previewed(&self, entry: &Entry, wish: &Wish, groups: &Groups) -> Previewed {
        let (node, live) = (&entry.node, entry.live.as_deref());
        let knows = |known: &String| known == wish.kind;
        Previewed {
            node: node.id,
            display_name: node.display_name.clone(),
            liveness: node.liveness.state,
            unmet: wish.plan.preconditions.unmet(node, live.map(spoken), groups),
            kind_unknown: live.is_some_and(|live| !live.capabilities.iter().any(knows)),
            is_here: live.is_some() && node.quarantine.is_none(),
        }
    }
}

impl PreviewCounts {
    fn add(&mut self, seen: &Previewed) {
        self.total += 1;
        self.online += usize::from(seen.is_here);
        self.unmet += usize::from(seen.unmet.is_some());
        self.kind_unknown += usize::from(seen.kind_unknown);
    }
}
