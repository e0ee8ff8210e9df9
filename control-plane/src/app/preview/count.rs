//! What becomes of one item on each node.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use muster_common::digest::Sha256;
use muster_domain::{
    assignment::Target,
    effective::{self, Giving},
    item::ItemName,
    liveness::State,
    node::Node,
};

use super::{
    ItemPreview, NodeSet,
    difference::{Budget, Difference, OutlineOf},
};
use crate::app::{
    App,
    catalog::{Contents, Wanted},
    fleet::Entry,
};

/// Differences that are told of one item.
const TOLD: usize = 10;

/// Of what a node has and would have.
type Digests = (Option<Sha256>, Option<Sha256>);

/// One item, before and after a change.
pub(super) struct Count<'a> {
    /// The assignments that change.
    about: &'a BTreeSet<String>,
    before: &'a Contents,
    after: &'a Contents,
    found: ItemPreview,
    pairs: HashMap<Digests, Pair>,
}

/// What some nodes have, and what they would have instead.
struct Pair {
    from: Option<Wanted>,
    to: Option<Wanted>,
    nodes: usize,
}

/// What the assignments in question decide on a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// They give it nothing.
    Nothing,
    /// Something stronger decides.
    Overruled,
    /// What they say counts.
    Decides,
}

impl<'a> Count<'a> {
    pub(super) fn new(
        item: ItemName,
        about: &'a BTreeSet<String>,
        before: &'a Contents,
        after: &'a Contents,
    ) -> Self {
        let none = NodeSet::default;
        let found = ItemPreview {
            item,
            gained: none(),
            changed: none(),
            lost: none(),
            same: none(),
            overruled: none(),
            withheld: none(),
            not_heard: none(),
            differences: Vec::new(),
            more: 0,
        };
        Self { about, before, after, found, pairs: HashMap::new() }
    }

    /// Counts a node. Whether it would follow at once.
    pub(super) fn add(&mut self, app: &App, entry: &Entry) -> bool {
        let (node, epoch) = (&entry.node, app.fixed.history.epoch);
        let from = self.before.wanted_of(node, &self.found.item, epoch);
        let to = self.after.wanted_of(node, &self.found.item, epoch);
        let sha256 = |wanted: &Option<Wanted>| wanted.as_ref().map(|it| it.version.sha256);
        let key = (sha256(&from), sha256(&to));
        let set = match key {
            (from, to) if from == to => return self.add_unmoved(node),
            (None, _) => &mut self.found.gained,
            (_, None) => &mut self.found.lost,
            _ => &mut self.found.changed,
        };
        set.add(node.id, &node.display_name);
        let is_withheld = to.as_ref().is_some_and(|wanted| app.withheld(entry, wanted).is_some());
        let is_heard = matches!(entry.tracker.state(), State::Online | State::Late);
        if is_withheld {
            self.found.withheld.add(node.id, &node.display_name);
        }
        if !is_heard {
            self.found.not_heard.add(node.id, &node.display_name);
        }
        self.pairs.entry(key).or_insert(Pair { from, to, nodes: 0 }).nodes += 1;
        is_heard && !is_withheld
    }

    /// Counts a node for which nothing changes, if the change is about it.
    fn add_unmoved(&mut self, node: &Node) -> bool {
        let set = match (self.part(self.after, node), self.part(self.before, node)) {
            (Part::Overruled, _) | (Part::Nothing, Part::Overruled) => Some(&mut self.found.overruled),
            (Part::Decides, _) | (Part::Nothing, Part::Decides) => Some(&mut self.found.same),
            (Part::Nothing, Part::Nothing) => None,
        };
        if let Some(set) = set {
            set.add(node.id, &node.display_name);
        }
        false
    }

    fn part(&self, contents: &Contents, node: &Node) -> Part {
        let of_item = contents.of_item(&self.found.item);
        let giving = effective::candidates(&node.labels, &node.facts, &node.touches, of_item);
        let Some(at) = giving.iter().position(|it| self.about.contains(&it.by.assignment.name)) else {
            return Part::Nothing;
        };
        let is_overruled = match &self.found.item {
            item if item.has_one_giver() => at > 0,
            _ => at > 0 && adds_nothing(contents, &giving[at], &giving[..at]),
        };
        if is_overruled { Part::Overruled } else { Part::Decides }
    }

    /// All of it, with what changes in it.
    pub(super) fn told(self, outline: OutlineOf, budget: &mut Budget) -> ItemPreview {
        let mut pairs: Vec<(Digests, Pair)> = self.pairs.into_iter().collect();
        pairs.sort_by_key(|(key, pair)| (Reverse(pair.nodes), *key));
        let more = pairs.len().saturating_sub(TOLD);
        let item = &self.found.item;
        let told = pairs.iter().take(TOLD).map(|(_, pair)| {
            Difference::between(item, pair.from.as_ref(), pair.to.as_ref(), pair.nodes, outline, budget)
        });
        ItemPreview { differences: told.collect(), more, ..self.found.clone() }
    }
}

/// Whether stronger profiles have a word on each of its keys.
fn adds_nothing(contents: &Contents, ours: &Giving<'_>, stronger: &[Giving<'_>]) -> bool {
    let profile = |giving: &Giving<'_>| match giving.target {
        Target::Settings { profile, version } => contents.profile(profile, *version),
        Target::Bundle { .. } | Target::Extension { .. } | Target::Release { .. } => None,
    };
    let has = |key: &String| stronger.iter().filter_map(profile).any(|values| values.contains_key(key));
    profile(ours).is_none_or(|values| values.keys().all(has))
}
