//! Many writes, one commit.

use muster_common::crash;

use super::{
    Task,
    request::{Ran, Request},
};
use crate::{
    engine::{Engine as _, params},
    error::Error,
    tx::{Head, WriteTx},
};

type Verdict = Result<u64, Error>;

/// Why a transaction came to nothing.
enum Lost {
    /// The engine ended it inside one of the writes.
    By(usize, Verdict),
    /// Nobody in particular: begin, commit, or what lies between.
    All(Error),
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self::All(error)
    }
}

impl Task {
    /// Writes all of these, and answers each.
    pub(super) fn write(&mut self, mut requests: Vec<Request>) {
        while !requests.is_empty() {
            match self.attempt(&mut requests) {
                Ok(verdicts) => {
                    requests.drain(..).zip(verdicts).for_each(|(request, verdict)| request.answer(verdict));
                }
                // The others can do nothing about it: once more, without that one.
                Err(Lost::By(index, verdict)) => requests.remove(index).answer(verdict),
                // One big write may be what does not fit: the small ones get their chance.
                Err(Lost::All(Error::DiskFull(_))) if requests.len() > 1 => {
                    requests.drain(..).for_each(|request| self.write(vec![request]));
                }
                Err(Lost::All(error)) => {
                    requests.drain(..).for_each(|request| request.answer(Err(error.clone())));
                }
            }
        }
    }

    fn attempt(&mut self, requests: &mut [Request]) -> Result<Vec<Verdict>, Lost> {
        self.engine.execute(self.engine.dialect().begin_write, &[])?;
        let done = self.run_all(requests);
        if done.is_err()
            && self.engine.in_transaction()
            && let Err(error) = self.engine.execute("ROLLBACK", &[])
        {
            tracing::error!(%error, "a transaction of the database could not be rolled back");
        }
        done
    }

    fn run_all(&mut self, requests: &mut [Request]) -> Result<Vec<Verdict>, Lost> {
        let before = self.take_feed()?;
        let mut head = before.clone();
        let mut verdicts = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter_mut().enumerate() {
            if index > 0 {
                crash::point("store.mid-batch");
            }
            let verdict = self.run_one(request, &mut head)?;
            if !self.engine.in_transaction() {
                return Err(Lost::By(index, verdict));
            }
            verdicts.push(verdict);
        }
        if (head.revision, head.audit_place) != (before.revision, before.audit_place) {
            let row = params![head.revision, head.audit_place];
            self.engine.execute("UPDATE feed SET revision = $1, audit_place = $2", row)?;
        }
        crash::point("store.before-commit");
        self.engine.execute("COMMIT", &[])?;
        crash::point("store.after-commit");
        if head.revision > before.revision {
            self.committed.send_if_modified(|known| {
                let newer = head.revision > *known;
                *known = head.revision.max(*known);
                newer
            });
        }
        Ok(verdicts)
    }

    /// Runs one write under its savepoint. `Err`: the whole batch is lost.
    fn run_one(&mut self, request: &mut Request, head: &mut Head) -> Result<Verdict, Error> {
        self.engine.execute("SAVEPOINT one_write", &[])?;
        let ran = request.run(|stamp| WriteTx::new(&mut self.engine, stamp, &self.replica, head.clone()));
        let (keep, verdict) = match ran {
            Ok(Ran::Accepted(after)) => {
                *head = after;
                (true, Ok(head.revision))
            }
            Ok(Ran::Refused) => (false, Ok(head.revision)),
            Err(error) => (false, Err(error)),
        };
        if self.engine.in_transaction() {
            if !keep {
                self.engine.execute("ROLLBACK TO SAVEPOINT one_write", &[])?;
            }
            self.engine.execute("RELEASE SAVEPOINT one_write", &[])?;
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
