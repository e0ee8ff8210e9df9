//! What differs between two states of the catalog, and which nodes that can concern:
//! whoever it does not concern need not be woken.

use std::collections::HashSet;

use muster_domain::{
    effective::{Compiled, Index},
    item::ItemName,
    node::Node,
};

use super::Contents;

/// The items that are another matter than before, and who gives them or gave them.
pub struct Changed<'a> {
    items: HashSet<ItemName>,
    givers: Vec<&'a Compiled>,
    near: Index,
}

impl<'a> Changed<'a> {
    /// What is new in `after`.
    #[must_use]
    pub fn between(before: &'a Contents, after: &'a Contents) -> Self {
        let items = items(before, after);
        let both = [before, after].into_iter().flat_map(|contents| &contents.assignments);
        // One that did not change gives a changed item, too: at a newer generation now.
        let givers: Vec<_> = both.filter(|it| items.contains(&it.assignment.target.item())).collect();
        let near = Index::of(givers.iter().map(|it| &it.selector));
        Self { items, givers, near }
    }

    /// Whether what this node should have, or what it is to give up, may be another
    /// matter than before.
    #[must_use]
    pub fn concerns(&self, node: &Node) -> bool {
        let (labels, facts) = (&node.labels, &node.facts);
        node.items.iter().any(|state| self.items.contains(&state.item))
            || self.near.near(labels, facts).any(|place| self.givers[place].reaches(labels, facts))
    }
}

fn items(before: &Contents, after: &Contents) -> HashSet<ItemName> {
    let mut items = HashSet::new();
    for (one, other) in [(before, after), (after, before)] {
        let changed = one.assignments.iter().filter(|it| other.assignment(&it.assignment.name) != Some(it));
        items.extend(changed.map(|it| it.assignment.target.item()));
        let marked = one.marks.iter().filter(|(item, mark)| other.marks.get(item) != Some(mark));
        items.extend(marked.map(|(item, _)| item.clone()));
    }
    items // versions never change, and a release that does is marked: the assignments say it all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_domain::{
        assignment::{Assignment, Staged, Target},
        item::ItemState,
        labels::{Groups, Labels},
    };
    use proptest::{collection, prelude::*, sample};

    use super::{super::Payload, *};
    use crate::app::tests::bench::{NOW, node};

    fn assigned(name: &str, selector: &str, target: Target) -> Compiled {
        let assignment = Assignment {
            name: name.to_owned(),
            selector: selector.to_owned(),
            exclusions: Vec::new(),
            scope: "*".to_owned(),
            target,
            staged: Staged::default(),
            priority: 0,
            created_at: NOW,
            updated_at: NOW,
            updated_by: String::new(),
            revision: 1,
        };
        Compiled::new(assignment, &Groups::default()).unwrap()
    }

    fn bundle(name: &str, selector: &str, bundle: &str, version: u64) -> Compiled {
        assigned(name, selector, Target::Bundle { name: bundle.to_owned(), version })
    }

    fn contents(assignments: Vec<Compiled>, marks: &[(&str, u64)]) -> Contents {
        let marks = marks.iter().map(|(item, mark)| (item.parse().unwrap(), *mark)).collect();
        Contents { marks, ..Contents::of(assignments, Groups::default()) }
    }

    fn of_shard(shard: &str) -> Node {
        Node { labels: Labels::from([("shard".to_owned(), shard.to_owned())]), ..node(1) }
    }

    fn reporting(bundle: &str) -> Node {
        let state = ItemState {
            item: ItemName::Bundle(bundle.to_owned()),
            running: None,
            attempted: None,
            outcome: None,
            error: None,
            changed_at: NOW,
            drift: Vec::new(),
            progress: None,
            health: None,
        };
        Node { items: vec![state], ..node(2) }
    }

    #[test]
    fn only_the_nodes_that_a_change_reaches_are_concerned() {
        let all = |version| {
            let (same, changed) = (bundle("a", "shard=1", "web", 1), bundle("b", "shard=2", "db", version));
            contents(vec![same, changed], &[("bundle/web", 1), ("bundle/db", version)])
        };
        let (before, after) = (all(1), all(2));
        let changed = Changed::between(&before, &after);
        assert!(!changed.concerns(&of_shard("1")) && !changed.concerns(&of_shard("3")));
        assert!(changed.concerns(&of_shard("2")));
        assert!(!Changed::between(&after, &all(2)).concerns(&of_shard("2")), "nothing is new");
    }

    #[test]
    fn who_loses_an_item_is_concerned_and_whoever_still_tells_of_it() {
        let before = contents(vec![bundle("a", "shard=1", "web", 1)], &[("bundle/web", 1)]);
        let moved = contents(vec![bundle("a", "shard=2", "web", 1)], &[("bundle/web", 2)]);
        let changed = Changed::between(&before, &moved);
        assert!(changed.concerns(&of_shard("1")) && changed.concerns(&of_shard("2")));
        let gone = contents(Vec::new(), &[("bundle/web", 2)]);
        let changed = Changed::between(&before, &gone);
        assert!(changed.concerns(&of_shard("1")) && changed.concerns(&reporting("web")));
        assert!(!changed.concerns(&reporting("db")));
    }

    fn any_assignment() -> impl Strategy<Value = Compiled> {
        let selectors = ["*", "shard=1", "shard=2", "shard in (1,2)", "!shard", "shard!=1"];
        let name = sample::select(vec!["a", "b", "c", "d"]);
        (name, sample::select(selectors.to_vec()), 0..3u8, 1..3u64).prop_map(|(name, selector, kind, n)| {
            let target = match kind {
                0 => Target::Settings { profile: "p".to_owned(), version: n },
                1 => Target::Bundle { name: "web".to_owned(), version: n },
                _ => Target::Bundle { name: "db".to_owned(), version: n },
            };
            assigned(name, selector, target)
        })
    }

    fn any_contents() -> impl Strategy<Value = Contents> {
        let marks = collection::btree_map(sample::select(vec!["bundle/web", "bundle/db"]), 1..3u64, 0..3);
        (collection::vec(any_assignment(), 0..4), marks).prop_map(|(assignments, marks)| {
            let unique: BTreeMap<_, _> =
                assignments.into_iter().map(|it| (it.assignment.name.clone(), it)).collect();
            let marks: Vec<_> = marks.into_iter().collect();
            let mut all = contents(unique.into_values().collect(), &marks);
            let values = |value: &str| BTreeMap::from([("k".to_owned(), value.to_owned())]);
            all.profiles = [1, 2].map(|n| (("p".to_owned(), n), values(&n.to_string()))).into();
            for (name, version) in [("web", 1), ("web", 2), ("db", 1), ("db", 2)] {
                let payload = Payload::plain(format!("{name}{version}").into_bytes());
                all.payloads.insert(Target::Bundle { name: name.to_owned(), version }, payload);
            }
            all
        })
    }

    proptest! {
        /// Whoever is not woken would have found nothing new.
        #[test]
        fn who_is_not_concerned_should_have_what_it_should_have_had(
            before in any_contents(), after in any_contents(), shard in sample::select(vec!["", "1", "2"]),
        ) {
            let node = if shard.is_empty() { node(1) } else { of_shard(shard) };
            if !Changed::between(&before, &after).concerns(&node) {
                prop_assert_eq!(before.wanted(&node, 1), after.wanted(&node, 1));
            }
        }
    }
}
