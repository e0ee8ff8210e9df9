//! What a roster finds is what asking every node finds.

use std::collections::BTreeMap;

use muster_common::ids::NodeId;
use muster_domain::{
    access::Reach,
    facts::{Facts, Known},
    labels::{Groups, Labels, Place, Roster, Selector, Written},
};
use proptest::{collection, option, prelude::*, sample};

use super::selector::{labels, named, term, value};

/// Few nodes, so that they meet.
const NODES: u128 = 8;

/// A node is this from now on, or is no more.
type Step = (u128, Option<(Labels, Known)>);

fn facts() -> impl Strategy<Value = Known> {
    (option::of(value()), option::of(value())).prop_map(|(os, hostname)| {
        let (os, hostname) = (os.unwrap_or_default(), hostname.unwrap_or_default());
        Facts { os, hostname, ..Facts::default() }.into()
    })
}

fn step() -> impl Strategy<Value = Step> {
    (0..NODES, option::weighted(0.8, (labels(), facts())))
}

fn terms(most: usize) -> impl Strategy<Value = String> {
    let name =
        (sample::select(vec!["=", "!="]), value()).prop_map(|(is, it)| format!("facts.hostname{is}{it}"));
    let term = prop_oneof![6 => term().prop_map(|(text, _)| text), 1 => name];
    collection::vec(term, 0..most)
        .prop_map(|terms| if terms.is_empty() { "*".to_owned() } else { terms.join(",") })
}

/// A selector with any terms and groups, and the nodes that its caller may see.
fn question() -> impl Strategy<Value = (Selector, Reach)> {
    let member = prop_oneof![3 => Just(""), 2 => Just(",@g"), 2 => Just(",!@g")];
    (terms(4), member, terms(3), collection::vec(terms(3), 0..3)).prop_map(|(own, member, group, reach)| {
        let groups = Groups::of(&[named("g", &group)]);
        let written = Written::parse(&format!("{own}{member}").replacen("*,", "", 1)).expect("made of terms");
        let reach = reach.iter().map(|text| Selector::parse(text).expect("made of terms"));
        (written.resolve(&groups).expect("the group is there"), Reach::of(reach))
    })
}

#[derive(Default)]
struct Fleet {
    roster: Roster,
    nodes: BTreeMap<u128, (Place, Labels, Known)>,
}

impl Fleet {
    fn take(&mut self, (number, now): Step) {
        match (self.nodes.remove(&number), now) {
            (None, None) => {}
            (None, Some((labels, facts))) => {
                let place = self.roster.enter(NodeId::from_u128(number), &labels, &facts);
                self.nodes.insert(number, (place, labels, facts));
            }
            (Some((place, labels, facts)), None) => self.roster.leave(place, &labels, &facts),
            (Some((place, labels, facts)), Some(new)) => {
                self.roster.change(place, (&labels, &facts), (&new.0, &new.1));
                self.nodes.insert(number, (place, new.0, new.1));
            }
        }
    }

    fn asked(&self, selector: &Selector, reach: &Reach) -> Vec<NodeId> {
        let is_one = |labels, facts| selector.matches(labels, facts) && reach.matches(labels, facts);
        let found = self.nodes.iter().filter(|(_, (_, labels, facts))| is_one(labels, facts));
        found.map(|(number, _)| NodeId::from_u128(*number)).collect()
    }
}

proptest! {
    #[test]
    fn a_roster_finds_whatever_asking_every_node_finds(
        story in collection::vec(step(), 0..40), questions in collection::vec(question(), 1..8),
    ) {
        let mut fleet = Fleet::default();
        story.into_iter().for_each(|step| fleet.take(step));
        for (selector, reach) in questions {
            let found = fleet.roster.find(&selector, &reach);
            let mut ids: Vec<NodeId> = fleet.roster.ids(&found).collect();
            ids.sort_unstable();
            let asked = fleet.asked(&selector, &reach);
            if found.is_exact {
                prop_assert_eq!(ids, asked, "{} of {}", selector, reach);
            } else {
                prop_assert!(asked.iter().all(|id| ids.contains(id)), "{} of {}", selector, reach);
                let asks_names = [selector.to_string(), reach.to_string()].concat();
                let in_group = selector.explain(&Labels::new(), &Known::default());
                let in_group = in_group.into_iter().flat_map(|clause| clause.within.unwrap_or_default());
                prop_assert!(
                    asks_names.contains("facts.hostname")
                        || in_group.into_iter().any(|clause| clause.text.contains("facts.hostname")),
                    "{} of {} needs no second look", selector, reach,
                );
            }
        }
    }
}
