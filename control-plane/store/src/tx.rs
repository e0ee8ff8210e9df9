//! What the closures of reads and writes get in hand.

use std::collections::BTreeSet;

use muster_common::digest::Sha256;
use muster_domain::audit::{self, Note, Stamp};

use crate::{
    changes::ChangeKind,
    engine::{Engine, Param, Row, params},
    error::Error,
};

/// One consistent state of the store, to read from.
pub struct ReadTx<'a> {
    engine: &'a mut dyn Engine,
}

/// One write: rows, their changes and their audit entry, all or nothing.
pub struct WriteTx<'a> {
    engine: &'a mut dyn Engine,
    stamp: &'a Stamp,
    replica: &'a str,
    head: Head,
    changes: BTreeSet<(ChangeKind, String)>,
    has_revision: bool,
    unaudited: Option<&'static str>,
    audited: bool,
    failed: bool,
}

/// Where the numbered rows stand; moves with every write that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Last revision given.
    pub(crate) revision: u64,
    /// Last place given in the audit of all replicas.
    pub(crate) audit_place: u64,
    /// Last entry of our own chain; read when first needed.
    pub(crate) link: Option<(u64, Sha256)>,
}

/// The last entry of a chain.
pub(crate) const LAST_LINK: &str = "SELECT seq, hash FROM audit WHERE replica = $1 ORDER BY seq DESC LIMIT 1";

/// How nouns read. Not to be implemented, nor called, by others.
pub trait Reader {
    #[doc(hidden)]
    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error>;

    #[doc(hidden)]
    fn rows<T, D>(&mut self, sql: &str, params: &[Param<'_>], decode: D) -> Result<Vec<T>, Error>
    where
        D: Fn(&mut Row) -> Result<T, Error>,
    {
        let mut rows = Vec::new();
        self.query(sql, params, &mut |mut row| {
            rows.push(decode(&mut row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    #[doc(hidden)]
    fn row<T, D>(&mut self, sql: &str, params: &[Param<'_>], decode: D) -> Result<Option<T>, Error>
    where
        D: Fn(&mut Row) -> Result<T, Error>,
    {
        Ok(self.rows(sql, params, decode)?.pop())
    }
}

/// How nouns write. Not to be implemented, nor called, by others.
pub trait Writer: Reader {
    #[doc(hidden)]
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error>;

    /// Runs a statement whose count nobody needs: it may wait for the next one on its way
    /// to the database, and its failure may come with that.
    #[doc(hidden)]
    fn put(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), Error>;

    /// Puts a row on the feed, once per write.
    #[doc(hidden)]
    fn changed(&mut self, kind: ChangeKind, id: String);

    /// From here on the write cannot be committed without an audit entry.
    #[doc(hidden)]
    fn needs_audit(&mut self, what: &'static str);

    /// The revision of this write.
    #[doc(hidden)]
    fn own_revision(&mut self) -> u64;

    /// Who writes, why, when.
    #[doc(hidden)]
    fn who(&self) -> &Stamp;
}

impl<'a> ReadTx<'a> {
    pub(crate) fn new(engine: &'a mut dyn Engine) -> Self {
        Self { engine }
    }
}

impl<'a> WriteTx<'a> {
    pub(crate) fn new(engine: &'a mut dyn Engine, stamp: &'a Stamp, replica: &'a str, head: Head) -> Self {
        Self {
            engine,
            stamp,
            replica,
            head,
            changes: BTreeSet::new(),
            has_revision: false,
            unaudited: None,
            audited: false,
            failed: false,
        }
    }

    /// The revision this write will have; asking for it makes sure that it has one.
    #[must_use]
    pub fn revision(&mut self) -> u64 {
        if !self.has_revision {
            self.has_revision = true;
            self.head.revision += 1;
        }
        self.head.revision
    }

    /// Who writes, why, when.
    #[must_use]
    pub fn stamp(&self) -> &Stamp {
        self.stamp
    }

    /// Appends an entry to the audit chain of this replica.
    ///
    /// # Errors
    /// If the store fails.
    #[expect(clippy::needless_pass_by_value, reason = "a note is made for this call and for nothing else")]
    pub fn audit(&mut self, note: Note) -> Result<(), Error> {
        const INSERT: &str = "INSERT INTO audit (place, replica, seq, actor, action, at, remote_address, trace_id, \
                              subject, before_json, after_json, denied, previous, hash) \
                              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
        let (last, previous) = match self.head.link {
            Some(link) => link,
            None => self.last_link()?,
        };
        let (seq, place) = (last + 1, self.head.audit_place + 1);
        // Some of it was said by callers: bounded and harmless before it is sealed, for every reader to come.
        let (stamp, note) = (&self.stamp.bounded(), note.bounded());
        let hash = audit::seal(self.replica, seq, stamp, &note, previous);
        let row = params![
            place,
            self.replica,
            seq,
            &stamp.actor,
            &stamp.action,
            stamp.at,
            &stamp.remote_address,
            &stamp.trace_id,
            &note.subject,
            &note.before,
            &note.after,
            note.denied,
            &previous,
            &hash,
        ];
        self.put(INSERT, row)?;
        self.head.audit_place = place;
        self.head.link = Some((seq, hash));
        self.audited = true;
        Ok(())
    }

    fn last_link(&mut self) -> Result<(u64, Sha256), Error> {
        let replica = self.replica;
        let last = self
            .row(LAST_LINK, params![replica], |row| Ok((row.u64("audit seq")?, row.sha256("audit hash")?)))?;
        Ok(last.unwrap_or((0, audit::START)))
    }

    /// Nothing follows a statement that failed: one engine takes no more, so none does.
    const fn whole(&self) -> Result<(), Error> {
        if self.failed { Err(Error::Incomplete) } else { Ok(()) }
    }

    /// Ends the write: its changes go to the feed. Where the numbered rows stand then.
    pub(crate) fn finish(mut self) -> Result<Head, Error> {
        self.whole()?;
        if let (Some(what), false) = (self.unaudited, self.audited) {
            return Err(Error::Unaudited(what));
        }
        let changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            let revision = self.revision();
            for (kind, id) in &changes {
                let row = params![revision, kind.as_str(), id];
                self.put("INSERT INTO changes (revision, kind, id) VALUES ($1, $2, $3)", row)?;
            }
        }
        self.engine.settle()?;
        Ok(self.head)
    }
}

impl Reader for ReadTx<'_> {
    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.engine.query(sql, params, each)
    }
}

impl Reader for WriteTx<'_> {
    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.whole()?;
        self.engine.query(sql, params, each).inspect_err(|_| self.failed = true)
    }
}

impl Writer for WriteTx<'_> {
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        self.whole()?;
        self.engine.execute(sql, params).inspect_err(|_| self.failed = true)
    }

    fn put(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), Error> {
        self.whole()?;
        self.engine.put(sql, params).inspect_err(|_| self.failed = true)
    }

    fn changed(&mut self, kind: ChangeKind, id: String) {
        self.changes.insert((kind, id));
    }

    fn needs_audit(&mut self, what: &'static str) {
        self.unaudited.get_or_insert(what);
    }

    fn own_revision(&mut self) -> u64 {
        self.revision()
    }

    fn who(&self) -> &Stamp {
        self.stamp
    }
}
