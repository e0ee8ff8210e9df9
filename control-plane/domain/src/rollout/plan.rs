//! How a rollout goes about it.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::window::Window;
use crate::{
    labels::{Groups, Selector, Unusable, Written, is_key},
    violation::Violation,
};

/// Most steps of a plan.
const MAX_STEPS: usize = 20;
/// Most windows of a plan.
const MAX_WINDOWS: usize = 20;
/// Longest soak, and longest patience with a node: a month.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// How a rollout goes about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// One after the other; the last one reaches all.
    pub steps: Vec<Step>,
    /// Nodes that may have been given it without an answer yet, at once. 0: any number.
    pub max_in_flight: u32,
    /// Failed nodes that are borne; one more stops it.
    pub max_failed: Share,
    /// Of the touched nodes that have neither failed nor are excused, the share in percent
    /// that must have it before a step is done.
    pub success_percent: u8,
    /// What becomes of it when too many have failed.
    pub on_failure: OnFailure,
    /// Nodes that may be disturbed at once among those with the same value of a label.
    pub budget: Option<Budget>,
    /// When nodes may be touched, by the clock of the host. None: at any time.
    pub windows: Vec<Window>,
    /// A node that is here and has not answered for so long has failed.
    pub patience: Duration,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Who has been reached when it is done, with those of the steps before.
    pub reach: Portion,
    /// Time that passes after the last node of the step has it, before the next one begins.
    pub soak: Duration,
    /// Whether a person must say yes before it begins.
    pub approval: bool,
}

/// Which part of the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Portion {
    /// Of those that are here, in percent, rounded up.
    Percent(u8),
    /// So many.
    Count(u32),
    /// Those that this selector matches, and whoever was touched before.
    Selector(String),
}

/// So many of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// A number.
    Count(u32),
    /// A part in percent, rounded down.
    Percent(u8),
}

/// How many nodes of a group may be disturbed at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Nodes with the same value of this label are one group; those without it, too.
    pub label: String,
    /// At least one of each group may always be.
    pub max: Share,
}

/// What becomes of a rollout of which too many nodes have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// All that were touched return.
    RollBack,
    /// It waits for a person.
    Pause,
}

/// A ready plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// One node, 1 %, 10 %, 50 %, all, a quarter of an hour apart; the first failure stops it.
    Careful,
    /// 5 %, 25 %, all, two minutes apart; 2 % may fail.
    Normal,
    /// All at once, a thousand in flight; 20 % may fail.
    Emergency,
}

impl Share {
    /// So many of this many.
    #[must_use]
    pub const fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => total * percent as usize / 100,
        }
    }
}

impl Plan {
    /// The groups that its steps name.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<String> {
        let written = self.steps.iter().filter_map(|step| match &step.reach {
            Portion::Selector(text) => Written::parse(text).ok(),
            Portion::Percent(_) | Portion::Count(_) => None,
        });
        written.flat_map(|it| it.groups().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl Portion {
    /// Its selector with these groups; `None`: it has none.
    ///
    /// # Errors
    /// If that cannot be used. Whoever looks must take it as one that matches nobody.
    pub fn selector(&self, groups: &Groups) -> Result<Option<Selector>, Unusable> {
        match self {
            Self::Selector(text) => Ok(Some(Written::parse(text)?.resolve(groups)?)),
            Self::Percent(_) | Self::Count(_) => Ok(None),
        }
    }
}

impl Speed {
    /// The plan.
    #[must_use]
    pub fn plan(self) -> Plan {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let step = |reach, soak| Step { reach, soak, approval: false };
        let (steps, max_in_flight, max_failed) = match self {
            Self::Careful => {
                let parts =
                    [Portion::Count(1), Portion::Percent(1), Portion::Percent(10), Portion::Percent(50)];
                let steps = parts.into_iter().chain([Portion::Percent(100)]);
                (steps.map(|reach| step(reach, minutes(15))).collect(), 100, Share::Count(0))
            }
            Self::Normal => {
                let parts = [5, 25, 100].map(|percent| step(Portion::Percent(percent), minutes(2)));
                (parts.to_vec(), 500, Share::Percent(2))
            }
            Self::Emergency => (vec![step(Portion::Percent(100), Duration::ZERO)], 1000, Share::Percent(20)),
        };
        Plan {
            steps,
            max_in_flight,
            max_failed,
            success_percent: 100,
            on_failure: OnFailure::RollBack,
            budget: None,
            windows: Vec::new(),
            patience: minutes(15),
        }
    }
}

/// Finds the steps that name a group that is not there.
#[must_use]
pub fn check_groups(plan: &Plan, groups: &Groups) -> Vec<Violation> {
    let fault = |(n, step): (usize, &Step)| match step.reach.selector(groups) {
        Err(error @ Unusable::Group(_)) => {
            Some(Violation::selector(format!("plan.steps[{n}].selector"), error.to_string()))
        }
        _ => None,
    };
    plan.steps.iter().enumerate().filter_map(fault).collect()
}

/// Finds everything that is wrong with a plan. Fields are named from the plan on.
///
/// # Errors
/// All faults, at least one.
pub fn check_plan(plan: &Plan) -> Result<(), Vec<Violation>> {
    let mut faults = Vec::new();
    let mut wrong = |field: String, text: &str| faults.push(Violation::invalid(field, text));
    if plan.steps.is_empty() || plan.steps.len() > MAX_STEPS {
        wrong("plan.steps".to_owned(), "a plan has 1 to 20 steps");
    }
    for (n, step) in plan.steps.iter().enumerate() {
        match &step.reach {
            Portion::Percent(1..=100) | Portion::Count(1..) => {}
            Portion::Percent(_) => wrong(format!("plan.steps[{n}].percent"), "1 to 100"),
            Portion::Count(_) => wrong(format!("plan.steps[{n}].count"), "at least 1"),
            Portion::Selector(text) => {
                if let Err(error) = Written::parse(text) {
                    wrong(format!("plan.steps[{n}].selector"), &error.to_string());
                }
            }
        }
        if step.soak > LONGEST {
            wrong(format!("plan.steps[{n}].soak"), "at most 31 days");
        }
    }
    if plan.steps.last().is_some_and(|last| last.reach != Portion::Percent(100)) {
        wrong("plan.steps".to_owned(), "the last step reaches all: percent 100");
    }
    let rises = |pair: &[Step]| match (&pair[0].reach, &pair[1].reach) {
        (Portion::Percent(a), Portion::Percent(b)) => a < b,
        (Portion::Count(a), Portion::Count(b)) => a < b,
        _ => true,
    };
    if !plan.steps.windows(2).all(rises) {
        wrong("plan.steps".to_owned(), "each step reaches more than the one before");
    }
    if !(1..=100).contains(&plan.success_percent) {
        wrong("plan.success_percent".to_owned(), "1 to 100");
    }
    if matches!(plan.max_failed, Share::Percent(101..)) {
        wrong("plan.max_failed.percent".to_owned(), "at most 100");
    }
    if let Some(budget) = &plan.budget {
        if !is_key(&budget.label) {
            wrong("plan.budget.label".to_owned(), "not the key of a label");
        }
        if matches!(budget.max, Share::Percent(101..)) {
            wrong("plan.budget.max.percent".to_owned(), "at most 100");
        }
    }
    if plan.windows.len() > MAX_WINDOWS {
        wrong("plan.windows".to_owned(), "at most 20 windows");
    }
    for (n, window) in plan.windows.iter().enumerate() {
        if let Err(error) = window.check() {
            wrong(format!("plan.windows[{n}]"), &error.to_string());
        }
    }
    if plan.patience.is_zero() || plan.patience > LONGEST {
        wrong("plan.patience".to_owned(), "more than nothing, at most 31 days");
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}
