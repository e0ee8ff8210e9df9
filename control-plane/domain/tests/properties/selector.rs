//! Selectors and effective state. Few words, so that they meet.

use std::collections::BTreeMap;

use muster_common::{clock::UnixMillis, ids::NodeId};
use muster_domain::{
    assignment::{Assignment, Staged, Target},
    effective::{self, Compiled},
    facts::{Facts, Known},
    group::Group,
    labels::{Groups, Labels, Selector, Written, check_labels},
};
use proptest::{collection, option, prelude::*, sample};

fn word() -> impl Strategy<Value = String> {
    sample::select(vec!["a", "b", "c", "in", "notin", "x.y/z"]).prop_map(str::to_owned)
}

pub(crate) fn value() -> impl Strategy<Value = String> {
    sample::select(vec!["1", "2", "prod"]).prop_map(str::to_owned)
}

pub(crate) fn labels() -> impl Strategy<Value = Labels> {
    collection::btree_map(word(), value(), 0..4).prop_map(Labels::from_iter)
}

fn facts() -> impl Strategy<Value = Known> {
    option::of(value()).prop_map(|os| Facts { os: os.unwrap_or_default(), ..Facts::default() }.into())
}

/// One term, as text and as what it means.
pub(crate) fn term() -> impl Strategy<Value = (String, Meaning)> {
    let subject = prop_oneof![4 => word(), 1 => Just("facts.os".to_owned())];
    (subject, 0..6usize, collection::vec(value(), 1..3)).prop_map(|(subject, kind, values)| {
        let list = values.join(" , ");
        let text = match kind {
            0 => subject.clone(),
            1 => format!("! {subject}"),
            2 => format!("{subject}={}", values[0]),
            3 => format!("{subject} != {}", values[0]),
            4 => format!("{subject} in ({list})"),
            _ => format!("{subject} notin ( {list} )"),
        };
        let values = if matches!(kind, 2 | 3) { vec![values[0].clone()] } else { values };
        (text, Meaning { subject, kind, values })
    })
}

#[derive(Debug, Clone)]
pub(crate) struct Meaning {
    subject: String,
    kind: usize,
    values: Vec<String>,
}

impl Meaning {
    fn holds(&self, labels: &Labels, facts: &Known) -> bool {
        let os = facts.lookup("os");
        let found = if self.subject == "facts.os" { os } else { labels.get(&self.subject) };
        let among = found.is_some_and(|found| self.values.iter().any(|value| value == found));
        match self.kind {
            0 => found.is_some(),
            1 => found.is_none(),
            2 | 4 => among,
            _ => !among,
        }
    }
}

fn assignment() -> impl Strategy<Value = Compiled> {
    let target = prop_oneof![
        (sample::select(vec!["web", "db"]), 1u64..4)
            .prop_map(|(name, version)| Target::Bundle { name: name.to_owned(), version }),
        (sample::select(vec!["p", "q"]), 1u64..3)
            .prop_map(|(profile, version)| Target::Settings { profile: profile.to_owned(), version }),
    ];
    (0..8u32, collection::vec(term(), 0..3), target, 0..3i32).prop_map(|(name, terms, target, priority)| {
        let selector = terms.into_iter().map(|(text, _)| text).collect::<Vec<_>>().join(",");
        let selector = if selector.is_empty() { "*".to_owned() } else { selector };
        let (name, at) = (format!("a{name}"), UnixMillis(0));
        let updated_by = String::new();
        let assignment = Assignment {
            name,
            selector,
            exclusions: Vec::new(),
            scope: "*".into(),
            target,
            staged: Staged::default(),
            priority,
            created_at: at,
            updated_at: at,
            updated_by,
            revision: 1,
        };
        Compiled::new(assignment, &Groups::default()).expect("made of terms that parse")
    })
}

pub(crate) fn named(name: &str, selector: &str) -> Group {
    Group {
        name: name.to_owned(),
        selector: selector.to_owned(),
        description: String::new(),
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
        updated_by: String::new(),
        revision: 1,
    }
}

fn profiles() -> BTreeMap<(String, u64), BTreeMap<String, String>> {
    let map = |value: &str| BTreeMap::from([("k".to_owned(), value.to_owned())]);
    let all = [(("p", 1), "1"), (("p", 2), "2"), (("q", 1), "3"), (("q", 2), "4")];
    all.into_iter().map(|((name, version), value)| ((name.to_owned(), version), map(value))).collect()
}

proptest! {
    #[test]
    fn a_selector_matches_what_its_terms_mean(
        terms in collection::vec(term(), 1..5), labels in labels(), facts in facts(),
    ) {
        let text = terms.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(",");
        let selector = Selector::parse(&text).expect("made of terms that parse");
        let meant = terms.iter().all(|(_, meaning)| meaning.holds(&labels, &facts));
        prop_assert_eq!(selector.matches(&labels, &facts), meant, "{}", text);
        let explained = selector.explain(&labels, &facts);
        prop_assert_eq!(explained.iter().all(|clause| clause.holds), meant);
    }

    #[test]
    fn the_written_form_of_a_selector_is_that_selector(terms in collection::vec(term(), 0..5)) {
        let text = terms.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(" , ");
        let selector = Written::parse_or_all(&text).expect("made of terms that parse");
        let written = selector.to_string();
        prop_assert_eq!(&Written::parse(&written).expect("its own words"), &selector);
        let backwards: Vec<_> = terms.iter().rev().map(|(text, _)| text.as_str()).collect();
        prop_assert_eq!(Written::parse_or_all(&backwards.join(",")).expect("the same terms").to_string(), written);
    }

    /// Whatever a group is: a node is in it or is one of all others, and never both.
    #[test]
    fn a_group_and_its_denial_part_all_nodes(
        of_group in collection::vec(term(), 0..4), terms in collection::vec(term(), 0..3),
        labels in labels(), facts in facts(),
    ) {
        let text = |terms: &[(String, Meaning)]| terms.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>();
        let group = text(&of_group).join(",");
        let groups = Groups::of(&[named("g", if group.is_empty() { "*" } else { &group })]);
        let resolve = |more: &str| {
            let written = text(&terms).into_iter().chain([more.to_owned()]).collect::<Vec<_>>().join(",");
            Written::parse(&written).expect("made of terms that parse").resolve(&groups).expect("it is there")
        };
        let (inside, outside) = (resolve("@g"), resolve("!@g"));
        let holds = |terms: &[(String, Meaning)]| terms.iter().all(|(_, meaning)| meaning.holds(&labels, &facts));
        prop_assert_eq!(inside.matches(&labels, &facts), holds(&terms) && holds(&of_group));
        prop_assert_eq!(outside.matches(&labels, &facts), holds(&terms) && !holds(&of_group));
        for selector in [inside, outside] {
            let explained = selector.explain(&labels, &facts);
            prop_assert_eq!(explained.iter().all(|clause| clause.holds), selector.matches(&labels, &facts));
            let again = Written::parse(&selector.to_string()).expect("its own words");
            prop_assert_eq!(again.resolve(&groups), Ok(selector));
        }
    }

    /// An exclusion takes its nodes away, and no others.
    #[test]
    fn an_exclusion_takes_its_nodes_away(
        reached in assignment(), excluded in collection::vec(term(), 1..4), labels in labels(), facts in facts(),
    ) {
        let text = excluded.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(",");
        let with = Assignment { exclusions: vec![text], ..reached.assignment.clone() };
        let with = Compiled::new(with, &Groups::default()).expect("made of terms that parse");
        let is_excluded = excluded.iter().all(|(_, meaning)| meaning.holds(&labels, &facts));
        prop_assert_eq!(with.reaches(&labels, &facts), reached.reaches(&labels, &facts) && !is_excluded);
    }

    #[test]
    fn no_text_makes_the_parser_fall(text in "[a-c=!,() *.@facts\u{e9}\u{1F600}\n]{0,40}") {
        match Written::parse(&text) {
            Ok(selector) => {
                let written = selector.to_string();
                prop_assert_eq!(Written::parse(&written), Ok(selector));
            }
            Err(error) => {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{}", error);
                prop_assert!(!error.expected.is_empty() && !error.found.is_empty());
            }
        }
    }

    #[test]
    fn every_label_a_node_can_have_can_be_selected(key in "[a-c./A-]{1,8}", value in "[a-c._-]{0,5}") {
        let labels = Labels::from([(key.clone(), value.clone())]);
        let selector = Selector::parse(&format!("{key}={value}"));
        match check_labels(&labels) {
            Ok(()) => prop_assert!(selector.is_ok_and(|s| s.matches(&labels, &Known::default()))),
            Err(_) => prop_assert!(selector.is_err()),
        }
    }

    #[test]
    fn the_order_of_assignments_does_not_matter(
        assignments in collection::vec(assignment(), 0..8), labels in labels(), facts in facts(),
    ) {
        // Names are unique in a store.
        let unique: BTreeMap<_, _> = assignments.into_iter().map(|c| (c.assignment.name.clone(), c)).collect();
        let forwards: Vec<_> = unique.into_values().collect();
        let backwards: Vec<_> = forwards.iter().rev().cloned().collect();
        let won = effective::winners(&labels, &facts, &[], &forwards);
        prop_assert_eq!(&won, &effective::winners(&labels, &facts, &[], &backwards));
        for (item, reaching) in won {
            prop_assert!(reaching.iter().all(|it| it.target.item() == item));
            prop_assert!(reaching.is_sorted_by_key(|it| std::cmp::Reverse(it.by.assignment.priority)));
        }
    }

    #[test]
    fn the_index_finds_whatever_trying_all_of_them_finds(
        assignments in collection::vec(assignment(), 0..12), labels in labels(), facts in facts(),
    ) {
        let index = effective::Index::of(assignments.iter().map(|compiled| &compiled.selector));
        let mut near: Vec<usize> = index.near(&labels, &facts).collect();
        near.sort_unstable();
        let mut once = near.clone();
        once.dedup();
        prop_assert_eq!(&once, &near, "one is found twice");
        prop_assert!(near.len() <= index.most());
        let reaches = |n: &usize| assignments[*n].reaches(&labels, &facts);
        let found: Vec<usize> = near.into_iter().filter(reaches).collect();
        let tried: Vec<usize> = (0..assignments.len()).filter(reaches).collect();
        prop_assert_eq!(found, tried);
    }

    /// If no assignment was refused as a conflict when it was made, then no tie
    /// is left in what any node gets.
    #[test]
    fn without_conflicts_there_are_no_ties(
        made in collection::vec(assignment(), 0..8), fleet in collection::vec((labels(), facts()), 1..4),
    ) {
        let profiles = profiles();
        let nodes = || fleet.iter().zip(0..).map(|((labels, facts), n)| (NodeId::from_u128(n), labels, facts));
        let mut stored: Vec<Compiled> = Vec::new();
        for new in made {
            if effective::conflict(&new, &stored, nodes(), |name, version| profiles.get(&(name.to_owned(), version))).is_none() {
                stored.retain(|old| old.assignment.name != new.assignment.name);
                stored.push(new);
            }
        }
        for (labels, facts) in &fleet {
            for reaching in effective::winners(labels, facts, &[], &stored).values() {
                for pair in reaching.windows(2).filter(|p| p[0].by.assignment.priority == p[1].by.assignment.priority) {
                    prop_assert_eq!(pair[0].target, pair[1].target);
                }
            }
        }
    }

    #[test]
    fn settings_take_the_strongest_word_on_every_key(
        profiles in collection::vec(collection::btree_map(word(), value(), 0..4), 0..4),
    ) {
        let merged = effective::merge_settings(profiles.iter().enumerate());
        for key in profiles.iter().flat_map(BTreeMap::keys) {
            let first = profiles.iter().position(|profile| profile.contains_key(key)).expect("one has it");
            let decided = merged[key.as_str()];
            prop_assert_eq!((decided.by, decided.value), (first, profiles[first][key].as_str()));
        }
        let bytes = effective::settings_payload(&merged);
        let read: BTreeMap<String, String> = serde_json::from_slice(&bytes).expect("JSON");
        let values = merged.iter().map(|(key, decided)| ((*key).to_owned(), decided.value.to_owned()));
        prop_assert_eq!(read, values.collect::<BTreeMap<_, _>>());
    }
}
