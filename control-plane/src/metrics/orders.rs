//! What operators want, and what became of it: commands, rollouts, changes.

use std::{collections::BTreeMap, time::Duration};

use muster_common::reason::Reason;
use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;

use super::{
    Metrics,
    book::{
        Book, Change, Counts, Gauges, Histograms, KindOnly, KindState, KindStateReason, Level, Outcome,
        Phase, from_zero, whole,
    },
};

/// Changes that are shown one by one, the newest first.
pub const CHANGES_SHOWN: [&str; 4] = ["newest", "second", "third", "fourth"];

/// Kinds of commands that there are; of an operation that ended first it is not known.
const KINDS: [&str; 9] = [
    "restart-agent",
    "refresh-facts",
    "run-script",
    "service",
    "reboot",
    "collect-logs",
    "rotate-identity",
    "disconnect",
    "unknown",
];
/// How most commands end: their state, and why.
const ENDS: [(&str, &str); 13] = [
    ("succeeded", ""),
    ("failed", Reason::ExitStatus.as_str()),
    ("failed", Reason::StartFailed.as_str()),
    ("failed", Reason::CommandArgsInvalid.as_str()),
    ("failed", Reason::CommandKindUnknown.as_str()),
    ("denied", Reason::LocalLock.as_str()),
    ("timed-out", Reason::FinishByPassed.as_str()),
    ("cancelled", Reason::CancelledByOperator.as_str()),
    ("interrupted", Reason::AgentStopped.as_str()),
    ("interrupted", Reason::FinishByPassed.as_str()),
    ("interrupted", Reason::NodeGone.as_str()),
    ("expired", Reason::DeliverByPassed.as_str()),
    ("expired", Reason::NodeGone.as_str()),
];

/// Of seconds that a command takes: most wait for a host, some for a person.
const COMMAND: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];
/// Of seconds until a node has answered a change: at once, or when its host is back.
const CONVERGENCE: [f64; 15] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

/// Nodes of the rollouts that are under way, by how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standings {
    /// They were not given it.
    pub untouched: usize,
    /// They have not answered.
    pub waiting: usize,
    /// They have it.
    pub done: usize,
    /// They refused it, did not answer in time, or fell silent.
    pub failed: usize,
    /// They do not take part.
    pub excused: usize,
}

#[derive(Debug)]
pub(super) struct Numbers {
    commands: Gauges<KindState>,
    /// What was shown last: what is not there any more counts zero.
    shown: Mutex<BTreeMap<(String, &'static str), usize>>,
    commands_ended: Counts<KindStateReason>,
    command_seconds: Histograms<KindOnly>,
    rollouts: Gauges<Phase>,
    rollouts_ended: Counts<Phase>,
    rollout_nodes: Gauges<Outcome>,
    convergence: Histograms<Outcome>,
    slowest: prometheus_client::metrics::family::Family<Change, Level>,
    answered: Gauges<Change>,
}

impl Numbers {
    pub(super) fn new(book: &mut Book<'_>) -> Self {
        let ends = ["succeeded", "aborted", "rolled-back"];
        let command_ends = KINDS.into_iter().flat_map(|kind| {
            ENDS.map(|(state, reason)| KindStateReason { kind: kind.to_owned(), state, reason })
        });
        let commands = Histograms::new_with_constructor(|| Histogram::new(COMMAND));
        let convergence = Histograms::new_with_constructor(|| Histogram::new(CONVERGENCE));
        Self {
            commands: book.add("commands", "Commands that have not ended", Gauges::default()),
            shown: Mutex::default(),
            commands_ended: book.add(
                "commands_ended",
                "Commands that ended",
                from_zero(Counts::default(), command_ends),
            ),
            command_seconds: book.add(
                "command_seconds",
                "How long commands took, from when they were made to their end",
                commands,
            ),
            rollouts: book.add("rollouts", "Rollouts that are not over", Gauges::default()),
            rollouts_ended: book.add(
                "rollouts_ended",
                "Rollouts that ended",
                from_zero(Counts::default(), ends.map(|phase| Phase { phase })),
            ),
            rollout_nodes: book.add(
                "rollout_nodes",
                "Nodes of rollouts that are not over, by how they stand",
                Gauges::default(),
            ),
            convergence: book.add(
                "convergence_seconds",
                "How long nodes took to answer a change of what they should have",
                convergence,
            ),
            slowest: book.add(
                "convergence_slowest_seconds",
                "How long the slowest node took of those that have answered one change",
                Default::default(),
            ),
            answered: book.add("convergence_nodes", "Nodes that have answered one change", Gauges::default()),
        }
    }
}

impl Metrics {
    /// How many commands are in which state, by kind.
    pub fn commands_open(&self, counts: BTreeMap<(String, &'static str), usize>) {
        let numbers = &self.0.orders;
        let set = |(kind, state): &(String, &'static str), count: usize| {
            numbers.commands.get_or_create(&KindState { kind: kind.clone(), state }).set(whole(count));
        };
        let mut shown = numbers.shown.lock();
        for gone in shown.keys().filter(|key| !counts.contains_key(*key)) {
            set(gone, 0);
        }
        counts.iter().for_each(|(key, count)| set(key, *count));
        // Zero is shown for ever: a series that ends looks like a process that is gone.
        shown.extend(counts);
    }

    /// A command ended, so long after it was made; `reason` is empty where nothing went wrong.
    pub fn command_ended(&self, kind: &str, state: &'static str, reason: &'static str, took: Duration) {
        let ended = KindStateReason { kind: kind.to_owned(), state, reason };
        self.0.orders.commands_ended.get_or_create(&ended).inc();
        let kind = KindOnly { kind: kind.to_owned() };
        self.0.orders.command_seconds.get_or_create(&kind).observe(took.as_secs_f64());
    }

    /// How many rollouts are in a phase.
    pub fn rollouts_open(&self, phase: &'static str, count: usize) {
        self.0.orders.rollouts.get_or_create(&Phase { phase }).set(whole(count));
    }

    /// A rollout came to an end.
    pub fn rollout_ended(&self, phase: &'static str) {
        self.0.orders.rollouts_ended.get_or_create(&Phase { phase }).inc();
    }

    /// How the nodes of all rollouts stand that are not over.
    pub fn rollout_nodes(&self, nodes: Standings) {
        let all = [
            ("untouched", nodes.untouched),
            ("waiting", nodes.waiting),
            ("done", nodes.done),
            ("failed", nodes.failed),
            ("excused", nodes.excused),
        ];
        for (outcome, count) in all {
            self.0.orders.rollout_nodes.get_or_create(&Outcome { outcome }).set(whole(count));
        }
    }

    /// A node answered a change so long after it was taken in here.
    pub fn converged(&self, outcome: &'static str, took: Duration) {
        self.0.orders.convergence.get_or_create(&Outcome { outcome }).observe(took.as_secs_f64());
    }

    /// Of one of the newest changes: its slowest node, and how many have answered.
    pub fn change(&self, change: &'static str, slowest: Duration, nodes: u64) {
        self.0.orders.slowest.get_or_create(&Change { change }).set(slowest.as_secs_f64());
        let nodes = i64::try_from(nodes).unwrap_or(i64::MAX);
        self.0.orders.answered.get_or_create(&Change { change }).set(nodes);
    }
}
