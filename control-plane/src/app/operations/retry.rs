//! The same order once more, for those where it did not succeed.

use std::time::Duration;

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::{CommandId, NodeId, OperationId},
    reason::Reason,
};
use muster_domain::{
    command::State,
    operation::{Counts, Operation},
};
use muster_store::{ReadCommands as _, ReadOperations as _, WriteTx};

use super::{Sight, asked_before, begin, check_lease};
use crate::app::{Actor, App, Error, check_request_id, recorder::Ended, written::Written};

/// Ends that are repeated if the caller does not say: what may have run is not among them.
const BY_DEFAULT: [State; 3] = [State::Failed, State::TimedOut, State::Expired];

/// What someone wants repeated.
struct Again {
    operation: OperationId,
    states: Vec<State>,
    request_id: String,
    by: String,
    trace_id: String,
    traceparent: String,
    now: UnixMillis,
}

impl App {
    /// Starts an operation that repeats the commands of another one that ended in one of
    /// these states and that nobody has repeated yet, as far as the scope goes.
    ///
    /// # Errors
    /// If there is no such operation, a newer one has its supersede key, a state cannot be
    /// repeated, or the request id stands for something else.
    pub async fn retry_operation(
        &self,
        actor: &Actor,
        id: OperationId,
        states: Vec<State>,
        request_id: String,
    ) -> Result<(Operation, Counts), Error> {
        check_request_id(&request_id)?;
        let mut states = if states.is_empty() { BY_DEFAULT.to_vec() } else { states };
        if let Some(state) = states.iter().find(|state| !state.is_end() || **state == State::Succeeded) {
            let message = format!("a command that is {} is not repeated", state.as_str());
            return Err(Error::invalid("states", message));
        }
        states.sort_unstable();
        states.dedup();
        let now = self.clock.now();
        let again = Again {
            operation: id,
            states,
            request_id,
            by: actor.principal.clone(),
            trace_id: actor.trace_id.clone(),
            traceparent: actor.traceparent(),
            now,
        };
        let (sight, known, app) = (self.sight(&actor.scope), *self.feed.applied().borrow(), self.clone());
        let (made, ended) = self
            .commit(actor.stamp("operations.retry", now), move |tx| {
                let sight = sight.clone().with(Written::since(tx, known)?);
                app.begin_again(tx, &sight, &again)
            })
            .await?;
        self.all_ended(&ended);
        self.operation(&actor.scope, made).await
    }

    fn begin_again(
        &self,
        tx: &mut WriteTx<'_>,
        sight: &Sight,
        again: &Again,
    ) -> Result<(OperationId, Ended), Error> {
        let (before, _) = sight.operation(tx, again.operation)?;
        let next = repeated(&before, again);
        if let Some(made) = asked_before(tx, &next)? {
            return Ok((made, Ended::default()));
        }
        check_newest(tx, &before)?;
        check_lease(tx, &next.plan)?;
        let commands = tx.command_to_retry(before.id, &again.states)?.into_iter();
        let seen = commands.filter(|it| sight.is_there(it.node) && sight.sees(it.node));
        let nodes: Vec<(NodeId, Option<CommandId>)> = seen.map(|it| (it.node, Some(it.id))).collect();
        let ended = begin(tx, &next, &nodes)?;
        Ok((next.id, ended))
    }
}

/// The operation that repeats another one; times count from now.
fn repeated(before: &Operation, again: &Again) -> Operation {
    let began = before.not_before.map_or(before.created_at, |at| at.max(before.created_at));
    let within = before.deliver_by.since(began).max(Duration::from_millis(1));
    Operation {
        id: OperationId::generate(),
        request_id: (!again.request_id.is_empty()).then(|| again.request_id.clone()),
        request_sha256: asked(again).as_bytes().to_vec(),
        created_by: again.by.clone(),
        created_at: again.now,
        not_before: None,
        deliver_by: again.now + within,
        cancel_requested: false,
        cancel_forced: false,
        ended_at: None,
        total: 0,
        trace_id: again.trace_id.clone(),
        traceparent: again.traceparent.clone(),
        retry_of: Some(before.id),
        schedule: String::new(),
        ..before.clone()
    }
}

/// Hash of what was asked.
fn asked(again: &Again) -> Sha256 {
    let states: Vec<&str> = again.states.iter().map(|state| state.as_str()).collect();
    Sha256::of(format!("retry\0{}\0{}", again.operation, states.join(" ")).as_bytes())
}

/// Refuses to repeat what a newer operation has taken the place of: its own commands would
/// be superseded by the older order.
fn check_newest(tx: &mut WriteTx<'_>, before: &Operation) -> Result<(), Error> {
    let Some(supersede) = &before.plan.supersede else { return Ok(()) };
    match tx.operation_newest_with_key(&supersede.key)? {
        Some(newest) if newest != before.id => {
            let message = format!("operation {newest} has its supersede key and is newer; retry that one");
            Err(Error::refused(Reason::StateConflict, message))
        }
        _ => Ok(()),
    }
}
