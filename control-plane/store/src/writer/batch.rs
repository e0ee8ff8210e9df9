//! Many writes, one commit.

use std::sync::Arc;

use muster_common::{
    clock::{Clock, Instant},
    crash,
};

use super::{
    Task,
    request::{Ran, Request},
};
use crate::{
    engine::Begin,
    error::Error,
    meter::Batch,
    tx::{Head, WriteTx},
};

type Verdict = Result<u64, Error>;

/// Why a transaction came to nothing.
enum Lost {
    /// The engine ended it inside one of the writes.
    By(usize, Verdict),
    /// Nobody in particular: begin, commit, or what lies between.
    All(Error),
    /// Nobody: the same again may succeed.
    Interrupted(Error),
    /// It may be committed: the answer did not come.
    Unsure(Done, Error),
}

/// What a batch has come to, if it is committed.
struct Done {
    verdicts: Vec<Verdict>,
    moved: Option<(u64, u64)>,
    audit_entries: u64,
    begun: Instant,
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self::All(error)
    }
}

impl Task {
    /// Writes all of these, and answers each.
    pub(super) fn write(&mut self, mut requests: Vec<Request>) {
        let mut patience = self.patience.begin();
        let (mut unsure, mut was_unsure) = (None, false);
        while !requests.is_empty() {
            match self.attempt(&mut requests, &mut unsure) {
                Ok(verdicts) => {
                    self.patience.has_paid();
                    requests.drain(..).zip(verdicts).for_each(|(request, verdict)| request.answer(verdict));
                }
                // The others can do nothing about it: once more, without that one.
                Err(Lost::By(index, verdict)) => {
                    self.failed(1);
                    requests.remove(index).answer(verdict);
                }
                // One big write may be what does not fit: the small ones get their chance.
                Err(Lost::All(Error::DiskFull(_))) if requests.len() > 1 && unsure.is_none() => {
                    requests.drain(..).for_each(|request| self.write(vec![request]));
                }
                // The first time there is nothing to wait for; where each commit is lost, there is.
                Err(Lost::Unsure(done, error)) if !was_unsure || patience.wait() => {
                    was_unsure = true;
                    tracing::warn!(%error, "a commit was not answered; looking what became of it");
                    unsure = Some(done);
                }
                Err(Lost::Interrupted(_)) if patience.wait() => {}
                Err(Lost::Unsure(_, error)) => self.refuse(&mut requests, &unknown(error)),
                Err(Lost::All(error) | Lost::Interrupted(error)) => {
                    let error = if unsure.is_some() { unknown(error) } else { error };
                    self.refuse(&mut requests, &error);
                }
            }
        }
    }

    fn refuse(&mut self, requests: &mut Vec<Request>, error: &Error) {
        self.patience.was_in_vain();
        self.failed(requests.len() as u64);
        requests.drain(..).for_each(|request| request.answer(Err(error.clone())));
    }

    fn failed(&self, writes: u64) {
        if let Some(meter) = self.meter.get() {
            meter.failed(writes);
        }
    }

    /// Once. `unsure` is what an attempt before this one has come to, if it is committed.
    fn attempt(&mut self, requests: &mut [Request], unsure: &mut Option<Done>) -> Result<Vec<Verdict>, Lost> {
        let done = self.begun(requests, unsure);
        if done.is_err()
            && let Err(error) = self.engine.rollback()
        {
            tracing::error!(%error, "a transaction of the database could not be rolled back");
        }
        done
    }

    fn begun(&mut self, requests: &mut [Request], unsure: &mut Option<Done>) -> Result<Vec<Verdict>, Lost> {
        let since = Clock::System.monotonic();
        let begun = self.engine.begin(Begin::Write).and_then(|()| self.take_feed());
        let before = begun.map_err(|error| match error {
            // The server has not noticed yet that the commit's own session is gone.
            Error::Locked(_) if unsure.is_some() => Lost::Interrupted(error),
            error => self.lost(error),
        })?;
        if unsure.is_some() {
            // Whoever held the revision row has let go of it: that commit is decided.
            let was_published = self.engine.was_published().map_err(|error| self.lost(error))?;
            if was_published {
                self.engine.confirm().map_err(|error| self.lost(error))?;
                return Ok(unsure.take().map_or_else(Vec::new, |done| self.is_committed(done)));
            }
            *unsure = None;
        }
        let done = self.run_all(requests, before, since)?;
        crash::point("store.before-commit");
        match self.engine.publish(done.moved) {
            Ok(()) => {}
            Err(error) if self.engine.interrupted().is_some() => return Err(Lost::Unsure(done, error)),
            Err(error) => return Err(Lost::All(error)),
        }
        crash::point("store.after-commit");
        Ok(self.is_committed(done))
    }

    /// Whether the transaction or its statement is to blame.
    fn lost(&self, error: Error) -> Lost {
        if self.engine.interrupted().is_some() || matches!(error, Error::Unreachable(_)) {
            Lost::Interrupted(error)
        } else {
            Lost::All(error)
        }
    }

    fn is_committed(&self, done: Done) -> Vec<Verdict> {
        if let Some(meter) = self.meter.get() {
            let (writes, took) = (done.verdicts.len() as u64, Clock::System.monotonic() - done.begun);
            meter.committed(Batch { writes, audit_entries: done.audit_entries, took });
        }
        if let Some((revision, _)) = done.moved {
            self.committed.send_if_modified(|known| {
                let newer = revision > *known;
                *known = revision.max(*known);
                newer
            });
        }
        done.verdicts
    }

    fn run_all(&mut self, requests: &mut [Request], before: Head, begun: Instant) -> Result<Done, Lost> {
        let (revision, audit_place) = (before.revision, before.audit_place);
        let mut head = before;
        let mut verdicts = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter_mut().enumerate() {
            if index > 0 {
                crash::point("store.mid-batch");
            }
            let verdict = self.run_one(request, &mut head).map_err(|error| self.lost(error))?;
            if let Some(error) = self.engine.interrupted() {
                return Err(Lost::Interrupted(error));
            }
            if !self.engine.in_transaction() {
                return Err(Lost::By(index, verdict));
            }
            verdicts.push(verdict);
        }
        let is_moved = (head.revision, head.audit_place) != (revision, audit_place);
        let moved = is_moved.then_some((head.revision, head.audit_place));
        let audit_entries = head.audit_place.saturating_sub(audit_place);
        Ok(Done { verdicts, moved, audit_entries, begun })
    }

    /// Runs one write under its savepoint. `Err`: the whole batch is lost.
    fn run_one(&mut self, request: &mut Request, head: &mut Head) -> Result<Verdict, Error> {
        self.engine.begin_one()?;
        let ran = request.run(|stamp| WriteTx::new(&mut *self.engine, stamp, &self.replica, head.clone()));
        let (keep, verdict) = match ran {
            Ok(Ran::Accepted(after)) => {
                *head = after;
                (true, Ok(head.revision))
            }
            Ok(Ran::Refused) => (false, Ok(head.revision)),
            Err(error) => (false, Err(error)),
        };
        if self.engine.in_transaction() {
            self.engine.end_one(keep)?;
        }
        Ok(verdict)
    }

    fn take_feed(&mut self) -> Result<Head, Error> {
        let mut head = None;
        let sql = self.engine.dialect().take_feed;
        self.engine.query(sql, &[], &mut |mut row| {
            let (revision, audit_place) = (row.u64("revision")?, row.u64("audit place")?);
            head = Some(Head { revision, audit_place, link: None });
            Ok(())
        })?;
        head.ok_or_else(|| Error::row("revision row", "none"))
    }
}

/// A write whose commit was not answered, and of which nothing was heard since.
fn unknown(error: Error) -> Error {
    match error {
        Error::Unreachable(cause) | Error::Locked(cause) => Error::OutcomeUnknown(cause),
        error => Error::OutcomeUnknown(Arc::new(error)),
    }
}
