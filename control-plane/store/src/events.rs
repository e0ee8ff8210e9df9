//! What happened: one row for each event, in the order of time and in that of writes.

use muster_common::{clock::UnixMillis, ids::EventId};
use muster_domain::{
    alert::Severity,
    event::{Event, Filter, Kind},
};

use crate::{
    engine::{Row, json, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// What a list of one node is driven by, and a list of all; the same parameters.
const OF_NODE: &str = "SELECT body, revision FROM events WHERE node_id = $1 AND at >= $2 AND at < $3 \
                       AND severity >= $4 AND ($5 = '' OR $5 LIKE '%,' || kind || ',%') \
                       AND (at, id) < ($6, $7) ORDER BY at DESC, id DESC LIMIT $8";
const OF_ALL: &str = "SELECT body, revision FROM events WHERE $1 = '' AND at >= $2 AND at < $3 \
                      AND severity >= $4 AND ($5 = '' OR $5 LIKE '%,' || kind || ',%') \
                      AND (at, id) < ($6, $7) ORDER BY at DESC, id DESC LIMIT $8";

/// Where an event stands in the order of time.
pub type Below = (UnixMillis, EventId);

/// By the index of writes: with times to be had from an index SQLite would go through all of them.
const AFTER: &str = "SELECT body, revision FROM events WHERE (revision, id) > ($1, $2) \
                     AND ($3 = '' OR node_id = $3) AND +at >= $4 AND +at < $5 AND severity >= $6 \
                     AND ($7 = '' OR $7 LIKE '%,' || kind || ',%') ORDER BY revision, id LIMIT $8";

/// Reads events.
pub trait ReadEvents: Reader {
    /// One event.
    ///
    /// # Errors
    /// If the store fails.
    fn event_get(&mut self, id: EventId) -> Result<Option<Event>, Error> {
        self.row("SELECT body, revision FROM events WHERE id = $1", params![id], event)
    }

    /// Those that are wanted, the newest first, from an event on or from the newest.
    ///
    /// # Errors
    /// If the store fails.
    fn event_list(&mut self, filter: &Filter, below: Option<Below>, limit: u32) -> Result<Vec<Event>, Error> {
        let sql = if filter.node.is_some() { OF_NODE } else { OF_ALL };
        let (at, id) = match below {
            Some((at, id)) => (at.0, id.to_string()),
            None => (i64::MAX, String::new()),
        };
        let node = filter.node.map(|node| node.to_string()).unwrap_or_default();
        let (since, until) = times(filter);
        let values = params![node, since, until, rank(filter.least), filter.kinds_text(), at, id, limit];
        self.rows(sql, values, event)
    }

    /// Those that are wanted and were written, or have grown, after a write: in the order of
    /// writes.
    ///
    /// # Errors
    /// If the store fails.
    fn event_after(
        &mut self,
        filter: &Filter,
        after: (u64, Option<EventId>),
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let (revision, id) = after;
        // Without an event: after all that the write has made.
        let id = id.map_or_else(|| "~".to_owned(), |id| id.to_string());
        let node = filter.node.map(|node| node.to_string()).unwrap_or_default();
        let (since, until) = times(filter);
        let values =
            params![revision, id, node, since, until, rank(filter.least), filter.kinds_text(), limit];
        self.rows(AFTER, values, event)
    }

    /// The newest event of many of a kind, about this, for this reason.
    ///
    /// # Errors
    /// If the store fails.
    fn event_newest_of_many(
        &mut self,
        kind: Kind,
        subject: &str,
        reason: &str,
    ) -> Result<Option<Event>, Error> {
        const SQL: &str = "SELECT body, revision FROM events WHERE kind = $1 AND subject = $2 AND reason = $3 \
                           AND is_many = 1 ORDER BY at DESC LIMIT 1";
        self.row(SQL, params![kind.as_str(), subject, reason], event)
    }

    /// The first write of what happened since.
    ///
    /// # Errors
    /// If the store fails.
    fn event_since(&mut self, since: UnixMillis) -> Result<Option<u64>, Error> {
        let sql = "SELECT MIN(+revision) FROM events WHERE at >= $1";
        Ok(self.row(sql, params![since], |row| row.opt_u64("revision"))?.flatten())
    }

    /// Up to which revision some were taken away: who has seen less may have missed one.
    ///
    /// # Errors
    /// If the store fails.
    fn event_floor(&mut self) -> Result<u64, Error> {
        let floor = self.row("SELECT events_floor FROM feed", &[], |row| row.u64("floor of events"))?;
        Ok(floor.unwrap_or(0))
    }

    /// The newest of those that are too many, if only the newest `count` are to be kept. `None`:
    /// there are no more.
    ///
    /// # Errors
    /// If the store fails.
    fn event_beyond(&mut self, count: u64) -> Result<Option<Below>, Error> {
        const SQL: &str = "SELECT at, id FROM events ORDER BY at DESC, id DESC LIMIT 1 OFFSET $1";
        self.row(SQL, params![count], |row| Ok((row.millis("time of an event")?, row.parsed("event id")?)))
    }
}

/// Writes events.
pub trait WriteEvents: ReadEvents + Writer {
    /// Writes an event, or puts this in the place of the one with its id. Its revision becomes
    /// that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn event_put(&mut self, event: &Event) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO events (id, at, kind, severity, node_id, subject, reason, is_many, body, \
                           revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                           ON CONFLICT (id) DO UPDATE SET at = excluded.at, severity = excluded.severity, \
                           subject = excluded.subject, reason = excluded.reason, body = excluded.body, \
                           revision = excluded.revision";
        let revision = self.own_revision();
        let row = params![
            event.id,
            event.at,
            event.kind.as_str(),
            rank(Some(event.severity)),
            event.node,
            &event.subject,
            &event.reason,
            event.many.is_some(),
            json(event),
            revision,
        ];
        self.put(SQL, row)
    }

    /// Takes away, at most so many, what happened up to an event and with it, the oldest first. How
    /// many.
    ///
    /// # Errors
    /// If the store fails.
    fn event_prune(&mut self, (at, id): Below, step: u64) -> Result<u64, Error> {
        const NEWEST: &str = "SELECT MAX(revision) FROM \
                              (SELECT revision FROM events WHERE (at, id) <= ($1, $2) \
                              ORDER BY at, id LIMIT $3) AS old";
        const FLOOR: &str = "UPDATE feed SET events_floor = $1 WHERE events_floor < $1";
        const DELETE: &str = "DELETE FROM events WHERE id IN \
                              (SELECT id FROM events WHERE (at, id) <= ($1, $2) ORDER BY at, id LIMIT $3)";
        let newest = self.row(NEWEST, params![at, id, step], |row| row.opt_u64("revision"))?.flatten();
        let Some(newest) = newest else { return Ok(0) };
        self.execute(FLOOR, params![newest])?;
        self.execute(DELETE, params![at, id, step])
    }
}

/// How bad, as a number that can be compared.
const fn rank(severity: Option<Severity>) -> i64 {
    match severity {
        None => 0,
        Some(Severity::Info) => 1,
        Some(Severity::Warning) => 2,
        Some(Severity::Critical) => 3,
    }
}

fn times(filter: &Filter) -> (i64, i64) {
    (filter.since.map_or(i64::MIN, |at| at.0), filter.until.map_or(i64::MAX, |at| at.0))
}

fn event(row: &mut Row) -> Result<Event, Error> {
    let event: Event = row.json("event")?;
    Ok(Event { revision: row.u64("revision")?, ..event })
}

impl ReadEvents for ReadTx<'_> {}
impl ReadEvents for WriteTx<'_> {}
impl WriteEvents for WriteTx<'_> {}

#[cfg(test)]
mod tests {
    use super::AFTER;
    use crate::plans::{engine, plan};

    #[test]
    fn what_was_written_since_is_found_without_what_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&mut engine(folder.path()), AFTER, 8);
        assert!(plan.contains("events_by_revision") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
