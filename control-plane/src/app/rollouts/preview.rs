//! What a rollout would do, before it begins.

use std::collections::HashSet;

use jiff::tz::TimeZone;
use muster_common::ids::NodeId;
use muster_domain::{
    access::Scope,
    labels::Selector,
    rollout::{Field, Forecast, Presence, Rollout, Standing, Step, forecast, zone},
};

use super::members;
use crate::app::{
    App, Error,
    catalog::Contents,
    preview::{Change, Preview, Time},
};

/// Of a rollout that succeeds everything from before is void.
const AT_ITS_END: u64 = u64::MAX;

impl App {
    /// What would become of the nodes of a rollout that has not begun, and by which steps.
    ///
    /// # Errors
    /// If its assignment is gone, or the store fails.
    pub async fn preview_rollout(&self, scope: &Scope, rollout: &Rollout) -> Result<Preview, Error> {
        let catalog = self.catalog.now();
        let missing = || Error::not_found("assignment", &rollout.assignment);
        let assignment = &catalog.assignment(&rollout.assignment).ok_or_else(missing)?.assignment;
        let after = assignment.given(rollout.to.clone(), AT_ITS_END);
        let change = Change { put: vec![after], ..Change::default() };
        let (items, _) = self.preview_items(scope, &change).await?;
        let Forecast { steps, at_least } = self.forecast(&catalog, rollout).await;
        Ok(Preview { items, steps, time: Time::AtLeast(at_least) })
    }

    /// Of the nodes that are heard and take part.
    async fn forecast(&self, catalog: &Contents, rollout: &Rollout) -> Forecast {
        let now = self.clock.now();
        let mut found = members::members(self, catalog, rollout, now).await;
        found.all.retain(|it| it.presence == Presence::Here && it.standing == Standing::Untouched);
        found.all.sort_unstable_by_key(|member| (member.order, member.node));
        let nodes: Vec<NodeId> = found.all.iter().map(|member| member.node).collect();
        let of_step = |step: &Step| match step.reach.selector(&catalog.groups) {
            Ok(Some(selector)) => self.those_of(&nodes, &selector),
            Ok(None) | Err(_) => HashSet::new(),
        };
        let selected: Vec<HashSet<usize>> = rollout.plan.steps.iter().map(of_step).collect();
        let zones: Vec<TimeZone> = found.zones.iter().map(|name| zone(name)).collect();
        let selects = |step: usize, node: usize| selected[step].contains(&node);
        forecast(&rollout.plan, &Field { nodes: nodes.len(), selects: &selects, zones: &zones }, now)
    }

    /// The places of those that match.
    fn those_of(&self, nodes: &[NodeId], selector: &Selector) -> HashSet<usize> {
        let matches = |id: NodeId| {
            self.fleet.with(id, |entry| selector.matches(&entry.node.labels, &entry.node.facts)) == Some(true)
        };
        (0..nodes.len()).filter(|at| matches(nodes[*at])).collect()
    }
}
