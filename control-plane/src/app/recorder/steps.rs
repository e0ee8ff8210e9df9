//! Steps of commands, into the store.

mod output;

use std::collections::HashMap;

use muster_common::{
    clock::UnixMillis,
    error_chain::Chain,
    ids::{CommandId, NodeId},
};
use muster_domain::command::{self, Command, Event};
use muster_store::{ReadCommands as _, ReadOperations as _, WriteCommands as _, WriteTx};

use output::Rooms;

use super::{
    Ended,
    apart::{Became, write_apart},
    end_operations,
    queue::Step,
};
use crate::{
    app::{App, Error, events::Ends},
    session::frames::{CommandAck, CommandReport},
    traces::Told,
};

/// What became of a batch of steps.
struct Written {
    acks: Vec<(Command, CommandAck)>,
    strangers: Vec<(NodeId, CommandAck)>,
    ended: Ended,
    /// Orders that ended now, and what their hosts did for them.
    ends: Vec<(Command, Vec<Told>)>,
}

impl App {
    /// Writes steps down; one that cannot be written is dropped.
    ///
    /// # Errors
    /// If the store takes nothing at all now.
    pub(super) async fn record_steps(&self, steps: Vec<Step>) -> Result<(), Error> {
        let became = |became| match became {
            Became::Written(_, written) => self.stored(written),
            Became::Refused(Step { node, report }, error) => {
                let (command, seq, error) = (report.command, report.seq, Chain(&error));
                tracing::warn!(
                    %node, %command, seq, %error,
                    "report {seq} of node {node} about command {command} cannot be stored; it was dropped"
                );
            }
        };
        write_apart(steps, |steps| self.write_steps(steps), became).await.map_err(|left| left.error)
    }

    async fn write_steps(&self, steps: Vec<Step>) -> Result<Written, Error> {
        let now = self.clock.now();
        let limit = self.fixed.output_limit;
        let write = self
            .store
            .write(self.own_stamp("commands.report"), move |tx| write_steps(tx, &steps, now, limit));
        Ok(write.await?.value)
    }

    fn stored(&self, written: Written) {
        muster_common::crash::point("app.record.before-ack");
        for (node, ack) in written.strangers {
            if let Some(session) = self.hub.get(node) {
                session.ack_command(ack);
            }
        }
        for (command, ack) in written.acks {
            self.fleet.with(command.node, |mut entry| {
                self.count_end(&entry, &command);
                entry.moved(command.id, command.state, command.cancel_requested);
            });
            if let Some(session) = self.hub.get(command.node) {
                session.ack_command(ack);
            }
        }
        for (command, told) in written.ends {
            self.command_ended(&command, told);
        }
        self.all_ended(&written.ended);
    }
}

fn write_steps(tx: &mut WriteTx<'_>, steps: &[Step], now: UnixMillis, limit: u64) -> Result<Written, Error> {
    let mut commands: HashMap<CommandId, (Command, CommandAck)> = HashMap::new();
    let (mut strangers, mut ends, mut seen) = (Vec::new(), Vec::new(), Ends::default());
    let mut rooms = Rooms::new(limit);
    for step in steps {
        let id = step.report.command;
        let is_of = |command: &Command| command.node == step.node;
        let known = match commands.get(&id) {
            // It stays as its own node's reports have left it.
            Some((command, _)) if !is_of(command) => None,
            Some(_) => commands.remove(&id),
            None => tx.command_get(id)?.filter(is_of).map(|command| {
                let ack = CommandAck { command: id, seq: command.report_seq, credit: 0 };
                (command, ack)
            }),
        };
        let Some((command, ack)) = known else {
            // No order of this node, or none any more: nothing is written, and the host may forget.
            strangers.push((step.node, CommandAck { command: id, seq: step.report.seq, credit: 0 }));
            continue;
        };
        let before = command.state;
        let (after, ack) = write_step(tx, command, ack, &step.report, now, &mut rooms)?;
        seen.saw(before, &after);
        if !before.is_end() && after.state.is_end() {
            ends.push((after.clone(), step.report.spans.clone()));
        }
        commands.insert(id, (after, ack));
    }
    rooms.write(tx)?;
    let mut ended = Vec::new();
    for (command, _) in commands.values() {
        if command.state.is_end() && !ended.contains(&command.operation) {
            ended.push(command.operation);
        }
    }
    seen.tell(tx)?;
    let ended = end_operations(tx, ended, now)?;
    Ok(Written { acks: commands.into_values().collect(), strangers, ended, ends })
}

fn write_step(
    tx: &mut WriteTx<'_>,
    before: Command,
    mut ack: CommandAck,
    report: &CommandReport,
    now: UnixMillis,
    rooms: &mut Rooms,
) -> Result<(Command, CommandAck), Error> {
    let event = Event::Reported(command::Report {
        seq: report.seq,
        state: report.state,
        exit_code: Some(report.exit_code),
        signal: (report.signal != 0).then_some(report.signal),
        reason: report.reason,
        message: report.message.clone(),
        result: result_of(tx, &before, report)?,
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
        rooms.keep(tx, &mut after, report.seq, chunk)?;
        ack.credit = ack.credit.saturating_add(u32::try_from(chunk.data.len()).unwrap_or(u32::MAX));
    }
    if after != before {
        tx.command_put(&after)?;
    }
    ack.seq = after.report_seq;
    Ok((after, ack))
}

/// What a command keeps as its result: only what its kind can find. A host must not put
/// another answer before whoever asked.
fn result_of(tx: &mut WriteTx<'_>, command: &Command, report: &CommandReport) -> Result<Vec<u8>, Error> {
    let Some(found) = &report.result else { return Ok(Vec::new()) };
    let asked = tx.operation_get(command.operation)?;
    let fits = asked.is_some_and(|asked| asked.kind == found.kind);
    Ok(if fits { found.bytes.clone() } else { Vec::new() })
}
