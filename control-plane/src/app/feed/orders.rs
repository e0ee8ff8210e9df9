//! Orders that were made, moved on or are to stop, whoever wrote that.

use muster_common::ids::{CommandId, NodeId, OperationId};
use muster_domain::{command::Command, operation::Operation};
use muster_store::{ReadCommands as _, ReadOperations as _};

use crate::{
    app::{App, Error, fleet::News},
    session::hub::Handle,
};

impl App {
    /// Whoever wrote them may be gone: a call that its caller gave up ends in
    /// the middle, and its write stands.
    pub(super) async fn reload_orders(
        &self,
        operations: Vec<OperationId>,
        commands: Vec<CommandId>,
    ) -> Result<(), Error> {
        let found = self.store.read(move |tx| {
            let (mut found, mut orders): (Vec<Operation>, Vec<Command>) = (Vec::new(), Vec::new());
            for id in operations {
                found.extend(tx.operation_get(id)?);
            }
            for id in commands {
                orders.extend(tx.command_get(id)?);
            }
            Ok::<_, Error>((found, orders))
        });
        let (operations, commands) = found.await?;
        let (ended, open): (Vec<_>, Vec<_>) = operations.into_iter().partition(|it| it.ended_at.is_some());
        // First the operations: an order is handed out with what its operation says.
        self.adopt_operations(open);
        // At once: who is first in order may be anywhere among them.
        let to_hand_out: Vec<NodeId> = commands.iter().filter_map(|it| self.adopt_command(it)).collect();
        if !to_hand_out.is_empty() {
            self.dispatch.add_all(to_hand_out);
        }
        let ended: Vec<OperationId> = ended.into_iter().map(|operation| operation.id).collect();
        self.close_operations(&ended);
        Ok(())
    }

    /// Takes in where an order is, whether it is new, moved on, or is to stop. A node
    /// that may get one.
    fn adopt_command(&self, command: &Command) -> Option<NodeId> {
        let news = self.fleet.with(command.node, |mut entry| {
            self.count_end(&entry, command);
            entry.adopt(command.into())
        });
        if command.state.is_end() {
            self.dispatch.ended(command.operation, command.id);
        }
        match news {
            Some(News::ToHandOut) => return Some(command.node),
            Some(News::ToTell) => {
                self.hub.get(command.node).as_ref().map(Handle::hint_tickets);
            }
            Some(News::Nothing) | None => {}
        }
        None
    }
}
