//! Handing out orders: queued ones of connected nodes become delivered in the
//! store first, and only then reach the host. So the store never believes that
//! a host cannot have what it may have run.

use std::collections::BTreeSet;

use muster_common::ids::{CommandId, NodeId};
use muster_domain::command::{self, Command, Event};
use muster_store::{ReadCommands as _, WriteCommands as _};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{App, Error};

/// Orders marked in one write.
const BATCH: usize = 500;

/// Nodes that have queued orders and a session. Bounded by the fleet.
#[derive(Debug, Default)]
pub struct Dispatch {
    nodes: Mutex<BTreeSet<NodeId>>,
    wake: Notify,
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

    fn take(&self) -> Vec<NodeId> {
        let mut nodes = self.nodes.lock();
        let mut taken = Vec::new();
        while taken.len() < BATCH
            && let Some(node) = nodes.pop_first()
        {
            taken.push(node);
        }
        taken
    }
}

impl App {
    /// Hands out what can be handed out now.
    ///
    /// # Errors
    /// If the store fails; those orders stay queued and are tried again.
    pub async fn hand_out(&self) -> Result<(), Error> {
        loop {
            let nodes = self.dispatch.take();
            if nodes.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.hand_out_to(&nodes).await {
                self.dispatch.add_all(nodes);
                return Err(error);
            }
        }
    }

    async fn hand_out_to(&self, nodes: &[NodeId]) -> Result<(), Error> {
        let queued: Vec<CommandId> = nodes.iter().flat_map(|node| self.queued_for(*node)).collect();
        if queued.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let stamp = self.own_stamp("commands.deliver");
        let moved = self.store.write(stamp, move |tx| {
            let mut moved = Vec::with_capacity(queued.len());
            for id in &queued {
                let Some(command) = tx.command_get(*id)? else { continue };
                let Ok(next) = command::apply(&command, &Event::Delivered, now) else { continue };
                if next != command {
                    tx.command_put(&next)?;
                }
                moved.push(next);
            }
            Ok::<_, Error>(moved)
        });
        let moved = moved.await?.value;
        muster_common::crash::point("app.dispatch.delivered");
        self.send_now(&moved);
        Ok(())
    }

    fn queued_for(&self, node: NodeId) -> Vec<CommandId> {
        if self.hub.get(node).is_none() {
            return Vec::new(); // on its next Hello it comes here again
        }
        let queued = |entry: parking_lot::MutexGuard<'_, super::fleet::Entry>| {
            let tickets = entry.tickets.iter().filter(|ticket| ticket.state == command::State::Queued);
            tickets.map(|ticket| ticket.command).collect()
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
                }
            });
            sessions.insert(command.node);
        }
        for session in sessions.into_iter().filter_map(|node| self.hub.get(node)) {
            session.hint_tickets();
        }
    }
}
