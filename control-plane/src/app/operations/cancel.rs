//! Ending operations: asking, and insisting.

use muster_common::{
    clock::UnixMillis,
    error_chain::Chain,
    ids::{CommandId, NodeId, OperationId},
    reason::Reason,
    tasks::Kind,
};
use muster_domain::{
    audit::Note,
    command::{self, Command, Event, State},
    lane::Lane,
    liveness,
    operation::{Counts, Operation},
};
use muster_store::{ReadCommands as _, WriteCommands as _, WriteOperations as _, WriteTx};
use parking_lot::MutexGuard;
use serde_json::json;

use super::Sight;
use crate::{
    app::{
        Actor, App, Error, check_reason, events::Ends, fleet::Entry, recorder::end_operations,
        written::Written,
    },
    session::hub::Handle,
};

impl App {
    /// Asks an operation to end: queued orders end at once, delivered ones when their host
    /// says so. With force, hosts kill, and nobody waits for those that are not heard.
    ///
    /// # Errors
    /// If it does not exist, or some of its nodes are not in the scope.
    pub async fn cancel_operation(
        &self,
        actor: &Actor,
        id: OperationId,
        reason: String,
        force: bool,
    ) -> Result<(Operation, Counts), Error> {
        check_reason("reason", &reason)?;
        let now = self.clock.now();
        let (sight, known) = (self.sight(&actor.scope), *self.feed.applied().borrow());
        let app = self.clone();
        let ended = self.commit_in(Lane::Brake, actor.stamp("operations.cancel", now), move |tx| {
            check_all(tx, &sight, id, known)?;
            let moved = app.cancel_open(tx, id, force, now)?;
            if force {
                tx.operation_set_forced(id)?
            } else {
                tx.operation_set_cancel(id)?
            };
            tx.audit(Note {
                subject: format!("operation/{id}"),
                after: json!({ "reason": reason, "force": force, "commands": moved.len() }).to_string(),
                ..Note::default()
            })?;
            Ok(end_operations(tx, vec![id], now)?.and(moved))
        });
        let ended = ended.await?;
        self.all_ended(&ended);
        for command in ended.commands.into_iter().filter(is_given_up) {
            // A host that only stood still has its session yet, and no Hello comes.
            if let Some(session) = self.hub.get(command.node) {
                session.give_up(command.id);
            }
        }
        self.operation(&actor.scope, id).await
    }

    /// Has a host that is back kill what was given up while it was away. `held`: what it
    /// has and memory does not know.
    pub(crate) fn stop_given_up(&self, session: &Handle, held: Vec<CommandId>) {
        if held.is_empty() {
            return;
        }
        let (app, session, node) = (self.clone(), session.clone(), session.node());
        self.tasks.spawn("stop-given-up", Kind::BestEffort, async move {
            let is_its = move |command: &Command| command.node == node && is_given_up(command);
            let read = app.store.read(move |tx| {
                let mut found = Vec::new();
                for id in held {
                    found.extend(tx.command_get(id)?.filter(is_its));
                }
                Ok::<_, Error>(found)
            });
            match read.await {
                Ok(found) => found.iter().for_each(|command| session.give_up(command.id)),
                Err(error) => {
                    // Its next session asks again.
                    tracing::warn!(%node, error = %Chain(&error), "what node {node} still has could not be looked up");
                }
            }
        });
    }

    fn cancel_open(
        &self,
        tx: &mut WriteTx<'_>,
        id: OperationId,
        force: bool,
        now: UnixMillis,
    ) -> Result<Vec<Command>, Error> {
        let event = |node: NodeId| match force {
            true => Event::CancelForced { reachable: self.is_heard(node) },
            false => Event::CancelRequested,
        };
        let (mut moved, mut ends) = (Vec::new(), Ends::default());
        for before in tx.command_of_operation_open(id)? {
            if let Ok(after) = command::apply(&before, &event(before.node), now)
                && after != before
            {
                tx.command_put(&after)?;
                ends.saw(before.state, &after);
                moved.push(after);
            }
        }
        ends.tell(tx)?;
        Ok(moved)
    }

    /// Whether a node would be told, and answer.
    fn is_heard(&self, node: NodeId) -> bool {
        let is_offline = |entry: MutexGuard<'_, Entry>| entry.node.liveness.state == liveness::State::Offline;
        self.is_here(node) && self.fleet.with(node, is_offline) == Some(false)
    }
}

/// Whether nobody waits for its host.
fn is_given_up(command: &Command) -> bool {
    command.state == State::Interrupted && command.cancel_forced
}

/// Refuses whoever may not touch all nodes of an operation.
fn check_all(tx: &mut WriteTx<'_>, sight: &Sight, id: OperationId, known: u64) -> Result<(), Error> {
    let sight = sight.clone().with(Written::since(tx, known)?);
    let (operation, _) = sight.operation(tx, id)?;
    if !sight.is_all_of(tx, &operation)? {
        let message = "the operation has commands on nodes outside of your scope, too";
        return Err(Error::refused(Reason::PermissionDenied, message));
    }
    Ok(())
}
