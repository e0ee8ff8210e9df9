//! What a change of what nodes should have would do, before it is made: assignments,
//! groups and rollouts are compared with what holds now by the same code.
//!
//! Promises: what it says of a node is what the desk would offer it after the change, as
//! far as nothing else changes meanwhile. It writes nothing.

mod count;
mod difference;

use std::{collections::BTreeSet, time::Duration};

use count::Count;
pub use difference::{Difference, FileDifference, FileOutline, Kind, Outline, OutlineOf, ValueDifference};
use muster_common::ids::NodeId;
use muster_domain::{
    access::Scope, assignment::Assignment, effective::Compiled, item::ItemName, labels::Groups,
    rollout::StepForecast,
};

use super::{App, Error, catalog::Contents};

/// Nodes looked at in one go, times items: each is looked at twice.
const REST_AFTER: usize = 500;
/// Nodes named of each kind.
const NAMED: usize = 20;

/// A change of what nodes should have.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Assignments as they would be: new ones, others than before, or as they are if it
    /// is the groups that change.
    pub(super) put: Vec<Assignment>,
    /// One that would be gone.
    pub(super) delete: Option<String>,
    /// Groups as they would be. `None`: as they are.
    pub(super) groups: Option<Groups>,
}

/// What a change would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Of each item that it is about, in their order.
    pub items: Vec<ItemPreview>,
    /// At once: one.
    pub steps: Vec<StepForecast>,
    /// How long it takes, as far as that can be known.
    pub time: Time,
}

/// How long a change takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Hosts that are heard are told within this time.
    ToldWithin(Duration),
    /// A lower bound.
    AtLeast(Duration),
}

/// What becomes of one item.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemPreview {
    /// Which.
    pub item: ItemName,
    /// Nodes that have nothing of it and would get it.
    pub gained: NodeSet,
    /// That would get other content.
    pub changed: NodeSet,
    /// That would not have it any more.
    pub lost: NodeSet,
    /// That it is for, and that should have just that already.
    pub same: NodeSet,
    /// That it is for, and for which something stronger decides.
    pub overruled: NodeSet,
    /// Of the first three: whose agent is too old.
    pub withheld: NodeSet,
    /// Of the first three: that are not heard now.
    pub not_heard: NodeSet,
    /// What changes, the most frequent first.
    pub differences: Vec<Difference>,
    /// Differences that are not told.
    pub more: usize,
}

/// So many nodes, and some of them by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSet {
    /// All.
    pub count: usize,
    /// The first ones.
    pub named: Vec<(NodeId, String)>,
}

impl NodeSet {
    /// One more.
    pub(super) fn add(&mut self, id: NodeId, name: &str) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push((id, name.to_owned()));
        }
    }
}

impl Change {
    /// The assignments that it is about.
    fn names(&self) -> BTreeSet<String> {
        self.put.iter().map(|it| it.name.clone()).chain(self.delete.clone()).collect()
    }

    /// All assignments after it.
    fn applied(&self, before: &Contents) -> Result<Contents, Error> {
        let (about, groups) = (self.names(), self.groups.as_ref().unwrap_or(&before.groups));
        let others = before.assignments.iter().filter(|it| !about.contains(&it.assignment.name)).cloned();
        let compiled = |it: &Assignment| {
            Compiled::new(it.clone(), groups).map_err(|error| Error::invalid("selector", error.to_string()))
        };
        let ours = self.put.iter().map(compiled).collect::<Result<Vec<_>, _>>()?;
        Ok(before.with(others.chain(ours).collect(), groups.clone()))
    }

    /// The items of which something may change.
    fn items(&self, before: &Contents) -> BTreeSet<ItemName> {
        let about = self.names();
        let had = before.assignments.iter().map(|it| &it.assignment).filter(|it| about.contains(&it.name));
        had.chain(&self.put).map(|it| it.target.item()).collect()
    }
}

impl App {
    /// What a change would do that reaches all its nodes at once.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn preview_at_once(&self, scope: &Scope, change: &Change) -> Result<Preview, Error> {
        let (items, nodes) = self.preview_items(scope, change).await?;
        let step = StepForecast { nodes, goes: usize::from(nodes > 0), ..StepForecast::default() };
        let time = Time::ToldWithin(self.fixed.session.heartbeat_interval);
        Ok(Preview { items, steps: vec![step], time })
    }

    /// What would become of the nodes of the scope; and how many of them are heard and
    /// would follow at once.
    pub(super) async fn preview_items(
        &self,
        scope: &Scope,
        change: &Change,
    ) -> Result<(Vec<ItemPreview>, usize), Error> {
        let before = self.catalog.now();
        let after = self.filled(change.applied(&before)?).await?;
        let about = change.names();
        let new = |item| Count::new(item, &about, &before, &after);
        let mut counts: Vec<Count<'_>> = change.items(&before).into_iter().map(new).collect();
        let mut follow = 0;
        let in_one_go = (REST_AFTER / counts.len().max(1)).max(1);
        for ids in self.fleet.ids().chunks(in_one_go) {
            for id in ids {
                self.fleet.with(*id, |entry| {
                    if scope.sees(&entry.node) {
                        // Each item counts for itself: no short way out.
                        let moves = counts.iter_mut().filter_map(|it| it.add(self, &entry).then_some(()));
                        follow += usize::from(moves.count() > 0);
                    }
                });
            }
            tokio::task::yield_now().await;
        }
        let mut budget = difference::Budget::default();
        let told = counts.into_iter().map(|it| it.told(self.fixed.item_outline, &mut budget));
        Ok((told.collect(), follow))
    }

    /// The same with all that its assignments may give.
    async fn filled(&self, mut contents: Contents) -> Result<Contents, Error> {
        let reader = self.reader();
        let read = self.store.read(move |tx| {
            contents.fill(tx, &Contents::default(), reader)?;
            Ok::<_, Error>(contents)
        });
        read.await
    }
}
