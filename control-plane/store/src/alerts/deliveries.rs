//! What receivers are to be told still, and what nobody tries to tell them any more.

use muster_common::{clock::UnixMillis, ids::DeliveryId};
use muster_domain::{
    alert::{Delivery, Event},
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads deliveries.
pub trait ReadDeliveries: Reader {
    /// Those of a receiver that are due, the oldest first, at most so many.
    ///
    /// # Errors
    /// If the store fails.
    fn delivery_due(&mut self, receiver: &str, now: UnixMillis, limit: u32) -> Result<Vec<Delivery>, Error> {
        const SQL: &str = "SELECT id, receiver, alert_id, event, created_at, tries, due_at, dead_at, error \
                           FROM alert_deliveries WHERE receiver = $1 AND due_at <= $2 AND dead_at IS NULL \
                           ORDER BY id LIMIT $3";
        self.rows(SQL, params![receiver, now, limit], decode)
    }

    /// The oldest of a receiver that nobody has given up, due or not, at most so many.
    ///
    /// # Errors
    /// If the store fails.
    fn delivery_first(&mut self, receiver: &str, limit: u32) -> Result<Vec<Delivery>, Error> {
        const SQL: &str = "SELECT id, receiver, alert_id, event, created_at, tries, due_at, dead_at, error \
                           FROM alert_deliveries WHERE receiver = $1 AND dead_at IS NULL ORDER BY id LIMIT $2";
        self.rows(SQL, params![receiver, limit], decode)
    }

    /// One page of those that nobody tries any more, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn delivery_dead(&mut self, page: &Page) -> Result<Listed<Delivery>, Error> {
        const SQL: &str = "SELECT id, receiver, alert_id, event, created_at, tries, due_at, dead_at, error \
                           FROM alert_deliveries WHERE dead_at IS NOT NULL AND id > $1 ORDER BY id LIMIT $2";
        let rows = self.rows(SQL, params![page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |delivery| delivery.id.to_string()))
    }

    /// One delivery.
    ///
    /// # Errors
    /// If the store fails.
    fn delivery_get(&mut self, id: DeliveryId) -> Result<Option<Delivery>, Error> {
        const SQL: &str = "SELECT id, receiver, alert_id, event, created_at, tries, due_at, dead_at, error \
                           FROM alert_deliveries WHERE id = $1";
        self.row(SQL, params![id], decode)
    }
}

/// Writes deliveries. They follow from alerts, and have no audit of their own, unless a person
/// has one tried again.
pub trait WriteDeliveries: ReadDeliveries + Writer {
    /// Makes a delivery, or puts this in the place of the one with its id. Without its receiver
    /// or its alert nothing happens.
    ///
    /// # Errors
    /// If the store fails.
    fn delivery_put(&mut self, delivery: &Delivery) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO alert_deliveries \
                           (id, event, created_at, tries, due_at, dead_at, error, receiver, alert_id) \
                           SELECT $1, $2, $3, $4, $5, $6, $7, name, $8 FROM alert_receivers \
                           WHERE name = $9 AND EXISTS (SELECT 1 FROM alerts WHERE id = $8) \
                           ON CONFLICT (id) DO UPDATE SET tries = excluded.tries, due_at = excluded.due_at, \
                           dead_at = excluded.dead_at, error = excluded.error";
        if delivery.dead_at.is_some() {
            self.changed(ChangeKind::Alert, format!("dead-letter/{}", delivery.id));
        }
        let row = params![
            delivery.id,
            delivery.event.as_str(),
            delivery.created_at,
            delivery.tries,
            delivery.due_at,
            delivery.dead_at,
            &delivery.error,
            delivery.alert,
            &delivery.receiver,
        ];
        self.execute(SQL, row).map(drop)
    }

    /// It is done with.
    ///
    /// # Errors
    /// If the store fails.
    fn delivery_delete(&mut self, id: DeliveryId) -> Result<(), Error> {
        self.execute("DELETE FROM alert_deliveries WHERE id = $1", params![id]).map(drop)
    }

    /// One that nobody tries any more is tried again, as if for the first time. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn delivery_revive(&mut self, id: DeliveryId, now: UnixMillis) -> Result<bool, Error> {
        let sql = "UPDATE alert_deliveries SET tries = 0, due_at = $1, dead_at = NULL \
                   WHERE id = $2 AND dead_at IS NOT NULL";
        let found = self.execute(sql, params![now, id])? > 0;
        if found {
            self.needs_audit("a dead letter");
            self.changed(ChangeKind::Alert, format!("dead-letter/{id}"));
        }
        Ok(found)
    }
}

fn decode(row: &mut Row) -> Result<Delivery, Error> {
    Ok(Delivery {
        id: row.parsed("delivery id")?,
        receiver: row.text("receiver")?,
        alert: row.parsed("alert id")?,
        event: row.word("event", Event::parse)?,
        created_at: row.millis("created_at")?,
        tries: row.u32("tries")?,
        due_at: row.millis("due_at")?,
        dead_at: row.opt_millis("dead_at")?,
        error: row.text("error")?,
    })
}

impl ReadDeliveries for ReadTx<'_> {}
impl ReadDeliveries for WriteTx<'_> {}
impl WriteDeliveries for WriteTx<'_> {}
