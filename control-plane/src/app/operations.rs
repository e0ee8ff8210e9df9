//! Operations: one order to many nodes.

mod cancel;
mod hold;
mod open;
pub mod output;
mod preview;
mod reading;
mod retry;
mod supersede;

pub use open::{Open, OpenOperation};
pub use preview::{PreviewCounts, Previewed};
pub(super) use reading::Sight;

use std::time::Duration;

use bytes::Bytes;
use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::{CommandId, NodeId, OperationId},
    reason::Reason,
};
use muster_domain::{
    access::Scope,
    audit::Note,
    command::{self, Command},
    event::{Happened, Kind},
    labels::Selector,
    node::Node,
    operation::{Counts, Operation, Plan, Timing, check_lane, order},
};
use muster_store::{ReadLeases, ReadOperations as _, WriteCommands as _, WriteOperations as _, WriteTx};
use serde_json::json;

use super::{Actor, App, Error, check_request_id, events, recorder::Ended, selectors, written::Written};

/// What someone wants done.
#[derive(Debug, Clone)]
pub struct Wish {
    /// As written.
    pub selector: String,
    /// `run-script`.
    pub kind: &'static str,
    /// The kind's message.
    pub args: Bytes,
    /// The caller's own id; empty: none.
    pub request_id: String,
    /// Earliest start.
    pub not_before: Option<UnixMillis>,
    /// `None`: the default.
    pub deliver_within: Option<Duration>,
    /// `None`: the default.
    pub run_timeout: Option<Duration>,
    /// Orders of one lane run one after the other on a host; empty: in none.
    pub lane: String,
    /// Bytes of output kept of all orders together; `None`: the most.
    pub output_limit: Option<u64>,
    /// That starts it; empty: somebody does.
    pub schedule: String,
    /// How it goes about it.
    pub plan: Plan,
    /// Only tell how many it would reach.
    pub validate_only: bool,
}

impl App {
    /// Starts an operation on the nodes that match now, as far as the scope goes.
    ///
    /// # Errors
    /// If the wish cannot be, or its request id stands for another one.
    pub async fn start_operation(&self, actor: &Actor, wish: Wish) -> Result<(Operation, Counts), Error> {
        self.start_operation_and(actor, wish, |_, _| Ok(())).await
    }

    /// As `start_operation`; what is to be written with it is in the same write, or nothing is.
    pub(super) async fn start_operation_and<F>(
        &self,
        actor: &Actor,
        wish: Wish,
        also: F,
    ) -> Result<(Operation, Counts), Error>
    where
        F: Fn(&mut WriteTx<'_>, OperationId) -> Result<(), Error> + Send + 'static,
    {
        let now = self.clock.now();
        let written = selectors::written("selector", &wish.selector)?;
        let selector = selectors::resolved("selector", &written, &self.catalog.now().groups)?;
        // First how far memory is: what comes after that is looked at again in the write.
        let known = *self.feed.applied().borrow();
        let nodes = self.matching(&actor.scope, &selector);
        let timing = Timing::check(now, wish.not_before, wish.deliver_within, wish.run_timeout)?;
        check_lane(&wish.lane)?;
        let output_limit = self.output_limit(&wish)?;
        check_request_id(&wish.request_id)?;
        wish.plan.check()?;
        let operation = Operation { output_limit, ..operation(actor, &wish, timing, now) };
        let operation = reaching(operation, nodes.len());
        if wish.validate_only {
            let mut counts = Counts::default();
            counts.add(command::State::Queued, operation.total);
            let plan = operation.plan.clone();
            self.store.read(move |tx| check_lease(tx, &plan)).await?;
            return Ok((operation, counts));
        }
        let (row, scope, app) = (operation, actor.scope.clone(), self.clone());
        let start = move |tx: &mut WriteTx<'_>| {
            if let Some(before) = asked_before(tx, &row)? {
                also(tx, before)?;
                return Ok((before, Ended::default()));
            }
            // A group may have changed since memory followed the store.
            let now = selectors::resolved("selector", &written, &selectors::groups(tx)?)?;
            let fresh = (now != selector).then(|| app.matching(&scope, &now));
            let nodes = fresh.as_ref().unwrap_or(&nodes);
            let written = Written::since(tx, known)?;
            let nodes = app.in_order(matching_now(nodes, &written, &scope, &now), &row.plan, &written);
            check_lease(tx, &row.plan)?;
            let nodes: Vec<_> = nodes.into_iter().map(|node| (node, None)).collect();
            let ended = begin(tx, &row, &nodes)?;
            also(tx, row.id)?;
            Ok((row.id, ended))
        };
        // Memory learns of it from the feed, so also if the caller goes away now.
        let (made, ended) = self.commit(actor.stamp("operations.start", now), start).await?;
        self.all_ended(&ended);
        self.operation(&actor.scope, made).await
    }

    fn output_limit(&self, wish: &Wish) -> Result<u64, Error> {
        let most = self.fixed.operation_output_limit;
        match wish.output_limit {
            Some(bytes) if bytes > most => {
                let message =
                    format!("it is {bytes}; this control plane keeps at most {most} of one operation");
                Err(Error::invalid("output_limit_bytes", message))
            }
            given => Ok(given.unwrap_or(most)),
        }
    }

    /// Nodes in the order in which a plan wants them.
    fn in_order(&self, nodes: Vec<NodeId>, plan: &Plan, written: &Written) -> Vec<NodeId> {
        let Some(label) = &plan.pacing.order_by_label else { return nodes };
        let value = |id: &NodeId| match written.get(*id) {
            Some(stored) => stored.as_ref().and_then(|node| node.labels.get(label).map(str::to_owned)),
            None => self.fleet.with(*id, |entry| entry.node.labels.get(label).map(str::to_owned)).flatten(),
        };
        order::by_label(nodes.into_iter().map(|id| (id, value(&id))).collect())
    }
}

fn operation(actor: &Actor, wish: &Wish, timing: Timing, now: UnixMillis) -> Operation {
    Operation {
        id: OperationId::generate(),
        selector: wish.selector.clone(),
        kind: wish.kind.to_owned(),
        args: wish.args.to_vec(),
        request_id: (!wish.request_id.is_empty()).then(|| wish.request_id.clone()),
        request_sha256: asked(wish).as_bytes().to_vec(),
        created_by: actor.principal.clone(),
        created_at: now,
        not_before: timing.not_before,
        deliver_by: timing.deliver_by,
        run_timeout: timing.run_timeout,
        cancel_requested: false,
        ended_at: None,
        total: 0,
        trace_id: actor.trace_id.clone(),
        traceparent: actor.traceparent(),
        lane: wish.lane.clone(),
        output_limit: 0,
        schedule: wish.schedule.clone(),
        plan: wish.plan.clone(),
        retry_of: None,
        cancel_forced: false,
    }
}

/// One that goes to nobody has ended.
fn reaching(operation: Operation, nodes: usize) -> Operation {
    Operation {
        ended_at: (nodes == 0).then_some(operation.created_at),
        total: u32::try_from(nodes).unwrap_or(u32::MAX),
        ..operation
    }
}

/// Hash of what was asked, as it was asked: what was left out stays left out.
fn asked(wish: &Wish) -> Sha256 {
    let millis = |span: Option<Duration>| span.map(|span| span.as_millis());
    let timing = format!(
        "{:?} {:?} {:?}",
        wish.not_before.map(|at| at.0),
        millis(wish.deliver_within),
        millis(wish.run_timeout)
    );
    let (selector, kind, timing) = (wish.selector.as_bytes(), wish.kind.as_bytes(), timing.as_bytes());
    let mut parts = vec![selector, b"\0", kind, b"\0", timing, b"\0", &wish.args];
    // What was asked without it, by an earlier release too, keeps its hash.
    if !wish.lane.is_empty() {
        parts.extend([&b"\0lane\0"[..], wish.lane.as_bytes()]);
    }
    let limit = wish.output_limit.map(u64::to_be_bytes);
    if let Some(limit) = &limit {
        parts.extend([&b"\0output\0"[..], limit]);
    }
    let plan = (wish.plan != Plan::default()).then(|| json!(wish.plan).to_string());
    if let Some(plan) = &plan {
        parts.extend([&b"\0plan\0"[..], plan.as_bytes()]);
    }
    Sha256::of_parts(parts)
}

fn queued(operation: &Operation, node: NodeId, retry_of: Option<CommandId>) -> Command {
    let now = operation.created_at;
    Command {
        id: CommandId::generate(),
        operation: operation.id,
        node,
        state: command::State::Queued,
        exit_code: None,
        signal: None,
        reason: None,
        message: String::new(),
        result: Vec::new(),
        cancel_requested: false,
        report_seq: 0,
        output_bytes: 0,
        stderr_bytes: 0,
        dropped_bytes: 0,
        created_at: now,
        updated_at: now,
        ended_at: None,
        deliver_by: operation.deliver_by,
        cancel_forced: false,
        retry_of,
    }
}

/// Refuses a plan with a lease that is not there.
fn check_lease(tx: &mut impl ReadLeases, plan: &Plan) -> Result<(), Error> {
    match &plan.lease {
        Some(name) if tx.lease_get(name)?.is_none() => Err(Error::not_found("concurrency lease", name)),
        _ => Ok(()),
    }
}

/// Those that match in memory, as far as they still do, and those that do by now.
pub(super) fn matching_now(
    known: &[NodeId],
    written: &Written,
    scope: &Scope,
    selector: &Selector,
) -> Vec<NodeId> {
    let unchanged = known.iter().copied().filter(|id| written.get(*id).is_none());
    let matches = |node: &&Node| scope.sees(node) && selector.matches(&node.labels, &node.facts);
    let mut nodes: Vec<NodeId> =
        unchanged.chain(written.nodes().filter(matches).map(|node| node.id)).collect();
    nodes.sort_unstable();
    nodes
}

/// The operation that a request id stands for already.
fn asked_before(tx: &mut WriteTx<'_>, operation: &Operation) -> Result<Option<OperationId>, Error> {
    if let Some(request_id) = &operation.request_id
        && let Some(before) = tx.operation_by_request(&operation.created_by, request_id)?
    {
        if before.request_sha256 == operation.request_sha256 {
            return Ok(Some(before.id));
        }
        let message = format!(
            "request_id {request_id:?} stands for operation {}, which asked for other things",
            before.id
        );
        return Err(Error::refused(Reason::RequestIdReused, message));
    }
    Ok(None)
}

/// Stores a new operation, with a command for each of these nodes, in this order. What
/// it supersedes ends, and is answered.
fn begin(
    tx: &mut WriteTx<'_>,
    operation: &Operation,
    nodes: &[(NodeId, Option<CommandId>)],
) -> Result<Ended, Error> {
    let operation = &reaching(operation.clone(), nodes.len());
    // Ids rise as they are made: that is the order in which orders go out.
    let commands: Vec<Command> =
        nodes.iter().map(|(node, retry_of)| queued(operation, *node, *retry_of)).collect();
    tx.operation_insert(operation)?;
    tx.command_insert(&commands)?;
    let ended = supersede::end_older(tx, operation, &commands)?;
    tx.audit(Note {
        subject: format!("operation/{}", operation.id),
        after: shown(operation).to_string(),
        ..Note::default()
    })?;
    let (id, kind, total) = (operation.id, &operation.kind, operation.total);
    let what = Happened::new(Kind::OperationStarted, &format!("{kind} was started for {total} nodes"));
    let what = what.about(format!("operation/{id}")).by(id).with("kind", kind).with("nodes", total);
    events::tell(tx, what.with("selector", &operation.selector).with("schedule", &operation.schedule))?;
    if operation.ended_at.is_some() {
        events::tell(tx, events::operation_over(id, &Counts::default()))?;
    }
    Ok(ended)
}

/// An operation as the audit has it.
fn shown(operation: &Operation) -> serde_json::Value {
    let mut shown = json!({
        "kind": operation.kind,
        "selector": operation.selector,
        "nodes": operation.total,
        "args_sha256": Sha256::of(&operation.args),
    });
    if operation.plan != Plan::default() {
        shown["plan"] = json!(operation.plan);
    }
    if let Some(before) = operation.retry_of {
        shown["retry_of"] = json!(before);
    }
    shown
}
