//! What the host knows of its orders, durably: written before anything acts.
//!
//! An id is in the ledger before its command starts; a known id is never run
//! again, for ever: ids are forgotten only when their time for delivery is over
//! by the control plane's clock, and then a watermark refuses them. Reports are
//! kept until acknowledged.
//!
//! On disk: `journal` (one line for each change, with a checksum) and
//! `spool/ID` (output not yet acknowledged). A crash can leave half a last
//! line, which is cut off. Damage elsewhere means that the ledger is not to be
//! trusted: it is set aside, and a new one with a new id begins, so that the
//! control plane declares interrupted what was open.

mod entry;
mod journal;
mod lines;
mod look;
mod replay;
mod shared;
mod spool;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use muster_common::{
    clock::{Clock, UnixMillis},
    crash,
    ids::{CommandId, LedgerId},
};

pub use entry::Entry;
use entry::{Change, Line};
use journal::Journal;
pub use look::look;
pub use shared::Shared;
use spool::Spool;

use crate::{
    platform::{files, process::Mark},
    state::{Report, Ticket},
};

/// The ledger cannot do its work. Nothing may be started then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {doing} the ledger in {}", folder.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The id is not in the ledger, or its command is past this step.
    #[error("command {0} is not open in the ledger for this step")]
    NotOpen(CommandId),
}

/// What the ledger says to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Never seen before: it is in the ledger now.
    New,
    /// Seen before: it is answered, never run.
    Known,
    /// Its time for delivery passed so long ago that ids of that time are forgotten.
    Forgotten,
}

/// The ledger of one host.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    clock: Clock,
    journal: Journal,
    spool: Spool,
    id: LedgerId,
    seq: u64,
    /// Newest change that no loss of power can take back.
    durable: u64,
    /// How far it was when a process opened it that has not heard of the control plane, nor
    /// did any since. What is written meanwhile must not make up for what was lost if the
    /// host was set back.
    shown: Option<u64>,
    /// This process has begun to write, or has heard of the control plane.
    is_opened: bool,
    watermark: UnixMillis,
    open: BTreeMap<CommandId, Entry>,
    /// Closed ones, until their `deliver_by` is over.
    closed: HashMap<CommandId, UnixMillis>,
}

impl Ledger {
    /// Opens or begins the ledger of a folder.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn open(folder: &Path, clock: Clock) -> Result<Self, Error> {
        match Self::read(folder, clock.clone()) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {
                let aside = folder.join(format!("journal.damaged-{}", clock.now().0));
                tracing::error!(error = %source, "the ledger was damaged and set aside as {}", aside.display());
                let io = |source| Error::Io { doing: "set aside", folder: folder.to_owned(), source };
                fs::rename(folder.join("journal"), aside).map_err(io)?;
                Self::read(folder, clock)
            }
            read => read,
        }
    }

    fn read(folder: &Path, clock: Clock) -> Result<Self, Error> {
        let io = |doing| move |source| Error::Io { doing, folder: folder.to_owned(), source };
        files::private_folder(folder).map_err(io("create"))?;
        let spool = Spool::open(&folder.join("spool")).map_err(io("open"))?;
        let (journal, lines) = Journal::open(&folder.join("journal")).map_err(io("open"))?;
        entry::check(&lines).map_err(io("open"))?;
        let mut ledger = Self {
            folder: folder.to_owned(),
            clock,
            journal,
            spool,
            id: LedgerId::generate(),
            seq: 0,
            durable: 0,
            shown: None,
            is_opened: lines.is_empty(),
            watermark: UnixMillis(0),
            open: BTreeMap::new(),
            closed: HashMap::new(),
        };
        if lines.is_empty() {
            ledger.rewrite()?;
        }
        lines.into_iter().for_each(|line| ledger.replay(line));
        ledger.durable = ledger.seq;
        ledger.read_spool()?;
        Ok(ledger)
    }

    /// Which ledger this is, and how far it is for certain: a place that was told
    /// and then lost would look as if the host had gone back in time. Before the control
    /// plane was heard, how far it was when it was opened: all that was ever told of it
    /// is in there, unless the host has gone back in time.
    #[must_use]
    pub fn mark(&self) -> (LedgerId, u64) {
        (self.id, self.shown.unwrap_or(self.durable))
    }

    /// The control plane was heard, and knows how far this ledger was: from now on it is
    /// told how far it is.
    ///
    /// # Errors
    /// If it cannot be made durable; the next process may then seem to have gone back.
    pub fn heard(&mut self) -> Result<(), Error> {
        self.is_opened = true;
        if self.shown.is_some() { self.write(Change::Heard, true) } else { Ok(()) }
    }

    /// Commands whose end is not acknowledged, in the order of their ids.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.open.values()
    }

    /// One of them.
    #[must_use]
    pub fn entry(&self, id: CommandId) -> Option<&Entry> {
        self.open.get(&id)
    }

    /// Takes a delivered order in.
    ///
    /// # Errors
    /// If it cannot be made durable; it must not be run then.
    pub fn take(&mut self, ticket: &Ticket) -> Result<Taken, Error> {
        if self.open.contains_key(&ticket.id) || self.closed.contains_key(&ticket.id) {
            return Ok(Taken::Known);
        }
        if ticket.deliver_by <= self.watermark {
            return Ok(Taken::Forgotten);
        }
        self.write(Change::Accepted { ticket: Box::new(ticket.clone()) }, true)?;
        crash::point("agent.ledger.accepted");
        Ok(Taken::New)
    }

    /// Takes an order in and ends it in the same breath, so that no later process
    /// finds it waiting; also behind the watermark, where it can only be answered.
    ///
    /// # Errors
    /// If it cannot be made durable.
    pub fn refuse(&mut self, ticket: &Ticket, mut report: Report) -> Result<Taken, Error> {
        if self.open.contains_key(&ticket.id) || self.closed.contains_key(&ticket.id) {
            return Ok(Taken::Known);
        }
        report.seq = 1;
        self.write(Change::Refused { ticket: Box::new(ticket.clone()), report: Box::new(report) }, true)?;
        Ok(Taken::New)
    }

    /// From now on it may have run. Once for each id: what was started is never started again.
    ///
    /// # Errors
    /// If this cannot be made durable, or it was started before; it must not be started then.
    pub fn started(&mut self, id: CommandId) -> Result<(), Error> {
        self.must_be_open(id)?;
        if self.open.get(&id).is_none_or(|entry| entry.first.is_some()) {
            return Err(Error::NotOpen(id));
        }
        let at = self.clock.now();
        self.write(Change::Started { id, at }, true)?;
        crash::point("agent.command.started");
        Ok(())
    }

    /// Which process it is, so that a later agent can end it.
    ///
    /// # Errors
    /// From the file system.
    pub fn spawned(&mut self, id: CommandId, process: Mark) -> Result<(), Error> {
        // Only needed by the next process of this boot: what the kernel holds is enough.
        self.write(Change::Spawned { id, process }, false)
    }

    /// Notes what a command is to change, so that a later process can tell whether it did.
    ///
    /// # Errors
    /// If this cannot be made durable; it must not be changed then.
    pub fn noted(&mut self, id: CommandId, was: String) -> Result<(), Error> {
        self.must_be_open(id)?;
        self.write(Change::Noted { id, was }, true)
    }

    /// Keeps a piece of output; the report gets its number.
    ///
    /// # Errors
    /// From the file system; the report must not be sent then.
    pub fn output(&mut self, id: CommandId, mut report: Report) -> Result<(), Error> {
        self.must_be_open(id)?;
        let Some(entry) = self.open.get_mut(&id) else { return Err(Error::NotOpen(id)) };
        report.seq = entry.last_seq + 1;
        self.spool.append(id, &report).map_err(|source| Error::Io {
            doing: "append output to",
            folder: self.folder.clone(),
            source,
        })?;
        entry.last_seq = report.seq;
        Ok(())
    }

    /// Ends a command; the report gets its number.
    ///
    /// # Errors
    /// From the file system; the command then ends as interrupted in the next process.
    pub fn ended(&mut self, id: CommandId, mut report: Report) -> Result<(), Error> {
        self.must_be_open(id)?;
        report.seq = self.open.get(&id).map_or(0, |entry| entry.last_seq) + 1;
        self.write(Change::Ended { id, report: Box::new(report) }, true)?;
        crash::point("agent.ledger.ended");
        Ok(())
    }

    /// Reports of a command after `after`, at most `bytes` of output. Each says
    /// how far the ledger is, and to which request it belongs.
    ///
    /// # Errors
    /// From the file system.
    pub fn reports(&self, id: CommandId, after: u64, bytes: usize) -> Result<Vec<Report>, Error> {
        let Some(entry) = self.open.get(&id) else { return Ok(Vec::new()) };
        let mut found: Vec<Report> = entry.first.iter().filter(|first| first.seq > after).cloned().collect();
        let spooled = self.spool.read(id, after, bytes).map_err(|source| Error::Io {
            doing: "read output from",
            folder: self.folder.clone(),
            source,
        })?;
        found.extend(spooled);
        let last = found.last().map_or(after, |report| report.seq);
        found.extend(entry.end.iter().filter(|end| last.checked_add(1) == Some(end.seq)).cloned());
        for report in &mut found {
            report.ledger_seq = self.durable;
            report.trace.clone_from(&entry.ticket.trace);
        }
        Ok(found)
    }

    /// The control plane has stored everything up to `seq`.
    ///
    /// # Errors
    /// From the file system; nothing is lost, it will be acknowledged again.
    pub fn acked(&mut self, id: CommandId, seq: u64) -> Result<(), Error> {
        let Some(entry) = self.open.get_mut(&id) else { return Ok(()) };
        entry.acked = entry.acked.max(seq);
        let done = entry.end.as_ref().is_some_and(|end| end.seq <= entry.acked);
        if done {
            // Not flushed: if this is lost, the end is reported and acknowledged once more.
            self.write(Change::Closed { id }, false)?;
            self.spool.remove(id);
        }
        Ok(())
    }

    /// Forgets closed ids whose time for delivery is over, if the control plane's
    /// time is known, and rewrites a long journal.
    ///
    /// # Errors
    /// From the file system.
    pub fn tidy(&mut self, server_now: Option<UnixMillis>) -> Result<(), Error> {
        let passed = |deliver_by: &&UnixMillis| server_now.is_some_and(|now| **deliver_by < now);
        if let Some(newest) = self.closed.values().filter(passed).max() {
            self.watermark = self.watermark.max(*newest);
        }
        let watermark = self.watermark;
        self.closed.retain(|_, deliver_by| *deliver_by > watermark);
        if self.journal.wants_rewrite() { self.rewrite() } else { Ok(()) }
    }

    /// Lets every write to the journal fail as on a full disk, or no longer: for tests and models.
    pub const fn fill_disk(&mut self, full: bool) {
        self.journal.full = full;
    }

    fn must_be_open(&self, id: CommandId) -> Result<(), Error> {
        self.open.get(&id).filter(|entry| entry.end.is_none()).map(|_| ()).ok_or(Error::NotOpen(id))
    }

    fn write(&mut self, change: Change, durable: bool) -> Result<(), Error> {
        if !self.is_opened {
            self.append(Change::Opened, false)?;
            self.is_opened = true;
        }
        self.append(change, durable)
    }

    fn append(&mut self, change: Change, durable: bool) -> Result<(), Error> {
        let line = Line { seq: self.seq + 1, change };
        self.journal.append(&line, durable).map_err(|source| Error::Io {
            doing: "write to",
            folder: self.folder.clone(),
            source,
        })?;
        self.replay(line);
        if durable {
            self.durable = self.seq;
        }
        Ok(())
    }

    fn read_spool(&mut self) -> Result<(), Error> {
        let io = |source| Error::Io { doing: "read output from", folder: self.folder.clone(), source };
        for (id, last) in self.spool.recover(self.clock.now()).map_err(io)? {
            match self.open.get_mut(&id) {
                // What ended says nothing after its end.
                Some(entry) if entry.end.is_some() => {}
                Some(entry) => entry.last_seq = entry.last_seq.max(last),
                None => self.spool.remove(id),
            }
        }
        for entry in self.open.values() {
            // Numbers have no gaps, or the end would never be told.
            let until = entry.end.as_ref().map_or(entry.last_seq.saturating_add(1), |end| end.seq);
            let (id, at) = (entry.ticket.id, self.clock.now());
            self.spool.fit(id, entry.first.is_some(), until, at).map_err(io)?;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> Result<(), Error> {
        let closed = self.closed.iter().map(|(id, at)| (*id, *at)).collect();
        if !self.is_opened {
            self.shown.get_or_insert(self.seq);
            self.is_opened = true;
        }
        let (ledger, watermark, shown) = (self.id, self.watermark, self.shown);
        let begun = Change::Begun { ledger, watermark, closed, shown };
        let kept = self.open.values().map(|entry| Change::Kept { entry: Box::new(entry.clone()) });
        self.seq += 1; // also if it fails: the new file may be the one in use
        let seq = self.seq;
        let lines: Vec<Line> =
            std::iter::once(begun).chain(kept).map(|change| Line { seq, change }).collect();
        self.journal.replace(&lines).map_err(|source| Error::Io {
            doing: "rewrite",
            folder: self.folder.clone(),
            source,
        })?;
        self.durable = seq;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
