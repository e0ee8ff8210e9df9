//! Finds, of many nodes, those that a selector matches, and looks at none of them.
//!
//! Each node has a place. For each value of each label it is written down at which places are
//! the nodes that have it, and for each kind of host at which places are those of that kind. A
//! term of a selector is then a union of such sets, and a selector is what its terms have in
//! common. That costs by how many values a term names and by how many places there are in
//! words of 64 bits, and not a walk through a million nodes (docs/adr/0023).
//!
//! Names of hosts are all different, so they are not written down: a term about them is left
//! out, and what is found is then more than what matches ([`Found::is_exact`]).

use std::{collections::HashMap, sync::Arc};

use muster_common::ids::NodeId;
use roaring::{MultiOps as _, RoaringBitmap};

use super::{
    Labels, Selector,
    selector::{Resolved, Subject, Term, Test},
};
use crate::{
    access::Reach,
    facts::{HOSTNAME, Kind, Known},
};

/// Many nodes by their labels and facts. Whoever changes those of a node says so here.
#[derive(Debug, Default)]
pub struct Roster {
    ids: Vec<NodeId>,
    free: Vec<Place>,
    all: RoaringBitmap,
    labels: HashMap<Box<str>, Column>,
    kinds: HashMap<Arc<Kind>, Places>,
    entered: u64,
}

/// Where a node stands in a roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    places: RoaringBitmap,
    /// Whether all of them match. Else each one is to be asked: whatever matches is among them.
    pub is_exact: bool,
}

/// One label of all nodes.
#[derive(Debug, Default)]
struct Column {
    any: RoaringBitmap,
    values: HashMap<Box<str>, Places>,
}

/// Some places. Values that only one node has are many, and a set is large for one place.
#[derive(Debug)]
enum Places {
    One(u32),
    Many(RoaringBitmap),
}

impl Roster {
    /// Takes a node in.
    ///
    /// # Panics
    /// At the 4,294,967,296th node.
    pub fn enter(&mut self, id: NodeId, labels: &Labels, facts: &Known) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.ids.push(id);
            Place(u32::try_from(self.ids.len() - 1).expect("memory ends before places do"))
        });
        self.ids[place.0 as usize] = id;
        self.entered += 1;
        self.all.insert(place.0);
        self.write(place, labels, facts);
        place
    }

    /// Takes in that what is said about a node is something else now.
    pub fn change(&mut self, place: Place, old: (&Labels, &Known), new: (&Labels, &Known)) {
        self.strike(place, old.0, old.1);
        self.write(place, new.0, new.1);
    }

    /// Forgets a node, of which this was said.
    pub fn leave(&mut self, place: Place, labels: &Labels, facts: &Known) {
        self.strike(place, labels, facts);
        self.all.remove(place.0);
        self.free.push(place);
    }

    /// The nodes that a selector matches, of those in reach.
    #[must_use]
    pub fn find(&self, selector: &Selector, reach: &Reach) -> Found {
        let found = self.of_selector(selector);
        if reach.is_all() {
            return found;
        }
        let reached: Vec<Found> = reach.selectors().map(|it| self.of_selector(it)).collect();
        let is_exact = found.is_exact && reached.iter().all(|it| it.is_exact);
        let reached = reached.into_iter().map(|it| it.places).union();
        Found { places: found.places & reached, is_exact }
    }

    /// How many nodes ever entered: while no other one did, no place is another node's.
    #[must_use]
    pub const fn entered(&self) -> u64 {
        self.entered
    }

    /// The node that stands there, or was the last to.
    #[must_use]
    pub fn id(&self, place: Place) -> Option<NodeId> {
        self.ids.get(place.0 as usize).copied()
    }

    /// Ids of what was found, in no order.
    pub fn ids<'a>(&'a self, found: &'a Found) -> impl Iterator<Item = NodeId> + 'a {
        found.places().filter_map(|place| self.id(place))
    }

    fn of_selector(&self, selector: &Selector) -> Found {
        let found = self.of_terms(&selector.terms);
        selector.members.iter().fold(found, |found, member| self.of_member(found, member))
    }

    fn of_member(&self, found: Found, member: &Resolved) -> Found {
        let group = self.of_terms(&member.terms);
        let is_exact = found.is_exact && group.is_exact;
        let places = match (member.member.inside, group.is_exact) {
            (true, _) => found.places & group.places,
            (false, true) => found.places - group.places,
            // Who of these is in the group is not known here.
            (false, false) => found.places,
        };
        Found { places, is_exact }
    }

    fn of_terms(&self, terms: &[Term]) -> Found {
        let (known, names): (Vec<&Term>, Vec<&Term>) =
            terms.iter().partition(|term| term.subject != Subject::Fact(HOSTNAME));
        let of_terms = known.into_iter().map(|term| self.of_term(term)).reduce(|some, more| some & more);
        Found { places: of_terms.unwrap_or_else(|| self.all.clone()), is_exact: names.is_empty() }
    }

    fn of_term(&self, term: &Term) -> RoaringBitmap {
        match &term.subject {
            Subject::Label(key) => match (&term.test, self.labels.get(key.as_str())) {
                (Test::Present | Test::In(_), None) => RoaringBitmap::new(),
                (Test::Absent | Test::NotIn(_), None) => self.all.clone(),
                (Test::Present, Some(column)) => column.any.clone(),
                (Test::Absent, Some(column)) => &self.all - &column.any,
                (Test::In(values), Some(column)) => column.with(values),
                (Test::NotIn(values), Some(column)) => &self.all - column.with(values),
            },
            Subject::Fact(name) => {
                let of_kind = self.kinds.iter().filter(|(kind, _)| term.test.holds(kind.lookup(name)));
                union(of_kind.map(|(_, places)| places))
            }
        }
    }

    fn write(&mut self, place: Place, labels: &Labels, facts: &Known) {
        for (key, value) in labels {
            let column = entry(&mut self.labels, key, Column::default);
            column.any.insert(place.0);
            entry(&mut column.values, value, || Places::One(place.0)).insert(place.0);
        }
        let of_kind = self.kinds.entry(Arc::clone(facts.kind()));
        of_kind.or_insert(Places::One(place.0)).insert(place.0);
    }

    fn strike(&mut self, place: Place, labels: &Labels, facts: &Known) {
        for (key, value) in labels {
            let Some(column) = self.labels.get_mut(key) else { continue };
            column.any.remove(place.0);
            if column.values.get_mut(value).is_some_and(|places| places.remove(place.0)) {
                column.values.remove(value);
            }
            if column.values.is_empty() {
                self.labels.remove(key);
            }
        }
        if self.kinds.get_mut(facts.kind()).is_some_and(|places| places.remove(place.0)) {
            self.kinds.remove(facts.kind());
        }
    }
}

impl Found {
    /// Where they stand.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.places.iter().map(Place)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.places.len()).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl Column {
    fn with(&self, values: &[String]) -> RoaringBitmap {
        union(values.iter().filter_map(|value| self.values.get(value.as_str())))
    }
}

impl Places {
    fn insert(&mut self, place: u32) {
        match self {
            Self::One(there) if *there == place => {}
            Self::One(there) => *self = Self::Many([*there, place].into_iter().collect()),
            Self::Many(places) => {
                places.insert(place);
            }
        }
    }

    /// Answers whether nothing is left.
    fn remove(&mut self, place: u32) -> bool {
        match self {
            Self::One(there) => *there == place,
            Self::Many(places) => {
                places.remove(place);
                places.is_empty()
            }
        }
    }
}

fn union<'a>(some: impl Iterator<Item = &'a Places>) -> RoaringBitmap {
    let (mut single, mut many) = (RoaringBitmap::new(), Vec::new());
    for places in some {
        match places {
            Places::One(place) => {
                single.insert(*place);
            }
            Places::Many(places) => many.push(places),
        }
    }
    many.into_iter().chain([&single]).union()
}

/// What stands under a text, which is only copied if nothing does.
fn entry<'a, T>(map: &'a mut HashMap<Box<str>, T>, key: &str, new: impl FnOnce() -> T) -> &'a mut T {
    if !map.contains_key(key) {
        map.insert(key.into(), new());
    }
    map.get_mut(key).expect("it is there by now")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;

    fn facts(hostname: &str, os: &str) -> Known {
        Facts { hostname: hostname.to_owned(), os: os.to_owned(), ..Facts::default() }.into()
    }

    fn found(roster: &Roster, selector: &str) -> (Vec<NodeId>, bool) {
        let found = roster.find(&Selector::parse(selector).expect("a selector"), &Reach::all());
        let mut ids: Vec<NodeId> = roster.ids(&found).collect();
        ids.sort_unstable();
        (ids, found.is_exact)
    }

    #[test]
    fn a_name_is_not_written_down_and_hides_nobody() {
        let mut roster = Roster::default();
        let [one, two] = [1, 2].map(NodeId::from_u128);
        roster.enter(one, &Labels::from([("env", "prod")]), &facts("a", "debian"));
        roster.enter(two, &Labels::from([("env", "test")]), &facts("b", "debian"));
        assert_eq!(found(&roster, "facts.hostname=a,env=prod"), (vec![one], false));
        assert_eq!(found(&roster, "facts.hostname!=a"), (vec![one, two], false));
        assert_eq!(found(&roster, "facts.os=debian"), (vec![one, two], true));
    }

    #[test]
    fn whoever_left_leaves_nothing_behind_but_a_place_for_the_next() {
        let mut roster = Roster::default();
        let [one, two, three] = [1, 2, 3].map(NodeId::from_u128);
        let (labels, facts) = (Labels::from([("env", "prod")]), facts("a", "debian"));
        let place = roster.enter(one, &labels, &facts);
        roster.enter(two, &Labels::new(), &Known::default());
        roster.leave(place, &labels, &facts);
        assert_eq!(found(&roster, "*"), (vec![two], true));
        assert!(roster.labels.is_empty() && roster.kinds.len() == 1, "{roster:?}");
        assert_eq!(roster.enter(three, &labels, &facts), place);
        assert_eq!(found(&roster, "env"), (vec![three], true));
    }
}
