//! Single orders: those that run out of time, and those a host has lost.

use muster_common::ids::CommandId;
use muster_domain::command::{self, Command, Event};
use muster_store::{ReadCommands as _, WriteCommands as _};

use super::{App, Error, recorder::end_operations};
use crate::session::hub::Handle;

impl App {
    /// Ends queued orders whose time for delivery is over. Answers how many.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn expire_commands(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let due = self.store.read(move |tx| tx.command_due(now)).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let ids = due.iter().map(|command| command.id).collect();
        self.move_commands("commands.expire", ids, Event::DeliverByPassed).await
    }

    /// A host's ledger went back: what was delivered is never offered again.
    pub(crate) fn interrupt_lost(&self, lost: Vec<CommandId>) {
        self.dispatch.lost(lost);
    }

    /// Ends orders that hosts have lost.
    ///
    /// # Errors
    /// If the store fails; they are tried again.
    pub async fn interrupt_commands(&self) -> Result<(), Error> {
        let lost = self.dispatch.take_lost();
        if lost.is_empty() {
            return Ok(());
        }
        let moved = self.move_commands("commands.interrupt", lost.clone(), Event::LedgerWentBack).await;
        if moved.is_err() {
            self.dispatch.lost(lost);
        }
        moved.map(|_| ())
    }

    /// Moves some orders by one event, in one write.
    pub(crate) async fn move_commands(
        &self,
        action: &str,
        ids: Vec<CommandId>,
        event: Event,
    ) -> Result<usize, Error> {
        let now = self.clock.now();
        let committed = self
            .store
            .write(self.own_stamp(action), move |tx| {
                let mut moved: Vec<Command> = Vec::new();
                for id in &ids {
                    let Some(before) = tx.command_get(*id)? else { continue };
                    match command::apply(&before, &event, now) {
                        Ok(after) if after != before => {
                            tx.command_put(&after)?;
                            moved.push(after);
                        }
                        _ => {}
                    }
                }
                let mut operations: Vec<_> = moved.iter().map(|command| command.operation).collect();
                operations.dedup();
                let ended = end_operations(tx, operations, now)?;
                Ok::<_, Error>((moved, ended))
            })
            .await?;
        let (moved, ended) = committed.value;
        self.moved(&moved);
        self.close_operations(&ended);
        Ok(moved.len())
    }

    /// Takes over in memory what was moved in the store.
    pub(crate) fn moved(&self, commands: &[Command]) {
        for command in commands {
            self.fleet.with(command.node, |mut entry| {
                entry.moved(command.id, command.state, command.cancel_requested);
            });
        }
    }

    /// Tells sessions that there is something to stop.
    pub(crate) fn hint_cancelled(&self, commands: &[Command]) {
        for command in commands.iter().filter(|command| !command.state.is_end()) {
            self.fleet.with(command.node, |mut entry| {
                if let Some(ticket) = entry.ticket(command.id) {
                    ticket.to_send = true;
                }
            });
            self.hub.get(command.node).as_ref().map(Handle::hint_tickets);
        }
    }
}
