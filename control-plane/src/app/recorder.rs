//! Writes down what nodes report, many at a time.
//!
//! What only the newest value of matters (liveness, facts, items, ledger,
//! certificate) is marked dirty on the node and read from memory when its turn
//! comes: the queue cannot outgrow the fleet. Steps of commands all matter:
//! they wait in a bounded queue, and what does not fit is not acknowledged, so
//! the host sends it again.

use std::collections::{HashMap, VecDeque};

use muster_common::{
    clock::UnixMillis,
    ids::{CommandId, NodeId, OperationId},
};
use muster_domain::{
    command::{self, Command, Event, Output},
    item::{ItemName, ItemState},
    node::Node,
    operation,
};
use muster_store::{
    ReadCommands as _, ReadOperations as _, WriteCommands as _, WriteNodes as _, WriteOperations as _,
    WriteTx,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{App, Error, fleet::Dirty};
use crate::session::frames::{CommandAck, CommandReport};

/// Nodes written in one go.
const NODES: usize = 512;
/// Steps written in one go.
const STEPS: usize = 512;
/// Steps that wait.
const QUEUE: usize = 8192;

/// What is to be written down.
#[derive(Default)]
pub struct Recorder {
    nodes: Mutex<VecDeque<NodeId>>,
    steps: Mutex<VecDeque<Step>>,
    wake: Notify,
}

/// A step of a command, and who said so.
struct Step {
    node: NodeId,
    report: CommandReport,
}

impl Recorder {
    /// Waits until there is something to write.
    pub async fn wanted(&self) {
        self.wake.notified().await;
    }

    /// Takes a step of a command. `false`: no room; it is not acknowledged.
    pub fn step(&self, node: NodeId, report: CommandReport) -> bool {
        let mut steps = self.steps.lock();
        let room = steps.len() < QUEUE;
        if room {
            steps.push_back(Step { node, report });
            self.wake.notify_one();
        }
        room
    }

    /// Something of this node is dirty.
    pub fn node(&self, dirty: &mut Dirty, node: NodeId) {
        if !std::mem::replace(&mut dirty.queued, true) {
            self.nodes.lock().push_back(node);
            self.wake.notify_one();
        }
    }

    fn take_nodes(&self) -> Vec<NodeId> {
        let mut nodes = self.nodes.lock();
        let count = nodes.len().min(NODES);
        nodes.drain(..count).collect()
    }

    fn take_steps(&self) -> Vec<Step> {
        let mut steps = self.steps.lock();
        let count = steps.len().min(STEPS);
        steps.drain(..count).collect()
    }
}

/// One node's news, as they go to the store.
struct News {
    node: Node,
    dirty: Dirty,
    upserts: Vec<ItemState>,
    gone: Vec<ItemName>,
}

impl App {
    /// Writes down all that waits.
    ///
    /// # Errors
    /// If the store fails. Nodes' news wait for the next call; steps of commands
    /// are dropped and come again from their hosts.
    pub async fn record(&self) -> Result<(), Error> {
        loop {
            let nodes = self.recorder.take_nodes();
            let steps = self.recorder.take_steps();
            if nodes.is_empty() && steps.is_empty() {
                return Ok(());
            }
            // Both at once: the store puts them into one transaction.
            let (nodes, steps) = tokio::join!(self.record_nodes(&nodes), self.record_steps(steps));
            nodes?;
            steps?;
        }
    }

    async fn record_nodes(&self, nodes: &[NodeId]) -> Result<(), Error> {
        let news: Vec<News> =
            nodes.iter().filter_map(|id| self.fleet.with(*id, |mut e| news(&mut e))).collect();
        if news.is_empty() {
            return Ok(());
        }
        let news = std::sync::Arc::new(news);
        let rows = std::sync::Arc::clone(&news);
        let written = self
            .store
            .write(self.own_stamp("nodes.report"), move |tx| {
                let written: Result<Vec<u64>, Error> = rows.iter().map(|news| write_news(tx, news)).collect();
                written
            })
            .await;
        match written {
            Ok(committed) => {
                muster_common::crash::point("app.record.before-ack");
                for (news, revision) in news.iter().zip(committed.value) {
                    self.recorded(news, revision);
                }
                Ok(())
            }
            Err(error) => {
                news.iter().for_each(|news| self.unrecorded(news));
                Err(error)
            }
        }
    }

    fn recorded(&self, news: &News, revision: u64) {
        self.metrics.reports_stored(1);
        if news.dirty.facts.is_some_and(|can_tell| can_tell.0) {
            self.fleet.with(news.node.id, |mut entry| entry.node.selector_revision = revision);
            if let Some(session) = self.hub.get(news.node.id) {
                session.hint_desired();
            }
        }
        if news.dirty.items_seq > 0
            && let Some(session) = self.hub.get(news.node.id)
        {
            session.ack_items(news.dirty.items_seq);
        }
    }

    fn unrecorded(&self, news: &News) {
        self.fleet.with(news.node.id, |mut entry| {
            let dirty = &mut entry.dirty;
            dirty.liveness |= news.dirty.liveness;
            dirty.ledger |= news.dirty.ledger;
            dirty.certificate |= news.dirty.certificate;
            dirty.trust_bundle |= news.dirty.trust_bundle;
            dirty.quarantine |= news.dirty.quarantine;
            dirty.facts = dirty.facts.or(news.dirty.facts);
            dirty.items_seq = dirty.items_seq.max(news.dirty.items_seq);
            let lost = news.dirty.items.iter().filter(|item| !dirty.items.contains(item)).cloned();
            let lost: Vec<ItemName> = lost.collect();
            dirty.items.extend(lost);
            self.recorder.node(dirty, news.node.id);
        });
    }

    async fn record_steps(&self, steps: Vec<Step>) -> Result<(), Error> {
        if steps.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let limit = self.fixed.output_limit;
        let committed = self
            .store
            .write(self.own_stamp("commands.report"), move |tx| write_steps(tx, &steps, now, limit))
            .await?;
        muster_common::crash::point("app.record.before-ack");
        let written = committed.value;
        for (node, ack) in written.strangers {
            if let Some(session) = self.hub.get(node) {
                session.ack_command(ack);
            }
        }
        for (command, ack) in written.acks {
            self.fleet.with(command.node, |mut entry| {
                entry.moved(command.id, command.state, command.cancel_requested);
            });
            if let Some(session) = self.hub.get(command.node) {
                session.ack_command(ack);
            }
        }
        self.close_operations(&written.ended);
        Ok(())
    }
}

fn news(entry: &mut super::fleet::Entry) -> News {
    let dirty = std::mem::take(&mut entry.dirty);
    let (mut upserts, mut gone) = (Vec::new(), Vec::new());
    for item in &dirty.items {
        match entry.reported(item) {
            Some(state) => upserts.push(state.clone()),
            None => gone.push(item.clone()),
        }
    }
    News { node: entry.node.clone(), dirty, upserts, gone }
}

fn write_news(tx: &mut WriteTx<'_>, news: &News) -> Result<u64, Error> {
    let (node, dirty) = (&news.node, &news.dirty);
    if dirty.liveness {
        tx.node_set_liveness(node.id, &node.liveness)?;
    }
    if let (true, Some(ledger)) = (dirty.ledger, node.ledger) {
        tx.node_set_ledger(node.id, ledger)?;
    }
    if let Some(can_tell) = dirty.facts {
        tx.node_set_facts(node.id, &node.facts, &node.facts_sha256, can_tell.0)?;
    }
    if dirty.certificate {
        tx.node_set_certificate(node.id, &node.certificate)?;
    }
    if dirty.trust_bundle {
        tx.node_set_trust_bundle(node.id, node.trust_bundle_version)?;
    }
    if let (true, Some(quarantine)) = (dirty.quarantine, &node.quarantine) {
        tx.node_set_quarantine(node.id, Some(quarantine), None)?;
        tx.audit(super::quarantine::note(node.id, quarantine, ""))?;
    }
    if !dirty.items.is_empty() {
        tx.node_set_items(node.id, &news.upserts, &news.gone)?;
    }
    Ok(tx.revision())
}

/// What became of a batch of steps.
struct Written {
    acks: Vec<(Command, CommandAck)>,
    strangers: Vec<(NodeId, CommandAck)>,
    ended: Vec<OperationId>,
}

fn write_steps(tx: &mut WriteTx<'_>, steps: &[Step], now: UnixMillis, limit: u64) -> Result<Written, Error> {
    let mut commands: HashMap<CommandId, (Command, CommandAck)> = HashMap::new();
    let mut strangers = Vec::new();
    for step in steps {
        let id = step.report.command;
        let known = match commands.remove(&id) {
            Some(known) => Some(known),
            None => tx.command_get(id)?.map(|command| {
                let ack = CommandAck { command: id, seq: command.report_seq, credit: 0 };
                (command, ack)
            }),
        };
        let Some((command, ack)) = known.filter(|(command, _)| command.node == step.node) else {
            // No order of this node, or none any more: nothing is written, and the host may forget.
            strangers.push((step.node, CommandAck { command: id, seq: step.report.seq, credit: 0 }));
            continue;
        };
        commands.insert(id, write_step(tx, command, ack, &step.report, now, limit)?);
    }
    let mut ended = Vec::new();
    for (command, _) in commands.values() {
        if command.state.is_end() && !ended.contains(&command.operation) {
            ended.push(command.operation);
        }
    }
    let ended = end_operations(tx, ended, now)?;
    Ok(Written { acks: commands.into_values().collect(), strangers, ended })
}

fn write_step(
    tx: &mut WriteTx<'_>,
    before: Command,
    mut ack: CommandAck,
    report: &CommandReport,
    now: UnixMillis,
    limit: u64,
) -> Result<(Command, CommandAck), Error> {
    let event = Event::Reported(command::Report {
        seq: report.seq,
        state: report.state,
        exit_code: Some(report.exit_code),
        signal: (report.signal != 0).then_some(report.signal),
        reason: report.reason,
        message: report.message.clone(),
        output_bytes: 0,
        dropped_bytes: 0,
    });
    let mut after = match command::apply(&before, &event, now) {
        Ok(after) => after,
        Err(refused) => {
            tracing::debug!(command = %before.id, %refused, "a report about command {} was refused", before.id);
            return Ok((before, ack));
        }
    };
    if let Some(chunk) = report.output.as_ref().filter(|_| after.report_seq > before.report_seq) {
        let keep = usize::try_from(limit.saturating_sub(after.output_bytes)).unwrap_or(usize::MAX);
        let kept = &chunk.data[..chunk.data.len().min(keep)];
        let dropped = chunk.dropped_bytes + (chunk.data.len() - kept.len()) as u64;
        tx.output_append(&Output {
            command: after.id,
            seq: report.seq,
            stderr: chunk.stderr,
            offset: 0, // the store knows where the stream ends
            data: kept.to_vec(),
            dropped_bytes: dropped,
        })?;
        after.output_bytes += kept.len() as u64;
        after.dropped_bytes += dropped;
        ack.credit = ack.credit.saturating_add(u32::try_from(chunk.data.len()).unwrap_or(u32::MAX));
    }
    if after != before {
        tx.command_put(&after)?;
    }
    ack.seq = after.report_seq;
    Ok((after, ack))
}

/// Ends those operations of which no command is open any more.
pub(crate) fn end_operations(
    tx: &mut WriteTx<'_>,
    candidates: Vec<OperationId>,
    now: UnixMillis,
) -> Result<Vec<OperationId>, Error> {
    let mut ended = Vec::new();
    for id in candidates {
        if operation::is_ended(&tx.operation_counts(id)?) {
            tx.operation_set_ended(id, now)?;
            ended.push(id);
        }
    }
    Ok(ended)
}
