//! What a plan comes to, before it begins: a function of who is here at one moment.

use std::time::Duration;

use jiff::tz::TimeZone;
use muster_common::clock::UnixMillis;

use super::{Plan, Portion, is_open, opens_at};

/// What is to be expected of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forecast {
    /// Its steps.
    pub steps: Vec<StepForecast>,
    /// It takes no less than this: soaks, and the time until windows open. How long hosts
    /// and people take is not in it.
    pub at_least: Duration,
}

/// What is to be expected of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepForecast {
    /// Nodes that come with it.
    pub nodes: usize,
    /// So many times at least, one after the other, as many as may be in flight.
    pub goes: usize,
    /// It begins no earlier than this after the rollout.
    pub begins_after: Duration,
    /// Whether a person must say yes before it begins.
    pub approval: bool,
}

/// Who is there for a plan.
pub struct Field<'a> {
    /// So many nodes take part and are heard, in the order in which they come.
    pub nodes: usize,
    /// Whether the selector of a step matches a node, both from 0.
    pub selects: &'a dyn Fn(usize, usize) -> bool,
    /// Their time zones.
    pub zones: &'a [TimeZone],
}

/// Goes through a plan as if every node took the change at once.
#[must_use]
pub fn forecast(plan: &Plan, field: &Field<'_>, now: UnixMillis) -> Forecast {
    let (mut reached, mut steps, mut at) = (vec![false; field.nodes], Vec::new(), now);
    for (n, step) in plan.steps.iter().enumerate() {
        let done = reached.iter().filter(|it| **it).count();
        let is_for = |node: usize| match &step.reach {
            Portion::Selector(_) => (field.selects)(n, node),
            Portion::Percent(_) | Portion::Count(_) => true,
        };
        let room = match &step.reach {
            Portion::Percent(percent) => {
                (field.nodes * usize::from(*percent)).div_ceil(100).saturating_sub(done)
            }
            Portion::Count(count) => (*count as usize).saturating_sub(done),
            Portion::Selector(_) => field.nodes,
        };
        let chosen: Vec<usize> =
            (0..field.nodes).filter(|node| !reached[*node] && is_for(*node)).take(room).collect();
        chosen.iter().for_each(|node| reached[*node] = true);
        if !chosen.is_empty() {
            at = first_opening(plan, field.zones, at);
        }
        steps.push(StepForecast {
            nodes: chosen.len(),
            goes: goes(chosen.len(), plan.max_in_flight),
            begins_after: at.since(now),
            approval: step.approval,
        });
        at = at + step.soak;
    }
    Forecast { steps, at_least: at.since(now) }
}

fn goes(nodes: usize, max_in_flight: u32) -> usize {
    match max_in_flight as usize {
        0 => usize::from(nodes > 0),
        flight => nodes.div_ceil(flight),
    }
}

/// When the first of these zones has a window open, from a moment on.
fn first_opening(plan: &Plan, zones: &[TimeZone], from: UnixMillis) -> UnixMillis {
    if zones.iter().any(|zone| is_open(&plan.windows, zone, from)) {
        return from;
    }
    zones.iter().filter_map(|zone| opens_at(&plan.windows, zone, from)).min().unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Share, Speed, Step, Window};

    const NOON: UnixMillis = UnixMillis(1_700_049_600_000); // 2023-11-15T12:00:00Z
    const MINUTE: Duration = Duration::from_secs(60);

    fn plan(reach: Vec<Portion>, max_in_flight: u32) -> Plan {
        let step = |reach| Step { reach, soak: MINUTE, approval: false };
        let steps = reach.into_iter().map(step).collect();
        Plan { steps, max_in_flight, max_failed: Share::Count(0), ..Speed::Normal.plan() }
    }

    fn told(
        plan: &Plan,
        nodes: usize,
        selects: &dyn Fn(usize, usize) -> bool,
    ) -> (Vec<(usize, usize)>, Duration) {
        let zones = [TimeZone::UTC];
        let found = forecast(plan, &Field { nodes, selects, zones: &zones }, NOON);
        (found.steps.iter().map(|step| (step.nodes, step.goes)).collect(), found.at_least)
    }

    #[test]
    fn each_step_counts_those_before_it() {
        let steps = vec![Portion::Count(1), Portion::Percent(1), Portion::Percent(10), Portion::Percent(100)];
        let expected = (vec![(1, 1), (0, 0), (1, 1), (18, 4)], MINUTE * 4);
        assert_eq!(told(&plan(steps, 5), 20, &|_, _| true), expected);
    }

    #[test]
    fn a_step_with_a_selector_takes_all_that_it_matches_and_are_left() {
        let steps = vec![Portion::Count(2), Portion::Selector("@canary".to_owned()), Portion::Percent(100)];
        let canary = |step: usize, node: usize| step == 1 && node < 5;
        let expected = (vec![(2, 1), (3, 1), (15, 1)], MINUTE * 3);
        assert_eq!(told(&plan(steps, 0), 20, &canary), expected);
    }

    #[test]
    fn windows_count_where_somebody_waits_for_them() {
        let night = Window { days: vec![], start_minute: 23 * 60, minutes: 1 };
        let steps = vec![Portion::Percent(50), Portion::Percent(100)];
        let plan = Plan { windows: vec![night], ..plan(steps, 0) };
        // Eleven hours until the first night, and a day more: the window is over after the soak.
        let (_, at_least) = told(&plan, 4, &|_, _| true);
        assert_eq!(at_least, MINUTE * 60 * 35 + MINUTE);
        assert_eq!(told(&plan, 0, &|_, _| true).1, MINUTE * 2, "nobody waits");
    }
}
