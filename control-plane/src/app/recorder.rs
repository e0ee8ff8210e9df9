//! Writes down what nodes report, many at a time.
//!
//! What only the newest value of matters (liveness, facts, items, ledger,
//! certificate) is marked dirty on the node and read from memory when its turn
//! comes: the queue cannot outgrow the fleet. Steps of commands all matter:
//! they wait in a bounded queue, and what does not fit goes back to its session,
//! which reads no more until there is room. While the store is far behind, facts and
//! items wait: their hosts keep them until they are acknowledged.
//!
//! What cannot be written because of itself harms nobody else: it is found by
//! halving its batch, and left out.

mod apart;
mod late;
mod news;
mod promote;
mod queue;
mod steps;
mod waiting;

use std::collections::{HashMap, VecDeque};

use muster_common::{
    clock::UnixMillis,
    ids::{NodeId, OperationId},
    reason::Reason,
};
use muster_domain::{
    command::{self, Command, Event, State},
    operation::{self, Counts},
};
use muster_store::{
    ReadCommands as _, ReadOperations as _, WriteCommands as _, WriteOperations as _, WriteTx,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use queue::{Full, Refused};

use super::{
    App, Error,
    events::{self, Ends},
    fleet::{Dirty, Entry, Holder},
};
use crate::session::frames::CommandReport;
use queue::{Queue, Step};

/// Nodes written in one go. When a whole fleet answers at once, rows of the same page
/// are then mostly written together; it keeps others waiting for some 40 ms.
const NODES: usize = 2048;

/// What is to be written down.
#[derive(Default)]
pub struct Recorder {
    nodes: Mutex<VecDeque<NodeId>>,
    /// Reports that were put off.
    later: Mutex<HashMap<NodeId, Dirty>>,
    steps: Mutex<Queue>,
    wake: Notify,
}

impl Recorder {
    /// Waits until there is something to write.
    pub async fn wanted(&self) {
        self.wake.notified().await;
    }

    /// Takes a step of a command.
    ///
    /// # Errors
    /// If there is no room.
    pub fn step(&self, node: NodeId, report: CommandReport) -> Result<(), Refused> {
        self.steps.lock().push(Step { node, report })?;
        self.wake.notify_one();
        Ok(())
    }

    /// Something of this node is dirty.
    pub fn node(&self, entry: &mut Entry) {
        if !std::mem::replace(&mut entry.dirty.queued, true) {
            self.nodes.lock().push_back(entry.node.id);
            self.wake.notify_one();
        }
    }

    fn take_nodes(&self) -> Vec<NodeId> {
        let mut nodes = self.nodes.lock();
        let count = nodes.len().min(NODES);
        let mut taken: Vec<NodeId> = nodes.drain(..count).collect();
        taken.sort_unstable(); // in the order of their rows
        taken
    }
}

impl App {
    /// Writes down all that waits.
    ///
    /// # Errors
    /// If the store takes nothing now. Nodes' news wait for the next call; steps
    /// of commands are dropped and come again from their hosts.
    pub async fn record(&self) -> Result<(), Error> {
        self.take_up_reports();
        loop {
            let taken = self.recorder.take_nodes();
            let steps = self.recorder.steps.lock().take();
            if taken.is_empty() && steps.is_empty() {
                return Ok(());
            }
            let nodes = self.put_off_reports(taken);
            // Both at once: the store puts them into one transaction.
            let (nodes, steps) = tokio::join!(self.record_nodes(&nodes), self.record_steps(steps));
            nodes?;
            steps?;
        }
    }
}

/// Of a node that another replica holds nothing is to be written: that one knows more of it.
fn drop_what_others_know(entry: &mut Entry) {
    if matches!(entry.holder, Holder::Other(_)) {
        entry.dirty = Dirty { queued: entry.dirty.queued, ..Dirty::default() };
    }
}

/// What a write has ended by itself, beside what it was for.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Operations of which no command is open any more.
    pub(crate) operations: Vec<OperationId>,
    /// Commands of which their hosts have not said so.
    pub(crate) commands: Vec<Command>,
}

impl Ended {
    /// Adds those of these commands that ended.
    pub(crate) fn and(mut self, commands: impl IntoIterator<Item = Command>) -> Self {
        self.commands.extend(commands.into_iter().filter(|command| command.state.is_end()));
        self
    }

    /// Adds all of another one.
    pub(crate) fn add(&mut self, more: Self) {
        self.operations.extend(more.operations);
        self.commands.extend(more.commands);
    }
}

/// Ends what follows from the ends of commands: what is queued of operations that have
/// failed too often, and operations of which no command is open any more.
pub(crate) fn end_operations(
    tx: &mut WriteTx<'_>,
    candidates: Vec<OperationId>,
    now: UnixMillis,
) -> Result<Ended, Error> {
    let mut ended = Ended::default();
    for id in candidates {
        let mut counts = tx.operation_counts(id)?;
        if counts.get(State::Queued) > 0 && counts.failures() > 0 {
            ended.commands.extend(stop_if_spent(tx, id, &mut counts, now)?);
        }
        if operation::is_ended(&counts) {
            if tx.operation_set_ended(id, now)? {
                events::tell(tx, events::operation_over(id, &counts))?;
            }
            ended.operations.push(id);
        }
    }
    Ok(ended)
}

/// In the write of the failure itself: after a crash nobody would come to look. Answers what it ended.
fn stop_if_spent(
    tx: &mut WriteTx<'_>,
    id: OperationId,
    counts: &mut Counts,
    now: UnixMillis,
) -> Result<Vec<Command>, Error> {
    let mut withdrawn = Vec::new();
    let Some(plan) = tx.operation_plan(id)?.filter(|plan| plan.pacing.is_spent(counts)) else {
        return Ok(withdrawn);
    };
    let borne = plan.pacing.max_failures.map_or(0, |borne| borne.of(counts.total() as usize));
    let message = format!("{} commands of the operation failed; it bears {borne}", counts.failures());
    let (event, mut ends) = (Event::Withdrawn(Reason::ErrorBudgetSpent, message), Ends::default());
    for before in tx.command_of_operation_open(id)? {
        if let Ok(after) = command::apply(&before, &event, now)
            && after != before
        {
            tx.command_put(&after)?;
            ends.saw(before.state, &after);
            counts.shift(before.state, after.state, 1);
            withdrawn.push(after);
        }
    }
    ends.tell(tx)?;
    Ok(withdrawn)
}
