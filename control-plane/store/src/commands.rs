//! Commands and their output.

use muster_common::{
    clock::UnixMillis,
    ids::{CommandId, NodeId, OperationId},
};
use muster_domain::{
    command::{Command, Output, State},
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

macro_rules! commands {
    ($rest:literal) => {
        concat!(
            "SELECT id, operation_id, node_id, state, exit_code, signal, reason, message, result, cancel_requested, \
             report_seq, output_bytes, dropped_bytes, created_at, updated_at, ended_at, deliver_by, stderr_bytes, \
             cancel_forced, retry_of FROM commands ",
            $rest
        )
    };
}

/// Where a piece of output lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputPlace {
    /// Its number.
    pub seq: u64,
    /// Place in its stream.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// Reads commands.
pub trait ReadCommands: Reader {
    /// One command.
    ///
    /// # Errors
    /// If the store fails.
    fn command_get(&mut self, id: CommandId) -> Result<Option<Command>, Error> {
        self.row(commands!("WHERE id = $1"), params![id], decode)
    }

    /// One page of an operation's commands, by id.
    ///
    /// # Errors
    /// If the store fails.
    fn command_list(&mut self, operation: OperationId, page: &Page) -> Result<Listed<Command>, Error> {
        let sql = commands!("WHERE operation_id = $1 AND id > $2 ORDER BY id LIMIT $3");
        let rows = self.rows(sql, params![operation, page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |command| command.id.to_string()))
    }

    /// The node and the state of each of an operation's commands, by id.
    ///
    /// # Errors
    /// If the store fails.
    fn command_places(&mut self, operation: OperationId) -> Result<Vec<(NodeId, State)>, Error> {
        let sql = "SELECT node_id, state FROM commands WHERE operation_id = $1 ORDER BY id";
        self.rows(sql, params![operation], |row| {
            Ok((row.parsed("node id")?, row.word("command state", State::parse)?))
        })
    }

    /// A node's commands that have not ended, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn command_open_for_node(&mut self, node: NodeId) -> Result<Vec<Command>, Error> {
        let sql = commands!("WHERE node_id = $1 AND state IN ('queued', 'delivered', 'running') ORDER BY id");
        self.rows(sql, params![node], decode)
    }

    /// All commands that have not ended, by node, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn command_open_all(&mut self) -> Result<Vec<Command>, Error> {
        let sql = commands!("WHERE state IN ('queued', 'delivered', 'running') ORDER BY node_id, id");
        self.rows(sql, &[], decode)
    }

    /// Commands that were not delivered in time, the longest overdue first.
    ///
    /// # Errors
    /// If the store fails.
    fn command_due(&mut self, now: UnixMillis) -> Result<Vec<Command>, Error> {
        let sql = commands!("WHERE state = 'queued' AND deliver_by <= $1 ORDER BY deliver_by, id");
        self.rows(sql, params![now], decode)
    }

    /// Commands that were delivered, and whose hosts ought to have said how they
    /// ended before `then`: they could start until their latest time for
    /// delivery, and run for as long as their operation says.
    ///
    /// # Errors
    /// If the store fails.
    fn command_unanswered(&mut self, then: UnixMillis) -> Result<Vec<Command>, Error> {
        // The first condition is that of the index of open commands, word for word.
        let sql = commands!(
            "WHERE state IN ('queued', 'delivered', 'running') AND state <> 'queued' \
             AND deliver_by + (SELECT run_timeout_ms FROM operations WHERE operations.id = operation_id) <= $1 \
             ORDER BY deliver_by, id"
        );
        self.rows(sql, params![then], decode)
    }

    /// How many commands have not ended.
    ///
    /// # Errors
    /// If the store fails.
    fn command_count_open(&mut self) -> Result<u64, Error> {
        let sql = "SELECT COUNT(*) FROM commands WHERE state IN ('queued', 'delivered', 'running')";
        Ok(self.row(sql, &[], |row| row.u64("count of commands"))?.unwrap_or(0))
    }

    /// The commands of an operation that have not ended, by id.
    ///
    /// # Errors
    /// If the store fails.
    fn command_of_operation_open(&mut self, operation: OperationId) -> Result<Vec<Command>, Error> {
        let sql =
            commands!("WHERE operation_id = $1 AND state IN ('queued', 'delivered', 'running') ORDER BY id");
        self.rows(sql, params![operation], decode)
    }

    /// The commands of an operation that ended in one of these states and that no other
    /// command repeats, by id.
    ///
    /// # Errors
    /// If the store fails.
    fn command_to_retry(&mut self, operation: OperationId, states: &[State]) -> Result<Vec<Command>, Error> {
        let sql = commands!(
            "WHERE operation_id = $1 AND NOT EXISTS \
             (SELECT 1 FROM commands AS later WHERE later.retry_of = commands.id) ORDER BY id"
        );
        let mut commands = self.rows(sql, params![operation], decode)?;
        commands.retain(|command| command.state.is_end() && states.contains(&command.state));
        Ok(commands)
    }

    /// At most so many pieces of a command's output after one, in order.
    ///
    /// # Errors
    /// If the store fails.
    fn output_list(&mut self, command: CommandId, after_seq: u64, limit: u32) -> Result<Vec<Output>, Error> {
        const SQL: &str = "SELECT command_id, seq, is_stderr, stream_offset, data, dropped_bytes \
                           FROM command_output WHERE command_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        self.rows(SQL, params![command, after_seq, limit], decode_output)
    }

    /// Where the pieces of one stream of a command lie, in order: the number of each,
    /// its place in its stream, and its length.
    ///
    /// # Errors
    /// If the store fails.
    fn output_places(&mut self, command: CommandId, stderr: bool) -> Result<Vec<OutputPlace>, Error> {
        const SQL: &str = "SELECT seq, stream_offset, LENGTH(data) FROM command_output \
                           WHERE command_id = $1 AND is_stderr = $2 ORDER BY seq";
        self.rows(SQL, params![command, stderr], |row| {
            Ok(OutputPlace {
                seq: row.u64("output seq")?,
                offset: row.u64("stream offset")?,
                bytes: row.u64("length of output")?,
            })
        })
    }

    /// One piece of output.
    ///
    /// # Errors
    /// If the store fails.
    fn output_get(&mut self, command: CommandId, seq: u64) -> Result<Option<Output>, Error> {
        const SQL: &str = "SELECT command_id, seq, is_stderr, stream_offset, data, dropped_bytes \
                           FROM command_output WHERE command_id = $1 AND seq = $2";
        self.row(SQL, params![command, seq], decode_output)
    }
}

/// Writes commands.
pub trait WriteCommands: ReadCommands + Writer {
    /// Adds the commands of an operation.
    ///
    /// # Errors
    /// If one is there already, or their operation is not, or the store fails.
    fn command_insert(&mut self, commands: &[Command]) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO commands (id, operation_id, node_id, state, exit_code, signal, reason, \
                           message, result, cancel_requested, report_seq, output_bytes, dropped_bytes, \
                           created_at, updated_at, ended_at, deliver_by, stderr_bytes, cancel_forced, retry_of) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
                           $19, $20)";
        for command in commands {
            self.needs_audit("a command");
            self.changed(ChangeKind::Command, command.id.to_string());
            let row = params![
                command.id,
                command.operation,
                command.node,
                command.state.as_str(),
                command.exit_code,
                command.signal,
                command.reason.map(muster_common::reason::Reason::as_str),
                &command.message,
                &command.result,
                command.cancel_requested,
                command.report_seq,
                command.output_bytes,
                command.dropped_bytes,
                command.created_at,
                command.updated_at,
                command.ended_at,
                command.deliver_by,
                command.stderr_bytes,
                command.cancel_forced,
                command.retry_of,
            ];
            self.put(SQL, row)?;
        }
        Ok(())
    }

    /// Writes where a command is now. What hosts report has rows of its own, so
    /// it needs no audit entry; who asks a command to stop writes one. Whether
    /// there is such a command.
    ///
    /// # Errors
    /// If the store fails.
    fn command_put(&mut self, command: &Command) -> Result<bool, Error> {
        const SQL: &str = "UPDATE commands SET state = $1, exit_code = $2, signal = $3, reason = $4, message = $5, \
                           result = $6, cancel_requested = $7, report_seq = $8, output_bytes = $9, \
                           dropped_bytes = $10, updated_at = $11, ended_at = $12, stderr_bytes = $13, \
                           cancel_forced = $14 WHERE id = $15";
        let row = params![
            command.state.as_str(),
            command.exit_code,
            command.signal,
            command.reason.map(muster_common::reason::Reason::as_str),
            &command.message,
            &command.result,
            command.cancel_requested,
            command.report_seq,
            command.output_bytes,
            command.dropped_bytes,
            command.updated_at,
            command.ended_at,
            command.stderr_bytes,
            command.cancel_forced,
            command.id,
        ];
        let found = self.execute(SQL, row)? > 0;
        if found {
            self.changed(ChangeKind::Command, command.id.to_string());
        }
        Ok(found)
    }

    /// Appends a piece of output. Its place in its stream is found here, not
    /// taken from the piece; a piece that is there already stays as it is.
    ///
    /// # Errors
    /// If the store fails.
    fn output_append(&mut self, output: &Output) -> Result<(), Error> {
        const LAST: &str = "SELECT stream_offset, LENGTH(data), dropped_bytes FROM command_output \
                            WHERE command_id = $1 AND is_stderr = $2 AND seq < $3 ORDER BY seq DESC LIMIT 1";
        const SQL: &str = "INSERT INTO command_output (command_id, seq, is_stderr, stream_offset, data, \
                           dropped_bytes) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (command_id, seq) DO NOTHING";
        let stream = params![output.command, output.stderr, output.seq];
        // Added here: in SQL a sum beyond its integers becomes a float.
        let end = |row: &mut Row| {
            let (offset, length) = (row.u64("stream offset")?, row.u64("length of output")?);
            Ok(offset.saturating_add(length).saturating_add(row.u64("dropped_bytes")?))
        };
        let offset = self.row(LAST, stream, end)?.unwrap_or(0);
        let row =
            params![output.command, output.seq, output.stderr, offset, &output.data, output.dropped_bytes];
        self.put(SQL, row)
    }
}

fn decode(row: &mut Row) -> Result<Command, Error> {
    Ok(Command {
        id: row.parsed("command id")?,
        operation: row.parsed("operation id")?,
        node: row.parsed("node id")?,
        state: row.word("command state", State::parse)?,
        exit_code: row.opt_i32("exit_code")?,
        signal: row.opt_i32("signal")?,
        // A reason of a newer release is one this release does not know, no fault of the row.
        reason: row.opt_text("reason")?.as_deref().and_then(muster_common::reason::Reason::parse),
        message: row.text("message")?,
        result: row.bytes("command result")?,
        cancel_requested: row.bool("cancel_requested")?,
        report_seq: row.u64("report_seq")?,
        output_bytes: row.u64("output_bytes")?,
        dropped_bytes: row.u64("dropped_bytes")?,
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        ended_at: row.opt_millis("ended_at")?,
        deliver_by: row.millis("deliver_by")?,
        stderr_bytes: row.u64("stderr_bytes")?,
        cancel_forced: row.bool("cancel_forced")?,
        retry_of: row.opt_parsed("id of the command it repeats")?,
    })
}

fn decode_output(row: &mut Row) -> Result<Output, Error> {
    Ok(Output {
        command: row.parsed("command id")?,
        seq: row.u64("output seq")?,
        stderr: row.bool("is_stderr")?,
        offset: row.u64("stream_offset")?,
        data: row.bytes("output data")?,
        dropped_bytes: row.u64("dropped_bytes")?,
    })
}

impl ReadCommands for ReadTx<'_> {}
impl ReadCommands for WriteTx<'_> {}
impl WriteCommands for WriteTx<'_> {}
