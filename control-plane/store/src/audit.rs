//! The audit: entries are appended by `WriteTx::audit` and read here. Nothing
//! changes or deletes one.

use muster_domain::{
    audit::{self, Entry, Note, Stamp},
    page::{Listed, Page},
};

use crate::{
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx},
};

/// Entries that are checked at once.
const PIECE: u32 = 1000;
/// No entry's place is above this: both engines count with 63 bits.
const LAST_PLACE: u64 = i64::MAX as u64;

/// The columns of an entry; its place first, where a list needs it.
macro_rules! entries {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            "replica, seq, actor, action, at, remote_address, trace_id, subject, before_json, after_json, denied, \
             previous, hash FROM audit ",
            $rest
        )
    };
}

/// Reads the audit.
pub trait ReadAudit: Reader {
    /// One page of entries of all replicas against the order of their commits,
    /// the newest first, of one subject or actor or of all.
    ///
    /// # Errors
    /// If the page's key is none of this list, or the store fails.
    fn audit_list(
        &mut self,
        page: &Page,
        subject: Option<&str>,
        actor: Option<&str>,
    ) -> Result<Listed<Entry>, Error> {
        let before = match &page.after {
            Some(key) => key.parse::<u64>().map_err(|_| Error::PageKey(key.chars().take(80).collect()))?,
            None => LAST_PLACE,
        };
        let limit = page::limit(page);
        let placed = |row: &mut Row| Ok((row.u64("audit place")?, decode(row)?));
        let rows = match (subject, actor) {
            (None, None) => {
                let sql = entries!("place, ", "WHERE place < $1 ORDER BY place DESC LIMIT $2");
                self.rows(sql, params![before, limit], placed)
            }
            (Some(subject), None) => {
                let sql =
                    entries!("place, ", "WHERE subject = $1 AND place < $2 ORDER BY place DESC LIMIT $3");
                self.rows(sql, params![subject, before, limit], placed)
            }
            (None, Some(actor)) => {
                let sql = entries!("place, ", "WHERE actor = $1 AND place < $2 ORDER BY place DESC LIMIT $3");
                self.rows(sql, params![actor, before, limit], placed)
            }
            (Some(subject), Some(actor)) => {
                let sql = entries!(
                    "place, ",
                    "WHERE subject = $1 AND actor = $2 AND place < $3 ORDER BY place DESC LIMIT $4"
                );
                self.rows(sql, params![subject, actor, before, limit], placed)
            }
        }?;
        let listed = page::listed(page, rows, |(place, _)| place.to_string());
        Ok(Listed { rows: listed.rows.into_iter().map(|(_, entry)| entry).collect(), next: listed.next })
    }

    /// The newest entry of a replica's chain.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_last(&mut self, replica: &str) -> Result<Option<Entry>, Error> {
        let sql = entries!("", "WHERE replica = $1 ORDER BY seq DESC LIMIT 1");
        self.row(sql, params![replica], decode)
    }

    /// Names of all replicas that have a chain.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_replicas(&mut self) -> Result<Vec<String>, Error> {
        let sql = "SELECT DISTINCT replica FROM audit ORDER BY replica";
        self.rows(sql, &[], |row| row.text("audit replica"))
    }

    /// Walks a replica's chain from its start. The number of the first entry
    /// that does not hold, if there is one.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_verify(&mut self, replica: &str) -> Result<Option<u64>, Error> {
        let sql = entries!("", "WHERE replica = $1 AND seq > $2 ORDER BY seq LIMIT $3");
        let mut piece: Vec<Entry> = Vec::new();
        loop {
            // The last entry of a piece starts the next one, so that no link goes unseen.
            let before = piece.pop();
            let after = before.as_ref().map_or(0, |entry| entry.seq);
            piece = before.into_iter().collect();
            let known = piece.len();
            piece.extend(self.rows(sql, params![replica, after, PIECE], decode)?);
            if piece.len() == known {
                return Ok(None);
            }
            if known == 0 && piece[0].seq != 1 {
                return Ok(Some(piece[0].seq)); // the start was taken out
            }
            if let Err(bad) = audit::verify(&piece) {
                return Ok(Some(bad.seq));
            }
        }
    }
}

fn decode(row: &mut Row) -> Result<Entry, Error> {
    Ok(Entry {
        replica: row.text("audit replica")?,
        seq: row.u64("audit seq")?,
        stamp: Stamp {
            actor: row.text("actor")?,
            action: row.text("action")?,
            at: row.millis("at")?,
            remote_address: row.text("remote_address")?,
            trace_id: row.text("trace_id")?,
        },
        note: Note {
            subject: row.text("subject")?,
            before: row.text("before")?,
            after: row.text("after")?,
            denied: row.bool("denied")?,
        },
        previous: row.sha256("previous hash")?,
        hash: row.sha256("hash")?,
    })
}

impl ReadAudit for ReadTx<'_> {}
impl ReadAudit for WriteTx<'_> {}
