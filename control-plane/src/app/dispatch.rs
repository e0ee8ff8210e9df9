//! Handing out orders: queued ones of connected nodes become delivered in the
//! store first, and only then reach the host. So the store never believes that
//! a host cannot have what it may have run.
//!
//! How many of an operation may go is decided in the same write, from what the store
//! says is in flight: no crash and no other process can bring about more. Memory only
//! knows who waits. What waits for room is looked at again when a command has ended, a
//! lease was changed or its time has come, and no sooner.

mod deliver;
mod judge;
mod places;
mod waiting;

use std::collections::BTreeSet;

use muster_common::ids::{CommandId, NodeId, OperationId};
use muster_domain::command::{self, Command};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{App, Error};
use deliver::{Came, Turn, deliver};
use waiting::Waiting;

pub(super) use judge::spoken;
pub(super) use places::Places;

/// Orders looked at in one write.
const BATCH: usize = 500;

/// Nodes that have queued orders and a session, and those orders. Bounded by the fleet and
/// its orders.
#[derive(Debug, Default)]
pub struct Dispatch {
    nodes: Mutex<BTreeSet<NodeId>>,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

/// What a round tries to hand out.
struct Round {
    turns: Vec<Turn>,
    /// Of the news when it began.
    news: u64,
}

impl Dispatch {
    /// This node may have orders to get.
    pub fn add(&self, node: NodeId) {
        self.add_all([node]);
    }

    /// These nodes may.
    pub fn add_all(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.nodes.lock().extend(nodes);
        self.wake.notify_one();
    }

    /// Waits until there may be something to hand out.
    pub async fn wanted(&self) {
        self.wake.notified().await;
    }

    /// An order has ended: there may be room for others.
    pub fn ended(&self, operation: OperationId, command: CommandId) {
        if self.waiting.lock().ended(operation, command) {
            self.wake.notify_one();
        }
    }

    /// Leases are others now.
    pub fn leases_changed(&self) {
        if self.waiting.lock().leases_changed() {
            self.wake.notify_one();
        }
    }

    /// Whether orders of an operation wait whose nodes were here a moment ago, or may.
    #[must_use]
    pub fn may_wait(&self, operation: OperationId) -> bool {
        self.waiting.lock().has(operation) || !self.nodes.lock().is_empty()
    }

    /// How many nodes are to be looked at for orders.
    #[must_use]
    pub fn waiting_nodes(&self) -> usize {
        self.nodes.lock().len()
    }

    fn take_nodes(&self) -> BTreeSet<NodeId> {
        std::mem::take(&mut *self.nodes.lock())
    }
}

impl App {
    /// Hands out what can be handed out now.
    ///
    /// # Errors
    /// If the store fails; those orders stay queued and are tried again.
    pub async fn hand_out(&self) -> Result<(), Error> {
        self.dispatch.waiting.lock().wake_due(self.clock.now());
        loop {
            // All of them before any order goes: the first one in order may be anybody's.
            for node in self.dispatch.take_nodes() {
                let queued = self.queued_for(node);
                self.dispatch.waiting.lock().add(node, &queued);
            }
            let Some(round) = self.next_round() else { return Ok(()) };
            let operations: Vec<OperationId> = round.turns.iter().map(|turn| turn.operation.id).collect();
            if let Err(error) = self.hand_out_round(round).await {
                self.dispatch.waiting.lock().wake_all(operations);
                return Err(error);
            }
        }
    }

    /// Orders of operations that were woken, the oldest operation first. None: nothing is to be done.
    fn next_round(&self) -> Option<Round> {
        let news = self.dispatch.waiting.lock().news();
        let (mut turns, mut left) = (Vec::new(), BATCH);
        while left > 0 {
            let Some(id) = self.dispatch.waiting.lock().next_woken() else { break };
            let Some(operation) = self.operation_open(id) else {
                self.dispatch.waiting.lock().forget(id); // it has ended
                continue;
            };
            let most = operation.plan.pacing.limit.map_or(left, |limit| left.min(limit as usize));
            let orders = self.reachable(id, most);
            left = left.saturating_sub(orders.len());
            if !orders.is_empty() {
                turns.push(Turn { operation, orders });
            }
        }
        (!turns.is_empty()).then_some(Round { turns, news })
    }

    /// The first orders of an operation that wait and whose nodes are here. Those of others
    /// come again with their nodes.
    fn reachable(&self, operation: OperationId, most: usize) -> Vec<CommandId> {
        loop {
            let first = self.dispatch.waiting.lock().first(operation, most);
            let (here, away): (Vec<_>, Vec<_>) = first.into_iter().partition(|(_, node)| self.is_here(*node));
            let away: Vec<CommandId> = away.into_iter().map(|(command, _)| command).collect();
            self.dispatch.waiting.lock().tried(operation, &away);
            if away.is_empty() || !here.is_empty() {
                return here.into_iter().map(|(command, _)| command).collect();
            }
        }
    }

    async fn hand_out_round(&self, round: Round) -> Result<(), Error> {
        let Round { turns, news } = round;
        let (now, known, app) = (self.clock.now(), *self.feed.applied().borrow(), self.clone());
        let stamp = self.own_stamp("commands.deliver");
        let write = self.store.write(stamp, move |tx| deliver(tx, &app, &turns, known, now));
        let (came, ended) = write.await?.value;
        muster_common::crash::point("app.dispatch.delivered");
        for Came { operation, tried, hold, moved, .. } in came {
            self.send_now(&moved);
            let mut waiting = self.dispatch.waiting.lock();
            waiting.tried(operation, &tried);
            waiting.came(operation, hold, news);
        }
        self.all_ended(&ended);
        Ok(())
    }

    /// Whether a node has a session and may get orders.
    pub(super) fn is_here(&self, node: NodeId) -> bool {
        // On its next Hello, or when it is released, it comes here again.
        self.hub.get(node).is_some()
            && self.fleet.with(node, |entry| entry.node.quarantine.is_none()) == Some(true)
    }

    fn queued_for(&self, node: NodeId) -> Vec<(OperationId, CommandId)> {
        if !self.is_here(node) {
            return Vec::new();
        }
        let queued = |entry: parking_lot::MutexGuard<'_, super::fleet::Entry>| {
            let tickets = entry.tickets.iter().filter(|ticket| ticket.state == command::State::Queued);
            tickets.map(|ticket| (ticket.operation, ticket.command)).collect()
        };
        self.fleet.with(node, queued).unwrap_or_default()
    }

    fn send_now(&self, commands: &[Command]) {
        let mut sessions = BTreeSet::new();
        for command in commands {
            self.fleet.with(command.node, |mut entry| {
                entry.moved(command.id, command.state, command.cancel_requested);
                if let Some(ticket) = entry.ticket(command.id) {
                    ticket.to_send = !ticket.lost;
                    sessions.insert(command.node);
                }
            });
        }
        for session in sessions.into_iter().filter_map(|node| self.hub.get(node)) {
            session.hint_tickets();
        }
    }
}
