//! Of which alerts nobody is told now.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, NodeId, SilenceId},
};
use muster_domain::{
    alert::{Alert, Silence, Subject},
    labels::Selector,
};

use crate::app::App;

/// A silence that holds, and the nodes that it is about. `None`: it names a group that is not there.
pub(super) type Holding<'a> = (&'a Silence, Option<Selector>);

/// The silences that hold now.
pub(super) struct Hushed<'a> {
    pub(super) app: &'a App,
    pub(super) silences: Vec<Holding<'a>>,
    /// Of alerts of many nodes: of which nodes it is so now.
    pub(super) members: BTreeMap<AlertId, Vec<NodeId>>,
}

impl App {
    /// Those of these silences that hold.
    pub(super) fn silences_now<'a>(&self, all: &'a [Silence], now: UnixMillis) -> Vec<Holding<'a>> {
        let active = all.iter().filter(|it| it.is_active(now));
        active.map(|it| (it, self.alert_selector(&it.selector))).collect()
    }
}

impl Hushed<'_> {
    /// By which silence nobody is told of an alert. One of many nodes is silenced if each of them is.
    pub(super) fn by(&self, alert: &Alert) -> Option<SilenceId> {
        let of_rule = |it: &&Holding<'_>| it.0.rule.is_empty() || it.0.rule == alert.rule;
        let of_rule: Vec<&Holding<'_>> = self.silences.iter().filter(of_rule).collect();
        let of_all = of_rule.iter().find(|(it, _)| it.selector.is_empty()).map(|(it, _)| it.id);
        match &alert.subject {
            _ if of_all.is_some() || of_rule.is_empty() => of_all,
            Subject::Node(node) => self.of_node(*node, &of_rule),
            Subject::Group(_) => {
                let found = self.members.get(&alert.id).filter(|nodes| !nodes.is_empty());
                // Where nobody can say now, those that it names stand for all.
                let nodes = found.unwrap_or(&alert.nodes);
                let by: Option<BTreeSet<SilenceId>> =
                    nodes.iter().map(|node| self.of_node(*node, &of_rule)).collect();
                let by = by.unwrap_or_default();
                let same = alert.silence.filter(|id| by.contains(id));
                same.or_else(|| by.first().copied())
            }
            Subject::Thing(_) => None,
        }
    }

    fn of_node(&self, node: NodeId, silences: &[&Holding<'_>]) -> Option<SilenceId> {
        let matches = |selector: &Selector| {
            self.app.fleet.with(node, |it| selector.matches(&it.node.labels, &it.node.facts)).unwrap_or(false)
        };
        silences.iter().find(|(_, selector)| selector.as_ref().is_some_and(matches)).map(|(it, _)| it.id)
    }
}
