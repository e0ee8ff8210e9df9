//! Numbers that no deed brings: depths, ages and counts, looked at once in a second.

use std::{collections::BTreeMap, time::Duration};

use muster_common::ids::OperationId;
use muster_domain::{
    command::{self, Command},
    rollout::Phase,
};

use super::{App, fleet::Entry};

/// What an operation is told as that ended before it was asked for.
const UNKNOWN: &str = "unknown";
/// Phases of rollouts that are not over.
const OPEN: [Phase; 3] = [Phase::Running, Phase::Paused, Phase::RollingBack];

/// Orders that have not ended, by operation and state.
pub type OpenOrders = BTreeMap<(OperationId, command::State), usize>;

impl App {
    /// Takes all of them.
    pub fn take_numbers(&self) {
        let metrics = &self.metrics;
        metrics.store_behind(self.store.behind());
        for (lane, count) in self.store.waiting() {
            metrics.writes_waiting(lane.word(), count);
        }
        for (queue, depth) in self.recorder.waiting() {
            metrics.queued(queue, depth);
        }
        metrics.queued("dispatch", self.dispatch.waiting_nodes());
        metrics.queued("denials", self.denials.waiting());
        let (stored, applied) = (*self.store.committed().borrow(), *self.feed.applied().borrow());
        metrics.feed_behind(stored.saturating_sub(applied), self.behind_for());
        self.show_replicas(applied);
        self.show_rollouts();
        self.show_changes();
    }

    /// Shows what a sweep has counted of orders.
    pub fn show_orders(&self, orders: &OpenOrders) {
        let mut counts = BTreeMap::new();
        for ((operation, state), count) in orders {
            *counts.entry((self.kind_of(*operation), state.as_str())).or_default() += count;
        }
        self.metrics.commands_open(counts);
    }

    /// Counts an order that ends, once: as long as memory has it open.
    pub(super) fn count_end(&self, entry: &Entry, command: &Command) {
        let is_open = entry.tickets.iter().any(|ticket| ticket.command == command.id);
        if !command.state.is_end() || !is_open {
            return;
        }
        let took = command.ended_at.map_or(Duration::ZERO, |ended| ended.since(command.created_at));
        let reason = command.reason.map_or("", muster_common::reason::Reason::as_str);
        self.metrics.command_ended(&self.kind_of(command.operation), command.state.as_str(), reason, took);
    }

    fn kind_of(&self, operation: OperationId) -> String {
        self.operation_open(operation).map_or_else(|| UNKNOWN.to_owned(), |it| it.kind.clone())
    }

    fn show_replicas(&self, applied: u64) {
        if !self.replicas.is_shared() {
            return self.metrics.replicas(1, true, Duration::ZERO, 0);
        }
        let all = self.replicas.all();
        let slowest = all.iter().map(|replica| replica.revision).min().unwrap_or(applied);
        let age = self.replicas.beat_age(self.clock.monotonic()).unwrap_or_default();
        self.metrics.replicas(all.len(), self.leads(), age, applied.saturating_sub(slowest));
    }

    fn show_rollouts(&self) {
        let open = self.rollouts.now();
        for phase in OPEN {
            let count = open.rollouts.iter().filter(|rollout| rollout.phase == phase).count();
            self.metrics.rollouts_open(phase.as_str(), count);
        }
        // Whoever leads sees how they stand; the others say nothing of it.
        let is_open = |id| self.leads() && open.rollouts.iter().any(|rollout| rollout.id == id);
        self.metrics.rollout_nodes(self.rollouts.standings(is_open));
    }
}
