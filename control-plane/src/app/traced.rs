//! What is told of traces, where somebody collects them: writes, orders and items.

use muster_common::{
    generation::Generation,
    ids::{NodeId, OperationId},
    trace::{Context, SpanId},
};
use muster_domain::{
    audit::Note,
    command::{Command, State},
    item::{ItemName, ItemState, Outcome},
};
use muster_store::{ReadMeta as _, WriteMeta as _};
use serde_json::json;

use super::{Actor, App, Error, fleet::OpenTicket, operations::OpenOperation, recorder::Ended};
use crate::{
    session::frames::{Desired, ItemTold},
    traces::{By, Item, Kind, Part, Span, Told, Value},
};

impl App {
    /// A write for a call begins.
    pub(super) fn write_begun(&self, call: Context, action: &str) -> Part {
        let attributes = vec![("muster.action", Value::Text(action.to_owned()))];
        self.traces.part(self.traces.begin(call), "store write".to_owned(), Kind::Internal, attributes)
    }

    /// An order goes to its host: told once, and not of its cancel. What the host is told of the
    /// trace; empty: nobody collects it.
    pub(super) fn order_given(&self, ticket: &OpenTicket, operation: &OpenOperation) -> String {
        let Some(asked) = operation.traced.filter(|_| self.traces.is_on()) else { return String::new() };
        let at = asked.at(command_span(asked, ticket.command));
        if ticket.was_sent || ticket.cancel {
            return at.to_string();
        }
        self.traces.tell(Span {
            by: By::Here,
            trace: asked.trace,
            id: SpanId::generate(),
            parent: Some(at.span),
            name: "deliver".to_owned(),
            kind: Kind::Producer,
            begin_us: operation.created_at.micros(),
            end_us: self.clock.now().micros(),
            error: String::new(),
            attributes: Vec::new(),
        });
        at.to_string()
    }

    /// It is stored that an order has ended, and what its host told of it.
    pub(super) fn command_ended(&self, command: &Command, told: Vec<Told>) {
        if !self.traces.is_on() || !command.state.is_end() {
            return;
        }
        let Some(operation) = self.operation_traced(command.operation) else { return };
        let Some(asked) = operation.traced else { return };
        let at = asked.at(command_span(asked, command.id));
        let mut attributes = vec![
            ("muster.node.id", Value::Text(command.node.to_string())),
            ("muster.command.id", Value::Text(command.id.to_string())),
            ("muster.command.state", Value::Text(command.state.as_str().to_owned())),
        ];
        attributes.extend(command.exit_code.map(|code| ("muster.exit_code", Value::Number(code.into()))));
        let ended_at = command.ended_at.unwrap_or_else(|| self.clock.now());
        let is_well = command.state == State::Succeeded;
        let reason = command.reason.map_or_else(|| command.state.as_str().to_owned(), |it| it.to_string());
        self.traces.tell(Span {
            by: By::Here,
            trace: asked.trace,
            id: at.span,
            parent: Some(operation_span(asked, operation.id)),
            name: format!("command {}", operation.kind),
            kind: Kind::Producer,
            begin_us: command.created_at.micros(),
            end_us: ended_at.micros(),
            error: if is_well { String::new() } else { reason },
            attributes,
        });
        if !told.is_empty() {
            self.traces.tell_of_host(&self.named(command.node), at, (command.created_at, ended_at), told);
        }
    }

    /// It is stored what ended by itself: operations of it need nothing in memory.
    pub(super) fn all_ended(&self, ended: &Ended) {
        if self.traces.is_on() {
            ended.commands.iter().for_each(|command| self.command_ended(command, Vec::new()));
            let traced = ended.operations.iter().filter_map(|id| self.operation_traced(*id));
            traced.for_each(|operation| self.operation_ended(&operation));
        }
        self.close_operations(&ended.operations);
    }

    fn operation_ended(&self, operation: &OpenOperation) {
        let Some(asked) = operation.traced else { return };
        self.traces.tell(Span {
            by: By::Here,
            trace: asked.trace,
            id: operation_span(asked, operation.id),
            parent: Some(asked.span),
            name: format!("operation {}", operation.kind),
            kind: Kind::Producer,
            begin_us: operation.created_at.micros(),
            end_us: self.clock.now().micros(),
            error: String::new(),
            attributes: vec![("muster.operation.id", Value::Text(operation.id.to_string()))],
        });
    }

    /// Items go to their host, or are to go from it: each is told its place in the trace of the change
    /// that made it so.
    pub(super) fn items_given(&self, node: NodeId, desired: &mut Desired) {
        let Desired { upserts, removals, .. } = desired;
        if (upserts.is_empty() && removals.is_empty()) || !self.traces.is_on() {
            return;
        }
        let (catalog, items) = (self.catalog.now(), self.traces.items());
        let asked = |item: &ItemName, generation: Generation| {
            let of_call = catalog.traced(item, generation);
            let asked = of_call.or_else(|| self.rollout_gave(node, item, generation))?;
            Some((Item { node, item: item.clone(), generation }, asked))
        };
        for upsert in upserts {
            let given = asked(&upsert.item, upsert.version.generation);
            let at = given.and_then(|(item, asked)| items.given(item, asked));
            upsert.traceparent = at.map(|at| at.to_string()).unwrap_or_default();
        }
        for removal in removals {
            let taken = asked(&removal.item, removal.generation);
            let at = taken.and_then(|(item, asked)| items.taken(item, asked));
            removal.traceparent = at.map(|at| at.to_string()).unwrap_or_default();
        }
    }

    /// A host says what it did for items.
    pub(super) fn items_done(&self, node: NodeId, told: Vec<ItemTold>) {
        if self.traces.items().any() {
            for ItemTold { item, generation, spans } in told {
                self.traces.items().done(&Item { node, item, generation }, spans);
            }
        }
    }

    /// It is stored what became of items.
    pub(super) fn items_stored(&self, node: NodeId, name: &str, states: &[ItemState]) {
        if !self.traces.items().any() {
            return;
        }
        for state in states {
            let (Some(attempted), Some(outcome)) = (&state.attempted, state.outcome) else { continue };
            let item = Item { node, item: state.item.clone(), generation: attempted.generation };
            self.traces.items().stored(&item, name, word(outcome), outcome.is_refusal());
        }
    }

    /// It is stored that items are on their host no more.
    pub(super) fn items_gone(&self, node: NodeId, name: &str, gone: &[ItemName]) {
        if self.traces.items().any() {
            gone.iter().for_each(|item| self.traces.items().gone(node, item, name));
        }
    }

    fn named(&self, id: NodeId) -> By {
        let name = self.fleet.with(id, |entry| entry.node.display_name.clone()).unwrap_or_default();
        By::Node { id, name }
    }

    /// Sets which part of the calls is traced, for all replicas. `None`: what their
    /// configurations say.
    ///
    /// # Errors
    /// If it is no part of a whole.
    pub async fn set_trace_sampling(&self, actor: &Actor, ratio: Option<f64>) -> Result<(), Error> {
        if let Some(ratio) = ratio.filter(|ratio| !(0.0..=1.0).contains(ratio)) {
            let message = format!("it is {ratio}; it must be from 0 to 1");
            return Err(Error::invalid("ratio", message));
        }
        self.commit(actor.stamp("system.set-trace-sampling", self.clock.now()), move |tx| {
            let before = tx.trace_sampling()?;
            if before == ratio {
                return Ok(());
            }
            tx.trace_sampling_set(ratio)?;
            let shown = |ratio: Option<f64>| json!({ "ratio": ratio }).to_string();
            let (before, after) = (shown(before), shown(ratio));
            Ok(tx.audit(Note { subject: "system/traces".to_owned(), before, after, denied: false })?)
        })
        .await
    }

    /// Reads which part of the calls is traced.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn reload_trace_sampling(&self) -> Result<(), Error> {
        let set = self.store.read_own(|tx| Ok::<_, Error>(tx.trace_sampling()?)).await?;
        self.traces.sample(set);
        Ok(())
    }
}

fn operation_span(asked: Context, id: OperationId) -> SpanId {
    SpanId::of(&asked.trace, &format!("operation/{id}"))
}

fn command_span(asked: Context, id: muster_common::ids::CommandId) -> SpanId {
    SpanId::of(&asked.trace, &format!("command/{id}"))
}

/// A write for a call is over.
pub(super) fn write_ended(part: Part, error: Option<&Error>) {
    let error = match error {
        None => "",
        Some(Error::Store(_)) => "store",
        Some(_) => "refused",
    };
    part.end(error, Vec::new());
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Unchanged => "unchanged",
        Outcome::RolledBack => "rolled-back",
        Outcome::Rejected => "rejected",
        Outcome::Broken => "broken",
        Outcome::Removed => "removed",
    }
}
