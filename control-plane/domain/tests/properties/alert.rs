//! Alerts: whatever nodes do, each that is gone is told of once, and who is back is not.

use std::{collections::BTreeSet, time::Duration};

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, NodeId},
};
use muster_domain::{
    alert::{Alert, Damping, Found, Memory, Rule, Signs, Subject, built_in, evaluate},
    labels::Labels,
};
use proptest::prelude::*;

const NODES: u128 = 24;

fn rule(nodes: u32, hold: u64) -> Rule {
    let offline = built_in().into_iter().find(|rule| rule.name == "node-offline").expect("it is built in");
    let damping = Damping { nodes, percent: 0, within: Duration::from_secs(30), by: String::new() };
    Rule { hold: Duration::from_secs(hold), damping, ..offline }
}

fn signs(gone: &BTreeSet<u128>, near: &BTreeSet<u128>, unknown: &BTreeSet<u128>) -> Signs {
    let other = |node: &u128| (NodeId::from_u128(*node), String::new());
    let found = |node: &u128| Found {
        subject: Subject::Node(NodeId::from_u128(*node)),
        labels: Labels::new(),
        group: String::new(),
        since: None,
        reason: "Silent".to_owned(),
        message: String::new(),
        mark: String::new(),
    };
    Signs {
        totals: [(String::new(), usize::try_from(NODES).expect("few"))].into(),
        found: gone.iter().map(found).collect(),
        near: near.iter().map(other).collect(),
        unknown: unknown.iter().map(other).collect(),
    }
}

fn some() -> impl Strategy<Value = BTreeSet<u128>> {
    prop::collection::btree_set(0..NODES, 0..24)
}

proptest! {
    #[test]
    fn every_node_that_is_gone_is_told_of_and_no_other(
        looks in prop::collection::vec([some(), some(), some()], 1..40),
        nodes in 0_u32..12,
        hold in 0_u64..3,
    ) {
        let (rule, mut memory, mut open, mut next) = (rule(nodes, hold), Memory::default(), Vec::<Alert>::new(), 0);
        let mut since = std::collections::BTreeMap::<u128, u64>::new();
        let mut was = BTreeSet::<u128>::new();
        for (look, [gone, near, unknown]) in looks.iter().enumerate() {
            let look = look as u64;
            let unknown: BTreeSet<u128> = unknown.difference(gone).copied().collect();
            let near: BTreeSet<u128> =
                near.iter().filter(|it| !gone.contains(it) && !unknown.contains(it)).copied().collect();
            was.retain(|node| unknown.contains(node));
            was.extend(gone);
            since.retain(|node, at| gone.contains(node) || unknown.contains(node) && look - *at >= hold);
            for node in gone {
                since.entry(*node).or_insert(look);
            }
            let now = UnixMillis(1_000_000 + look as i64 * 1_000);
            let id = || { next += 1; AlertId::from_u128(next) };
            let changes = evaluate(&rule, &signs(gone, &near, &unknown), &open, &mut memory, id, now);
            for change in changes {
                let known = open.iter().find(|alert| alert.id == change.id);
                prop_assert!(known != Some(&change), "what did not change is not written");
                open.retain(|alert| alert.id != change.id);
                if change.ended_at.is_none() { open.push(change); }
            }
            let subjects: BTreeSet<String> = open.iter().map(|alert| alert.subject.to_string()).collect();
            prop_assert_eq!(subjects.len(), open.len(), "one alert for each");
            let has_group = subjects.contains("fleet");
            for node in 0..NODES {
                let own = subjects.contains(&Subject::Node(NodeId::from_u128(node)).to_string());
                let ripe = gone.contains(&node) && since.get(&node).is_some_and(|at| look - at >= hold);
                prop_assert!(!own || was.contains(&node), "who is back has none");
                prop_assert!(!ripe || own || has_group, "who is gone is told of");
            }
            if nodes == 0 { prop_assert!(!has_group); }
            if was.is_empty() && near.is_empty() {
                prop_assert!(!has_group, "who never was in it does not hold it");
            }
            if let Some(group) = open.iter().find(|alert| matches!(alert.subject, Subject::Group(_))) {
                let own = open.len() as u64 - 1;
                prop_assert!(group.count + own <= was.len() as u64);
            }
        }
    }
}
