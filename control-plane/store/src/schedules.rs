//! Operations that start by themselves.

use std::time::Duration;

use muster_common::{clock::UnixMillis, ids::OperationId};
use muster_domain::{
    page::{Listed, Page},
    schedule::{Fire, Outcome, Schedule},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

macro_rules! schedules {
    ($rest:literal) => {
        concat!(
            "SELECT name, cron, time_zone, operation, paused, catch_up_ms, overlap, owner, created_at, \
             updated_at, since, traceparent, revision FROM schedules ",
            $rest
        )
    };
}

/// How far a schedule is, by the clock of one time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulePlace {
    /// Which.
    pub schedule: String,
    /// On whose clock.
    pub zone: String,
    /// All times up to this one are done with.
    pub until: UnixMillis,
    /// What was started last.
    pub operation: Option<OperationId>,
}

/// Reads schedules.
pub trait ReadSchedules: Reader {
    /// One schedule.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_get(&mut self, name: &str) -> Result<Option<Schedule>, Error> {
        self.row(schedules!("WHERE name = $1"), params![name], decode)
    }

    /// All schedules, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_all(&mut self) -> Result<Vec<Schedule>, Error> {
        self.rows(schedules!("ORDER BY name"), &[], decode)
    }

    /// One page of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_list(&mut self, page: &Page) -> Result<Listed<Schedule>, Error> {
        let sql = schedules!("WHERE name > $1 ORDER BY name LIMIT $2");
        let rows = self.rows(sql, params![page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |schedule| schedule.name.clone()))
    }

    /// Changes when any of them does: how many there are, and the newest revision.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_mark(&mut self) -> Result<(u64, u64), Error> {
        let sql = "SELECT COUNT(*), COALESCE(MAX(revision), 0) FROM schedules";
        let mark = self.row(sql, &[], |row| Ok((row.u64("count of schedules")?, row.u64("revision")?)))?;
        Ok(mark.unwrap_or_default())
    }

    /// How far a schedule is.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_place(&mut self, schedule: &str, zone: &str) -> Result<Option<SchedulePlace>, Error> {
        const SQL: &str = "SELECT schedule, zone, done_until, operation_id FROM schedule_places \
                           WHERE schedule = $1 AND zone = $2";
        self.row(SQL, params![schedule, zone], decode_place)
    }

    /// How far all of them are.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_place_all(&mut self) -> Result<Vec<SchedulePlace>, Error> {
        let sql =
            "SELECT schedule, zone, done_until, operation_id FROM schedule_places ORDER BY schedule, zone";
        self.rows(sql, &[], decode_place)
    }

    /// What became of the last times of a schedule, newest first.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_fires(&mut self, schedule: &str, limit: u32) -> Result<Vec<Fire>, Error> {
        const SQL: &str = "SELECT schedule, at, zone, outcome, operation_id, message FROM schedule_fires \
                           WHERE schedule = $1 ORDER BY at DESC, zone LIMIT $2";
        self.rows(SQL, params![schedule, limit], decode_fire)
    }
}

/// Writes schedules.
pub trait WriteSchedules: ReadSchedules + Writer {
    /// Makes a schedule, or puts this in the place of the one with its name. Its
    /// revision becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_put(&mut self, schedule: &Schedule) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO schedules (name, cron, time_zone, operation, paused, catch_up_ms, overlap, \
                           owner, created_at, updated_at, since, traceparent, revision) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
                           ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, \
                           time_zone = excluded.time_zone, operation = excluded.operation, \
                           paused = excluded.paused, catch_up_ms = excluded.catch_up_ms, \
                           overlap = excluded.overlap, owner = excluded.owner, \
                           created_at = excluded.created_at, updated_at = excluded.updated_at, \
                           since = excluded.since, traceparent = excluded.traceparent, \
                           revision = excluded.revision";
        self.needs_audit("a schedule");
        self.changed(ChangeKind::Schedule, schedule.name.clone());
        let revision = self.own_revision();
        let catch_up_ms = i64::try_from(schedule.catch_up.as_millis()).unwrap_or(i64::MAX);
        let row = params![
            &schedule.name,
            &schedule.cron,
            &schedule.time_zone,
            &schedule.operation,
            schedule.paused,
            catch_up_ms,
            schedule.overlap,
            &schedule.owner,
            schedule.created_at,
            schedule.updated_at,
            schedule.since,
            &schedule.traceparent,
            revision,
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Deletes a schedule, with all that is known of its times. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_delete(&mut self, name: &str) -> Result<bool, Error> {
        let found = self.execute("DELETE FROM schedules WHERE name = $1", params![name])? > 0;
        if found {
            self.needs_audit("a schedule");
            self.changed(ChangeKind::Schedule, name.to_owned());
        }
        Ok(found)
    }

    /// A time is done with, and all up to `until` are. Follows from a schedule; whoever
    /// starts an operation for it writes an audit entry.
    ///
    /// # Errors
    /// If that time is done with already, or there is no such schedule, or the store fails.
    fn schedule_settle(&mut self, fire: &Fire, until: UnixMillis) -> Result<(), Error> {
        const FIRE: &str = "INSERT INTO schedule_fires (schedule, at, zone, outcome, operation_id, message) \
                            VALUES ($1, $2, $3, $4, $5, $6)";
        const PLACE: &str = "INSERT INTO schedule_places (schedule, zone, done_until, operation_id) \
                             VALUES ($1, $2, $3, $4) ON CONFLICT (schedule, zone) DO UPDATE SET \
                             done_until = excluded.done_until, \
                             operation_id = COALESCE(excluded.operation_id, schedule_places.operation_id)";
        let operation = fire.operation;
        let row =
            params![&fire.schedule, fire.at, &fire.zone, fire.outcome.as_str(), operation, &fire.message];
        self.execute(FIRE, row)?;
        self.execute(PLACE, params![&fire.schedule, &fire.zone, until, operation]).map(drop)
    }

    /// The clock of a zone begins: nothing up to its `until` is a time of it. One that has
    /// begun stays, and without the schedule nothing happens.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_begin(&mut self, place: &SchedulePlace) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO schedule_places (schedule, zone, done_until) \
                           SELECT name, $1, $2 FROM schedules WHERE name = $3 ON CONFLICT DO NOTHING";
        self.execute(SQL, params![&place.zone, place.until, &place.schedule]).map(drop)
    }

    /// No time up to this one is one of any schedule.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_skip_all(&mut self, until: UnixMillis) -> Result<(), Error> {
        self.execute("UPDATE schedules SET since = $1 WHERE since < $1", params![until])?;
        self.execute("UPDATE schedule_places SET done_until = $1 WHERE done_until < $1", params![until])?;
        Ok(())
    }

    /// Nobody goes by the clock of that zone any more.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_place_delete(&mut self, schedule: &str, zone: &str) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM schedule_places WHERE schedule = $1 AND zone = $2";
        self.execute(SQL, params![schedule, zone]).map(drop)
    }

    /// Takes away what became of times before `before`, and of all but the newest `keep` of
    /// each schedule; at most `step`. Answers how many went.
    ///
    /// # Errors
    /// If the store fails.
    fn schedule_fire_prune(&mut self, before: UnixMillis, keep: u32, step: u64) -> Result<u64, Error> {
        const SQL: &str = "DELETE FROM schedule_fires WHERE (schedule, at, zone) IN \
                           (SELECT fires.schedule, fires.at, fires.zone FROM schedule_fires AS fires \
                           WHERE fires.at < $1 OR fires.at < (SELECT newer.at FROM schedule_fires AS newer \
                           WHERE newer.schedule = fires.schedule ORDER BY newer.at DESC LIMIT 1 OFFSET $2) LIMIT $3)";
        self.execute(SQL, params![before, keep.saturating_sub(1), step])
    }
}

fn decode(row: &mut Row) -> Result<Schedule, Error> {
    Ok(Schedule {
        name: row.text("schedule name")?,
        cron: row.text("cron")?,
        time_zone: row.text("time_zone")?,
        operation: row.bytes("operation of a schedule")?,
        paused: row.bool("paused")?,
        catch_up: Duration::from_millis(row.u64("catch_up_ms")?),
        overlap: row.bool("overlap")?,
        owner: row.text("owner")?,
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        since: row.millis("since")?,
        traceparent: row.text("traceparent")?,
        revision: row.u64("revision")?,
    })
}

fn decode_place(row: &mut Row) -> Result<SchedulePlace, Error> {
    Ok(SchedulePlace {
        schedule: row.text("schedule name")?,
        zone: row.text("zone")?,
        until: row.millis("done_until")?,
        operation: operation(row)?,
    })
}

fn decode_fire(row: &mut Row) -> Result<Fire, Error> {
    Ok(Fire {
        schedule: row.text("schedule name")?,
        at: row.millis("at")?,
        zone: row.text("zone")?,
        outcome: row.word("outcome", Outcome::parse)?,
        operation: operation(row)?,
        message: row.text("message")?,
    })
}

fn operation(row: &mut Row) -> Result<Option<OperationId>, Error> {
    // What is no id there was written by nobody of ours, and nothing hangs on it.
    Ok(row.opt_text("operation id")?.and_then(|id| id.parse().ok()))
}

impl ReadSchedules for ReadTx<'_> {}
impl ReadSchedules for WriteTx<'_> {}
impl WriteSchedules for WriteTx<'_> {}
