use muster_common::{clock::UnixMillis, digest::Sha256};

use super::*;
use crate::item::{Cause, ItemError, Outcome};

fn assignment(name: &str, selector: &str, target: Target, priority: i32) -> Compiled {
    excluding(name, selector, &[], target, priority)
}

fn excluding(name: &str, selector: &str, exclusions: &[&str], target: Target, priority: i32) -> Compiled {
    let at = UnixMillis(0);
    let assignment = Assignment {
        staged: crate::assignment::Staged::default(),
        name: name.into(),
        selector: selector.into(),
        exclusions: exclusions.iter().map(|text| (*text).to_owned()).collect(),
        scope: "*".into(),
        target,
        priority,
        created_at: at,
        updated_at: at,
        updated_by: "operator/alice".into(),
        revision: 1,
    };
    Compiled::new(assignment, &groups()).unwrap()
}

fn groups() -> Groups {
    let group = |name: &str, selector: &str| crate::group::Group {
        name: name.into(),
        selector: selector.into(),
        description: String::new(),
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
        updated_by: String::new(),
        revision: 1,
    };
    Groups::of(&[group("low", "canary"), group("tests", "env=test")])
}

fn bundle(name: &str, version: u64) -> Target {
    Target::Bundle { name: name.into(), version }
}

fn settings(profile: &str, version: u64) -> Target {
    Target::Settings { profile: profile.into(), version }
}

fn map<T: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> T {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn version(generation: u64, content: &str) -> ItemVersion {
    ItemVersion {
        generation: Generation::new(1, generation),
        version: "1".into(),
        sha256: Sha256::of(content.as_bytes()),
    }
}

fn reported(
    running: Option<ItemVersion>,
    attempted: Option<ItemVersion>,
    outcome: Option<Outcome>,
) -> ItemState {
    let item = ItemName::Bundle("web".into());
    ItemState {
        item,
        running,
        attempted,
        outcome,
        error: None,
        changed_at: UnixMillis(0),
        drift: Vec::new(),
        progress: None,
        health: None,
    }
}

#[test]
fn the_strongest_comes_first_and_only_matching_ones_come() {
    let all = [
        assignment("low", "*", bundle("web", 1), 0),
        assignment("high", "env=prod", bundle("web", 2), 10),
        assignment("tie", "env=prod", bundle("web", 3), 10),
        assignment("elsewhere", "env=test", bundle("web", 4), 99),
        assignment("options", "*", settings("base", 1), 0),
    ];
    let won = winners(&map(&[("env", "prod")]), &Known::default(), &[], &all);
    let names = |item: &ItemName| {
        won[item].iter().map(|giving| giving.by.assignment.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(names(&ItemName::Bundle("web".into())), ["high", "tie", "low"]);
    assert_eq!(names(&ItemName::Settings), ["options"]);
    assert_eq!(won.len(), 2);
    assert!(winners(&Labels::new(), &Known::default(), &[], &[]).is_empty());
}

#[test]
fn settings_merge_key_by_key_and_have_one_form_in_bytes() {
    let (strong, weak) = (map(&[("b", "1")]), map(&[("b", "2"), ("a", "x \"ü\"")]));
    let merged = merge_settings([("strong", &strong), ("weak", &weak)]);
    let decided = |value, by| Decided { value, by };
    let expected = [("a", decided("x \"ü\"", "weak")), ("b", decided("1", "strong"))];
    assert_eq!(merged, BTreeMap::from(expected));
    assert_eq!(settings_payload(&merged), r#"{"a":"x \"ü\"","b":"1"}"#.as_bytes());
    assert_eq!(settings_payload::<()>(&BTreeMap::new()), b"{}");
}

#[test]
fn a_generation_is_as_new_as_the_newest_thing_that_made_it() {
    let touch = |item, revision| Touch {
        assignment: "a".to_owned(),
        rollout: muster_common::ids::RolloutId::from_u128(1),
        item,
        gives: None,
        before: None,
        at: muster_common::clock::UnixMillis(0),
        revision,
    };
    let touches = [touch(ItemName::Settings, 9), touch(ItemName::Bundle("web".into()), 8)];
    let (settings, web) = (ItemName::Settings, ItemName::Bundle("web".into()));
    assert_eq!(generation(3, &settings, 7, 5, &[]), Generation::new(3, 7));
    assert_eq!(generation(3, &settings, 5, 7, &[]), Generation::new(3, 7));
    assert_eq!(generation(3, &web, 5, 7, &touches), Generation::new(3, 8));
    assert_eq!(generation(3, &web, 10, 7, &touches), Generation::new(3, 10));
}

#[test]
fn what_a_node_runs_is_not_offered_again() {
    let desired = version(5, "new");
    assert!(should_offer(&desired, None));
    assert!(should_offer(&desired, Some(&reported(None, None, None))));
    assert!(should_offer(&desired, Some(&reported(Some(version(4, "old")), None, None))));
    assert!(!should_offer(&desired, Some(&reported(Some(version(4, "new")), None, None))));
}

#[test]
fn what_a_node_refused_is_offered_again_only_when_it_changes() {
    for outcome in [Outcome::Rejected, Outcome::RolledBack, Outcome::Broken] {
        let state = reported(Some(version(1, "old")), Some(version(5, "bad")), Some(outcome));
        assert!(!should_offer(&version(5, "bad"), Some(&state)), "{outcome:?}");
        assert!(!should_offer(&version(4, "bad"), Some(&state)), "{outcome:?}");
        assert!(should_offer(&version(6, "bad"), Some(&state)), "{outcome:?}: a new generation is a new try");
        assert!(should_offer(&version(6, "good"), Some(&state)), "{outcome:?}");
        assert!(!should_offer(&version(6, "old"), Some(&state)), "{outcome:?}: it runs already");
    }
    let removed = reported(None, Some(version(5, "x")), Some(Outcome::Removed));
    assert!(should_offer(&version(5, "x"), Some(&removed)));
}

fn failed(outcome: Outcome, cause: Cause, running: Option<ItemVersion>, attempted: ItemVersion) -> ItemState {
    let error = ItemError { reason: None, cause: Some(cause), message: String::new(), output: String::new() };
    ItemState { error: Some(error), ..reported(running, Some(attempted), Some(outcome)) }
}

#[test]
fn what_failed_for_the_hosts_sake_is_offered_again_and_what_broke_is_not() {
    let (new, old) = (version(5, "new"), version(1, "old"));
    let of = |outcome, cause| failed(outcome, cause, Some(old.clone()), new.clone());
    for cause in [Cause::Host, Cause::Network, Cause::ControlPlane] {
        assert!(should_offer(&new, Some(&of(Outcome::Rejected, cause))), "{cause:?}");
    }
    assert!(!should_offer(&new, Some(&of(Outcome::RolledBack, Cause::Content))));
    assert!(!should_offer(&new, Some(&of(Outcome::Broken, Cause::Host))), "a person is needed");
    let extension = |cause| ItemState {
        item: ItemName::Extension("app".to_owned()),
        running: None,
        ..of(Outcome::Broken, cause)
    };
    assert!(should_offer(&new, Some(&extension(Cause::Host))), "it begins anew");
    assert!(!should_offer(&new, Some(&extension(Cause::Content))));
}

#[test]
fn a_host_that_tries_what_is_no_longer_wanted_is_told_so() {
    let (new, old) = (version(5, "new"), version(1, "old"));
    let back = ItemVersion { generation: Generation::new(1, 6), ..old.clone() };
    let trying = failed(Outcome::Rejected, Cause::Host, Some(old.clone()), new.clone());
    assert!(should_offer(&back, Some(&trying)), "or it would still come to what it tries");
    let refused = failed(Outcome::Rejected, Cause::Content, Some(old), new.clone());
    assert!(!should_offer(&back, Some(&refused)));
    let trying = failed(Outcome::Rejected, Cause::Host, None, new);
    assert!(should_remove(&trying, Generation::new(1, 6)));
}

#[test]
fn only_what_is_there_is_removed() {
    let at = Generation::new(1, 7);
    assert!(should_remove(&reported(Some(version(1, "x")), None, None), at));
    assert!(!should_remove(&reported(None, Some(version(1, "x")), Some(Outcome::Removed)), at));
}

#[test]
fn a_removal_that_a_host_refused_is_asked_for_again_only_when_it_changes() {
    let attempted = ItemVersion { sha256: Sha256::ZERO, ..version(7, "") };
    let of = |cause| failed(Outcome::RolledBack, cause, Some(version(1, "x")), attempted.clone());
    let refused = of(Cause::Content);
    assert!(!should_remove(&refused, Generation::new(1, 7)));
    assert!(!should_remove(&refused, Generation::new(1, 6)));
    assert!(should_remove(&refused, Generation::new(1, 8)));
    assert!(should_remove(&of(Cause::Host), Generation::new(1, 7)));
}

/// Nodes 0 to 9; even ones are `env=prod`, those below 4 `canary`.
fn fleet() -> Vec<(NodeId, Labels)> {
    let labels = |n: u128| {
        let mut labels: Labels = map(&[("env", if n.is_multiple_of(2) { "prod" } else { "test" })]);
        if n < 4 {
            labels.insert("canary".into(), String::new());
        }
        labels
    };
    (0..10).map(|n| (NodeId::from_u128(n), labels(n))).collect()
}

fn find(new: &Compiled, others: &[Compiled]) -> Option<Conflict> {
    let (fleet, facts) = (fleet(), Known::default());
    let profiles = BTreeMap::from([
        (("a".to_owned(), 1), map(&[("x", "1"), ("y", "1")])),
        (("a".to_owned(), 2), map(&[("x", "2"), ("y", "1")])),
        (("b".to_owned(), 1), map(&[("x", "2"), ("y", "1"), ("z", "3")])),
    ]);
    let nodes = fleet.iter().map(|(id, labels)| (*id, labels, &facts));
    conflict(new, others, nodes, |name, version| profiles.get(&(name.to_owned(), version)))
}

#[test]
fn two_versions_for_one_node_with_one_priority_conflict() {
    let new = assignment("new", "env=prod", bundle("web", 2), 5);
    let found = find(&new, &[assignment("old", "*", bundle("web", 1), 5)]).unwrap();
    assert_eq!((found.other.as_str(), found.total), ("old", 5));
    assert_eq!(found.nodes, [0, 2, 4, 6, 8].map(NodeId::from_u128));
    assert_eq!(
        find(&new, &[assignment("old", "canary", bundle("web", 1), 5)]).map(|c| (c.nodes, c.total)),
        Some((vec![NodeId::from_u128(0), NodeId::from_u128(2)], 2))
    );
}

#[test]
fn what_is_excluded_is_not_reached_and_meets_nothing() {
    let old = assignment("old", "*", bundle("web", 1), 5);
    let new = excluding("new", "*", &["env=prod,canary", "@tests"], bundle("web", 2), 5);
    assert_eq!(find(&new, &[old]).map(|it| it.nodes), Some([4, 6, 8].map(NodeId::from_u128).to_vec()));
    let (facts, canary) = (Known::default(), map(&[("env", "prod"), ("canary", "")]));
    assert_eq!(new.excluded_by(&canary, &facts).map(ToString::to_string).as_deref(), Some("canary,env=prod"));
    let test = map(&[("env", "test")]);
    assert_eq!(new.excluded_by(&test, &facts).map(ToString::to_string).as_deref(), Some("@tests"));
    assert!(!new.reaches(&canary, &facts) && new.reaches(&map(&[("env", "prod")]), &facts));
}

#[test]
fn an_assignment_follows_the_groups_that_it_names() {
    let new = assignment("new", "!@low,!@tests", bundle("web", 2), 5);
    let old = assignment("old", "*", bundle("web", 1), 5);
    assert_eq!(find(&new, &[old]).map(|it| it.nodes), Some([4, 6, 8].map(NodeId::from_u128).to_vec()));
    let (of_new, both) = (new.assignment.groups(), ["low".to_owned(), "tests".to_owned()]);
    assert_eq!(of_new, both.into());
    let unknown = Assignment { exclusions: vec!["@nobody".into()], ..new.assignment };
    let refused = Compiled::new(unknown, &groups()).unwrap_err();
    assert_eq!(refused.to_string(), "there is no group \"nobody\"");
}

#[test]
fn many_nodes_at_odds_are_counted_and_few_are_named() {
    let new = assignment("new", "*", bundle("web", 2), 5);
    let found = find(&new, &[assignment("old", "*", bundle("web", 1), 5)]).unwrap();
    assert_eq!((found.nodes.len(), found.total), (5, 10));
    assert!(
        found.to_string().starts_with("assignment \"old\" gives bundle/web with the same priority to 10")
    );
}

#[test]
fn what_cannot_meet_does_not_conflict() {
    let new = assignment("new", "env=prod", bundle("web", 2), 5);
    for (why, other) in [
        ("its old self", assignment("new", "*", bundle("web", 1), 5)),
        ("another priority", assignment("o", "*", bundle("web", 1), 6)),
        ("the same version", assignment("o", "*", bundle("web", 2), 5)),
        ("another bundle", assignment("o", "*", bundle("db", 1), 5)),
        ("another kind", assignment("o", "*", settings("a", 1), 5)),
        ("other nodes", assignment("o", "env=test", bundle("web", 1), 5)),
    ] {
        assert_eq!(find(&new, &[other]), None, "{why}");
    }
}

#[test]
fn settings_conflict_by_key_and_value() {
    let new = assignment("new", "*", settings("a", 1), 0);
    let other = |profile, version| [assignment("o", "*", settings(profile, version), 0)];
    for (profile, version) in [("b", 1), ("a", 2)] {
        let found = find(&new, &other(profile, version)).unwrap();
        assert_eq!((found.item, found.keys), (ItemName::Settings, vec!["x".to_owned()]));
    }
    for (profile, version) in [("a", 1), ("unknown", 1), ("b", 2)] {
        assert_eq!(find(&new, &other(profile, version)), None, "{profile} {version}");
    }
    let second = assignment("new", "*", settings("a", 2), 0);
    assert_eq!(find(&second, &other("b", 1)), None, "this version says the same");
}

#[test]
fn of_several_conflicts_the_first_by_name_is_told() {
    let new = assignment("new", "*", bundle("web", 2), 5);
    let others = [
        assignment("z", "*", bundle("web", 1), 5),
        assignment("m", "env=none", bundle("web", 1), 5),
        assignment("n", "canary", bundle("web", 3), 5),
    ];
    assert_eq!(find(&new, &others).map(|c| c.other).as_deref(), Some("n"));
}
