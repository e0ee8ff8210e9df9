//! Who waits to get an order: by operation, in the order in which they get it.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::{
    clock::UnixMillis,
    ids::{CommandId, NodeId, OperationId},
};
use muster_domain::operation::pace::Hold;

/// Queued orders of nodes that are here.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    operations: BTreeMap<OperationId, Orders>,
    /// To be looked at, the oldest first.
    woken: BTreeSet<OperationId>,
    /// Rises when there may be room that was not there before.
    news: u64,
}

#[derive(Debug, Default)]
struct Orders {
    nodes: BTreeMap<CommandId, NodeId>,
    hold: Option<Hold>,
}

impl Waiting {
    /// A node is here and has these orders to get.
    pub(super) fn add(&mut self, node: NodeId, queued: &[(OperationId, CommandId)]) {
        for (operation, command) in queued {
            self.operations.entry(*operation).or_default().nodes.insert(*command, node);
            self.woken.insert(*operation);
        }
    }

    /// Whether one of these waits.
    pub(super) fn has(&self, operation: OperationId) -> bool {
        self.operations.contains_key(&operation)
    }

    /// Of the news so far.
    pub(super) const fn news(&self) -> u64 {
        self.news
    }

    /// The oldest operation that is to be looked at.
    pub(super) fn next_woken(&mut self) -> Option<OperationId> {
        self.woken.pop_first()
    }

    /// The first of its orders.
    pub(super) fn first(&self, operation: OperationId, most: usize) -> Vec<(CommandId, NodeId)> {
        let orders = self.operations.get(&operation);
        let nodes = orders.into_iter().flat_map(|orders| &orders.nodes);
        nodes.take(most).map(|(command, node)| (*command, *node)).collect()
    }

    /// These do not wait any more.
    pub(super) fn tried(&mut self, operation: OperationId, commands: &[CommandId]) {
        let Some(orders) = self.operations.get_mut(&operation) else { return };
        for command in commands {
            orders.nodes.remove(command);
        }
        if orders.nodes.is_empty() {
            self.operations.remove(&operation);
        }
    }

    /// An operation had its turn. What held it was looked at when the news were these: if
    /// they are others now, it is looked at again.
    pub(super) fn came(&mut self, operation: OperationId, hold: Option<Hold>, news: u64) {
        let Some(orders) = self.operations.get_mut(&operation) else { return };
        if hold.is_none() || self.news != news {
            self.woken.insert(operation);
        }
        orders.hold = hold;
    }

    /// It waits for nothing.
    pub(super) fn forget(&mut self, operation: OperationId) {
        self.operations.remove(&operation);
    }

    /// These are looked at again.
    pub(super) fn wake_all(&mut self, operations: Vec<OperationId>) {
        self.woken.extend(operations);
    }

    /// An order has ended. Whether anybody is to be looked at for that.
    pub(super) fn ended(&mut self, operation: OperationId, command: CommandId) -> bool {
        self.news += 1;
        self.tried(operation, &[command]);
        if self.operations.contains_key(&operation) {
            self.woken.insert(operation);
        }
        self.wake_where(|hold| matches!(hold, Hold::Lease(_)))
    }

    /// Leases are others now. Whether anybody is to be looked at for that.
    pub(super) fn leases_changed(&mut self) -> bool {
        self.news += 1;
        self.wake_where(|hold| matches!(hold, Hold::Lease(_)))
    }

    /// Wakes those whose time has come.
    pub(super) fn wake_due(&mut self, now: UnixMillis) {
        self.wake_where(|hold| matches!(hold, Hold::NotBefore(at) if *at <= now));
    }

    fn wake_where(&mut self, is_over: impl Fn(&Hold) -> bool) -> bool {
        let held = self.operations.iter().filter(|(_, orders)| orders.hold.as_ref().is_some_and(&is_over));
        self.woken.extend(held.map(|(operation, _)| *operation));
        !self.woken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(n: u128) -> OperationId {
        OperationId::from_u128(n)
    }

    fn command(n: u128) -> CommandId {
        CommandId::from_u128(n)
    }

    fn lease() -> Option<Hold> {
        Some(Hold::Lease("reboots".to_owned()))
    }

    #[test]
    fn room_that_came_while_an_operation_was_looked_at_is_not_missed() {
        let mut waiting = Waiting::default();
        waiting.add(NodeId::from_u128(1), &[(operation(1), command(1))]);
        assert_eq!(waiting.next_woken(), Some(operation(1)));
        let news = waiting.news();
        waiting.ended(operation(2), command(7));
        waiting.came(operation(1), lease(), news);
        assert_eq!(waiting.next_woken(), Some(operation(1)), "the end came between");
        waiting.came(operation(1), lease(), waiting.news());
        assert_eq!(waiting.next_woken(), None);
        assert!(waiting.ended(operation(2), command(8)));
        assert_eq!(waiting.next_woken(), Some(operation(1)));
    }

    #[test]
    fn what_waits_for_its_time_is_woken_by_that_alone() {
        let mut waiting = Waiting::default();
        waiting.add(NodeId::from_u128(1), &[(operation(1), command(1))]);
        waiting.next_woken();
        waiting.came(operation(1), Some(Hold::NotBefore(UnixMillis(10))), waiting.news());
        waiting.ended(operation(2), command(7));
        waiting.leases_changed();
        waiting.wake_due(UnixMillis(9));
        assert_eq!(waiting.next_woken(), None);
        waiting.wake_due(UnixMillis(10));
        assert_eq!(waiting.next_woken(), Some(operation(1)));
    }

    #[test]
    fn orders_go_in_their_own_order_and_are_forgotten_when_tried() {
        let mut waiting = Waiting::default();
        for n in [3, 1, 2] {
            waiting.add(NodeId::from_u128(n), &[(operation(1), command(10 - n))]);
        }
        let first: Vec<CommandId> = waiting.first(operation(1), 2).into_iter().map(|it| it.0).collect();
        assert_eq!(first, [command(7), command(8)]);
        waiting.tried(operation(1), &first);
        assert!(waiting.has(operation(1)));
        waiting.tried(operation(1), &[command(9)]);
        assert!(!waiting.has(operation(1)));
    }
}
