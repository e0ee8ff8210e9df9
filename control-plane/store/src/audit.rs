//! The audit: entries are appended by `WriteTx::audit`, checkpoints of them by
//! [`WriteAudit`], and both are read here. Nothing changes or deletes one.

mod checkpoints;
mod select;

use muster_common::digest::Sha256;
use muster_domain::{
    audit::{
        Checkpoint, Entry, Filter, Note, Placed, Record, Stamp, Walk,
        walk::{Bad, Scope, Verdict},
    },
    page::{Listed, Page},
};

use crate::{
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};
use select::{Order, Span};

/// Records that are read at once.
const PIECE: u32 = 500;
/// No entry's place is above this: both engines count with 63 bits.
const LAST_PLACE: u64 = i64::MAX as u64;

/// Some records in the order of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// An entry comes before the checkpoint that signs it.
    pub records: Vec<Placed<Record>>,
    /// Everything up to this place is among them; the next piece goes on from it.
    pub reached: u64,
}

/// Reads the audit.
pub trait ReadAudit: Reader {
    /// One page of the entries that are wanted, of all replicas, against the
    /// order of their commits.
    ///
    /// # Errors
    /// If the page's key is none of this list, or the store fails.
    fn audit_list(&mut self, page: &Page, filter: &Filter) -> Result<Listed<Placed<Entry>>, Error> {
        let before = place_before(page)?;
        let rows = match self.audit_window(filter)? {
            Some((first, last)) => {
                let span = Span { above: first.saturating_sub(1), below: before.min(last.saturating_add(1)) };
                select::entries(self, filter, span, Order::Newest, page::limit(page))?
            }
            None => Vec::new(),
        };
        Ok(page::listed(page, rows, |(place, _)| place.to_string()))
    }

    /// The entries after a place that are wanted, in the order of their commits.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_after(&mut self, place: u64, filter: &Filter, limit: u32) -> Result<Vec<Placed<Entry>>, Error> {
        // Entries come while this is read: only the times of the filter bound it.
        let span = Span { above: place, below: LAST_PLACE };
        select::entries(self, filter, span, Order::Oldest, limit.into())
    }

    /// The first and last place of the entries of a filter's time; `None`: there are none.
    /// A clock can step back, so between them may be entries of other times.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_window(&mut self, filter: &Filter) -> Result<Option<(u64, u64)>, Error> {
        if filter.since.is_none() && filter.until.is_none() {
            return Ok(Some((1, LAST_PLACE - 1)));
        }
        let sql = "SELECT MIN(place), MAX(place) FROM audit WHERE at >= $1 AND at < $2";
        let (since, until) = select::times(filter);
        let window = self.row(sql, params![since, until], |row| {
            Ok((row.opt_u64("audit place")?, row.opt_u64("audit place")?))
        })?;
        Ok(window.and_then(|(first, last)| first.zip(last)))
    }

    /// The newest place.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_place(&mut self) -> Result<u64, Error> {
        let place = self.row("SELECT audit_place FROM feed", &[], |row| row.u64("audit place"))?;
        Ok(place.unwrap_or(0))
    }

    /// The newest entry of a replica's chain.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_last(&mut self, replica: &str) -> Result<Option<Entry>, Error> {
        let sql = select::columns!("WHERE replica = $1 ORDER BY seq DESC LIMIT 1");
        Ok(self.row(sql, params![replica], select::placed)?.map(|(_, entry)| entry))
    }

    /// Entries of a replica's chain after one of them, in order.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_chain(&mut self, replica: &str, after: u64, limit: u32) -> Result<Vec<Placed<Entry>>, Error> {
        let sql = select::columns!("WHERE replica = $1 AND seq > $2 ORDER BY seq LIMIT $3");
        self.rows(sql, params![replica, after, limit], select::placed)
    }

    /// The newest checkpoint of a replica's chain.
    ///
    /// # Errors
    /// If the store fails.
    fn checkpoint_last(&mut self, replica: &str) -> Result<Option<Checkpoint>, Error> {
        checkpoints::last(self, replica)
    }

    /// One page of the checkpoints, of one replica's chain or of all, against
    /// the order of the entries that they sign.
    ///
    /// # Errors
    /// If the page's key is none of this list, or the store fails.
    fn checkpoint_list(
        &mut self,
        page: &Page,
        replica: Option<&str>,
    ) -> Result<Listed<Placed<Checkpoint>>, Error> {
        let rows = checkpoints::before(self, place_before(page)?, replica, page::limit(page))?;
        Ok(page::listed(page, rows, |(place, _)| place.to_string()))
    }

    /// What is kept after a place, up to and with another, at most so many records.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_records(&mut self, after: u64, to: u64, limit: u32) -> Result<Piece, Error> {
        let to = to.min(LAST_PLACE - 1);
        let limit = limit.max(1);
        let span = Span { above: after, below: to + 1 };
        let entries = select::entries(self, &Filter::default(), span, Order::Oldest, limit.into())?;
        let checkpoints = checkpoints::between(self, after, to, limit)?;
        // What comes after the last record of a full answer is not known.
        let known =
            |length: usize, last: Option<u64>| last.filter(|_| length >= limit as usize).unwrap_or(to);
        let reached = known(entries.len(), entries.last().map(|(place, _)| *place))
            .min(known(checkpoints.len(), checkpoints.last().map(|(place, _)| *place)));
        let mut records: Vec<Placed<Record>> =
            entries.into_iter().map(|(place, entry)| (place, Record::Entry(entry))).collect();
        records.extend(checkpoints.into_iter().map(|(place, it)| (place, Record::Checkpoint(it))));
        records.retain(|(place, _)| *place <= reached);
        records.sort_by_key(|(place, record)| (*place, matches!(record, Record::Checkpoint(_))));
        Ok(Piece { records, reached })
    }

    /// Shows everything that is kept to a walk.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_walk(&mut self, walk: &mut Walk<'_>) -> Result<(), Error> {
        let (mut after, to) = (0, LAST_PLACE - 1);
        while after < to {
            let piece = self.audit_records(after, to, PIECE)?;
            for record in &piece.records {
                walk.see(record);
            }
            after = piece.reached;
        }
        Ok(())
    }

    /// Walks a replica's chain up to its newest entry: from a checkpoint on, or
    /// from its start. The first entry that does not hold, if there is one.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_since(&mut self, replica: &str, checkpoint: Option<&Checkpoint>) -> Result<Option<Bad>, Error> {
        let trust = |_: &Checkpoint| Ok(());
        let (mut walk, mut after) = match checkpoint {
            Some(checkpoint) => (Walk::after(checkpoint, &trust), checkpoint.seq),
            None => (Walk::new(Scope::Whole, &trust, Vec::new()), 0),
        };
        loop {
            let entries = self.audit_chain(replica, after, PIECE)?;
            let Some(reached) = entries.last().map(|(_, entry)| entry.seq) else { return Ok(None) };
            for (place, entry) in entries {
                if let Some(bad) = walk.see(&(place, Record::Entry(entry))) {
                    return Ok(Some(bad.clone()));
                }
            }
            after = reached;
        }
    }

    /// Walks everything that is kept, with signatures taken on trust. The
    /// number of the first entry of a replica's chain that does not hold, if
    /// there is one.
    ///
    /// # Errors
    /// If the store fails.
    fn audit_verify(&mut self, replica: &str) -> Result<Option<u64>, Error> {
        let mut walk = Walk::new(Scope::Whole, &|_| Ok(()), Vec::new());
        self.audit_walk(&mut walk)?;
        let is_asked = |verdict: &Verdict| verdict.replica == replica;
        let verdict = walk.finish().into_iter().find(is_asked);
        Ok(verdict.and_then(|verdict| verdict.bad).map(|bad| bad.seq))
    }
}

/// Signs the audit.
pub trait WriteAudit: ReadAudit + Writer {
    /// Appends a checkpoint. `false`: its entry is not there with that hash, or
    /// is signed already; then nothing was written.
    ///
    /// # Errors
    /// If the store fails.
    fn checkpoint_insert(&mut self, checkpoint: &Checkpoint) -> Result<bool, Error> {
        let sql = "INSERT INTO audit_checkpoints (trust_domain, at, key_id, signature, place, replica, seq, hash) \
                   SELECT $1, $2, $3, $4, place, replica, seq, hash FROM audit \
                   WHERE replica = $5 AND seq = $6 AND hash = $7 ON CONFLICT DO NOTHING";
        let row = params![
            &checkpoint.trust_domain,
            checkpoint.at,
            &checkpoint.key_id,
            &checkpoint.signature,
            &checkpoint.replica,
            checkpoint.seq,
            &checkpoint.hash,
        ];
        Ok(self.execute(sql, row)? > 0)
    }
}

fn place_before(page: &Page) -> Result<u64, Error> {
    match &page.after {
        Some(key) => {
            let place = key.parse::<u64>().ok().filter(|place| *place <= LAST_PLACE);
            place.ok_or_else(|| Error::PageKey(key.chars().take(80).collect()))
        }
        None => Ok(LAST_PLACE),
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
        previous: digest(row, "previous hash")?,
        hash: digest(row, "hash")?,
    })
}

/// A digest. Bytes that are none were not written by us: they become one that
/// fits nothing, so that whoever walks the audit can name the record.
fn digest(row: &mut Row, what: &'static str) -> Result<Sha256, Error> {
    let bytes = row.bytes(what)?;
    Ok(Sha256::from_slice(&bytes).unwrap_or_else(|| Sha256::of(&bytes)))
}

impl ReadAudit for ReadTx<'_> {}
impl ReadAudit for WriteTx<'_> {}
impl WriteAudit for WriteTx<'_> {}
