//! Operations: one order to many nodes.

use std::time::Duration;

use muster_common::{clock::UnixMillis, ids::OperationId};
use muster_domain::{
    command::State,
    operation::{Counts, Operation, Plan},
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

macro_rules! operations {
    ($rest:literal) => {
        concat!(
            "SELECT id, selector, kind, args, request_id, request_sha256, created_by, created_at, not_before, \
             deliver_by, run_timeout_ms, cancel_requested, ended_at, total, trace_id, lane, \
             output_limit, schedule, plan, retry_of, cancel_forced, traceparent FROM operations ",
            $rest
        )
    };
}

/// Reads operations.
pub trait ReadOperations: Reader {
    /// One operation.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_get(&mut self, id: OperationId) -> Result<Option<Operation>, Error> {
        self.row(operations!("WHERE id = $1"), params![id], decode)
    }

    /// The operation a caller has made under its own id of the request.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_by_request(
        &mut self,
        created_by: &str,
        request_id: &str,
    ) -> Result<Option<Operation>, Error> {
        let sql = operations!("WHERE created_by = $1 AND request_id = $2");
        self.row(sql, params![created_by, request_id], decode)
    }

    /// The newest operation with a supersede key.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_newest_with_key(&mut self, key: &str) -> Result<Option<OperationId>, Error> {
        let sql = "SELECT id FROM operations WHERE supersede_key = $1 ORDER BY id DESC LIMIT 1";
        self.row(sql, params![key], |row| row.parsed("operation id"))
    }

    /// Those with a supersede key that have not ended, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_open_with_key(&mut self, key: &str) -> Result<Vec<OperationId>, Error> {
        let sql = "SELECT id FROM operations WHERE supersede_key = $1 AND ended_at IS NULL ORDER BY id";
        self.rows(sql, params![key], |row| row.parsed("operation id"))
    }

    /// How an operation goes about it.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_plan(&mut self, id: OperationId) -> Result<Option<Plan>, Error> {
        let sql = "SELECT plan FROM operations WHERE id = $1";
        self.row(sql, params![id], |row| Ok(row.opt_json("plan")?.unwrap_or_default()))
    }

    /// One page of them, newest first.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_list(&mut self, page: &Page) -> Result<Listed<Operation>, Error> {
        let sql = operations!("WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let rows = self.rows(sql, params![page::before(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |operation| operation.id.to_string()))
    }

    /// All that have not ended, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_open_all(&mut self) -> Result<Vec<Operation>, Error> {
        self.rows(operations!("WHERE ended_at IS NULL ORDER BY id"), &[], decode)
    }

    /// How many of its commands are in each state.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_counts(&mut self, id: OperationId) -> Result<Counts, Error> {
        let sql = "SELECT state, COUNT(*) FROM commands WHERE operation_id = $1 GROUP BY state";
        let rows = self.rows(sql, params![id], |row| {
            Ok((row.word("command state", State::parse)?, row.u32("count of commands")?))
        })?;
        let mut counts = Counts::default();
        for (state, count) in rows {
            counts.add(state, count);
        }
        Ok(counts)
    }

    /// When the oldest of the newest `count` that ended did. `None`: there are no more.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_newest_since(&mut self, count: u64) -> Result<Option<UnixMillis>, Error> {
        const SQL: &str = "SELECT ended_at FROM operations WHERE ended_at IS NOT NULL \
                           ORDER BY ended_at DESC LIMIT 1 OFFSET $1";
        self.row(SQL, params![count.saturating_sub(1)], |row| row.millis("ended_at"))
    }

    /// How many more bytes of output are kept of an operation.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_output_room(&mut self, id: OperationId) -> Result<u64, Error> {
        const SQL: &str = "SELECT output_limit, output_bytes FROM operations WHERE id = $1";
        let room = self.row(SQL, params![id], |row| {
            Ok(row.u64("output_limit")?.saturating_sub(row.u64("output_bytes")?))
        })?;
        Ok(room.unwrap_or(0))
    }
}

/// Writes operations.
pub trait WriteOperations: ReadOperations + Writer {
    /// Adds an operation.
    ///
    /// # Errors
    /// If its id is there already, or its caller has used its request id before, or the store fails.
    fn operation_insert(&mut self, operation: &Operation) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO operations (id, selector, kind, args, request_id, request_sha256, created_by, \
                           created_at, not_before, deliver_by, run_timeout_ms, cancel_requested, ended_at, total, \
                           trace_id, lane, output_limit, schedule, plan, lease, supersede_key, retry_of, \
                           cancel_forced, traceparent) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
                           $19, $20, $21, $22, $23, $24)";
        self.needs_audit("an operation");
        self.changed(ChangeKind::Operation, operation.id.to_string());
        let run_timeout_ms = i64::try_from(operation.run_timeout.as_millis()).unwrap_or(i64::MAX);
        let plan = (operation.plan != Plan::default()).then(|| json(&operation.plan));
        let row = params![
            operation.id,
            &operation.selector,
            &operation.kind,
            &operation.args,
            operation.request_id.as_ref(),
            &operation.request_sha256,
            &operation.created_by,
            operation.created_at,
            operation.not_before,
            operation.deliver_by,
            run_timeout_ms,
            operation.cancel_requested,
            operation.ended_at,
            operation.total,
            &operation.trace_id,
            &operation.lane,
            operation.output_limit,
            &operation.schedule,
            plan,
            operation.plan.lease.as_ref(),
            operation.plan.supersede.as_ref().map(|it| &it.key),
            operation.retry_of,
            operation.cancel_forced,
            &operation.traceparent,
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Someone wants it stopped. Whether this call was the first to say so;
    /// its commands are written by the caller.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_set_cancel(&mut self, id: OperationId) -> Result<bool, Error> {
        let sql = "UPDATE operations SET cancel_requested = 1 WHERE id = $1 AND cancel_requested = 0";
        let changed = self.execute(sql, params![id])? > 0;
        if changed {
            self.needs_audit("an operation");
            self.changed(ChangeKind::Operation, id.to_string());
        }
        Ok(changed)
    }

    /// Someone wants it stopped at once. Whether this call was the first to say so;
    /// its commands are written by the caller.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_set_forced(&mut self, id: OperationId) -> Result<bool, Error> {
        let sql = "UPDATE operations SET cancel_requested = 1, cancel_forced = 1 WHERE id = $1 AND cancel_forced = 0";
        let changed = self.execute(sql, params![id])? > 0;
        if changed {
            self.needs_audit("an operation");
            self.changed(ChangeKind::Operation, id.to_string());
        }
        Ok(changed)
    }

    /// Its last command has ended. Follows from reports, so it needs no audit
    /// entry. Whether it was open before.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_set_ended(&mut self, id: OperationId, at: UnixMillis) -> Result<bool, Error> {
        let sql = "UPDATE operations SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL";
        let changed = self.execute(sql, params![at, id])? > 0;
        if changed {
            self.changed(ChangeKind::Operation, id.to_string());
        }
        Ok(changed)
    }

    /// So many more are kept from now on. Follows from reports, so it needs no audit
    /// entry, and nobody waits for it.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_set_output_room(&mut self, id: OperationId, room: u64) -> Result<(), Error> {
        let sql = "UPDATE operations SET output_bytes = output_limit - $1 WHERE id = $2";
        self.execute(sql, params![room, id]).map(drop)
    }

    /// Takes away operations that ended before a time, the oldest first, with
    /// their commands and output: at most `step` commands, and as many
    /// operations without any. Answers how many of both went. What the audit
    /// says of them stays.
    ///
    /// # Errors
    /// If the store fails.
    fn operation_prune(&mut self, before: UnixMillis, step: u64) -> Result<u64, Error> {
        const COMMANDS: &str = "DELETE FROM commands WHERE id IN (SELECT commands.id FROM operations \
                                JOIN commands ON commands.operation_id = operations.id \
                                WHERE operations.ended_at < $1 ORDER BY operations.ended_at LIMIT $2)";
        const EMPTY: &str = "SELECT id FROM operations WHERE ended_at < $1 AND NOT EXISTS \
                             (SELECT 1 FROM commands WHERE operation_id = operations.id) \
                             ORDER BY ended_at LIMIT $2";
        let mut gone = self.execute(COMMANDS, params![before, step])?;
        let empty: Vec<OperationId> =
            self.rows(EMPTY, params![before, step], |row| row.parsed("operation id"))?;
        for id in empty {
            self.changed(ChangeKind::Operation, id.to_string());
            gone += self.execute("DELETE FROM operations WHERE id = $1", params![id])?;
        }
        Ok(gone)
    }
}

fn decode(row: &mut Row) -> Result<Operation, Error> {
    Ok(Operation {
        id: row.parsed("operation id")?,
        selector: row.text("selector")?,
        kind: row.text("operation kind")?,
        args: row.bytes("operation args")?,
        request_id: row.opt_text("request_id")?,
        request_sha256: row.bytes("request hash")?,
        created_by: row.text("created_by")?,
        created_at: row.millis("created_at")?,
        not_before: row.opt_millis("not_before")?,
        deliver_by: row.millis("deliver_by")?,
        run_timeout: Duration::from_millis(row.u64("run_timeout_ms")?),
        cancel_requested: row.bool("cancel_requested")?,
        ended_at: row.opt_millis("ended_at")?,
        total: row.u32("total")?,
        trace_id: row.text("trace_id")?,
        lane: row.text("lane")?,
        output_limit: row.u64("output_limit")?,
        schedule: row.text("schedule")?,
        plan: row.opt_json("plan")?.unwrap_or_default(),
        retry_of: row.opt_parsed("id of the operation it repeats")?,
        cancel_forced: row.bool("cancel_forced")?,
        traceparent: row.text("traceparent")?,
    })
}

impl ReadOperations for ReadTx<'_> {}
impl ReadOperations for WriteTx<'_> {}
impl WriteOperations for WriteTx<'_> {}
