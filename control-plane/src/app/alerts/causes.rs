//! What nodes have in common that have one alert: one walk over the fleet for all such alerts that are
//! others than before, each held against the other nodes of its own group.

use std::collections::{BTreeMap, HashSet};

use muster_common::ids::NodeId;
use muster_domain::{
    alert::{Alert, Found, Signs, Subject, group_of, of_group},
    labels::Labels,
    mass_loss::{Candidates, Seen},
    node::Node,
};

use super::world::Watched;
use crate::app::App;

/// Groups of one rule whose alerts are others than before.
struct Asked<'a> {
    watched: &'a Watched<'a>,
    crowds: BTreeMap<&'a str, Crowd>,
}

/// The nodes of one alert.
struct Crowd {
    /// Where it is among the changes.
    at: usize,
    members: HashSet<NodeId>,
    /// Of them those that are about to have it: at the first look they are most of them.
    near: usize,
    reasons: BTreeMap<String, usize>,
    common: Candidates,
}

impl App {
    /// Says of each alert of many nodes what these have in common; `found`: what was found by each rule.
    /// Where nobody can say of any of its nodes, it is what it was.
    pub(super) async fn find_causes(&self, changes: &mut [Alert], found: &[(Watched<'_>, Signs)]) {
        let mut all: Vec<Asked<'_>> = Vec::new();
        for (watched, signs) in found {
            let mut groups = BTreeMap::new();
            for (at, alert) in changes.iter().enumerate().filter(|(_, it)| it.rule == watched.rule.name) {
                // The name as the signs have it: it outlives the change.
                if let (Subject::Group(group), None) = (&alert.subject, alert.ended_at) {
                    let known = signs.totals.get_key_value(group);
                    groups.extend(known.map(|(group, _)| (group.as_str(), at)));
                }
            }
            if !groups.is_empty() {
                all.push(Asked { watched, crowds: self.crowds(signs, groups) });
            }
        }
        if all.is_empty() {
            return;
        }
        self.fleet.visit(|entry| all.iter_mut().for_each(|asked| asked.hold_against(&entry.node))).await;
        for asked in all {
            for (group, crowd) in asked.crowds.into_iter().filter(|(_, crowd)| !crowd.members.is_empty()) {
                let affected = (crowd.members.len(), crowd.near);
                let cause = of_group(asked.watched.rule.kind, group, affected, crowd.common, &crowd.reasons);
                if let Some(alert) = changes.get_mut(crowd.at) {
                    alert.message.clone_from(&cause.message);
                    alert.cause = Some(cause);
                }
            }
        }
    }

    /// Who is of these groups; each with the place of its alert.
    fn crowds<'a>(&self, signs: &Signs, groups: BTreeMap<&'a str, usize>) -> BTreeMap<&'a str, Crowd> {
        let mut found: BTreeMap<&str, Vec<&Found>> = BTreeMap::new();
        for it in signs.found.iter().filter(|it| groups.contains_key(it.group.as_str())) {
            found.entry(&it.group).or_default().push(it);
        }
        let mut near: BTreeMap<&str, Vec<(NodeId, Labels)>> = BTreeMap::new();
        for (node, group) in signs.near.iter().filter(|(_, group)| groups.contains_key(group.as_str())) {
            let labels = self.fleet.with(*node, |entry| entry.node.labels.clone());
            near.entry(group).or_default().extend(labels.map(|labels| (*node, labels)));
        }
        let crowd = |(group, at): (&'a str, usize)| {
            let found = found.get(group).map(Vec::as_slice).unwrap_or_default();
            (group, Crowd::new(at, found, near.get(group).map(Vec::as_slice).unwrap_or_default()))
        };
        groups.into_iter().map(crowd).collect()
    }
}

impl Asked<'_> {
    /// A node that is of one of the groups, and has not its alert, tells what is no cause.
    fn hold_against(&mut self, node: &Node) {
        let rule = self.watched.rule;
        let Some(crowd) = self.crowds.get_mut(group_of(&node.labels, &rule.damping.by)) else { return };
        if !crowd.members.contains(&node.id) && self.watched.selector.matches(&node.labels, &node.facts) {
            crowd.common.there(seen(&node.labels));
        }
    }
}

impl Crowd {
    fn new(at: usize, found: &[&Found], near: &[(NodeId, Labels)]) -> Self {
        let mut reasons = BTreeMap::<String, usize>::new();
        for found in found {
            *reasons.entry(found.reason.clone()).or_default() += 1;
        }
        let of_found = found.iter().filter_map(|found| match found.subject {
            Subject::Node(node) => Some(node),
            Subject::Group(_) | Subject::Thing(_) => None,
        });
        let members = of_found.chain(near.iter().map(|(node, _)| *node)).collect();
        let labels = found.iter().map(|found| &found.labels).chain(near.iter().map(|(_, labels)| labels));
        Self { at, members, near: near.len(), reasons, common: Candidates::of(labels.map(seen)) }
    }
}

/// By its labels alone: they are what people know nodes by.
const fn seen(labels: &Labels) -> Seen<'_> {
    Seen { labels, from: None, replica: None }
}
