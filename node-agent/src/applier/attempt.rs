//! One attempt to change files: planned whole before anything is done.

use std::{
    io,
    path::{Path, PathBuf},
};

use muster_common::{crash, reason::Reason};

mod plan;

use super::{
    Failure,
    base::Base,
    bundle::{Bundle, OnRemove},
    journal::{Journal, Phase, Step},
    records::{Owned, Record},
};
use crate::{
    locks::Locks,
    platform::{bytes::Bytes, place::Rights},
    state::{Cause, ItemVersion},
    verbs::{Hands, Spot},
};

/// A planned attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    folder: PathBuf,
    hands: Hands,
    pub(super) journal: Journal,
    /// What each step of the journal writes; `None` where it removes.
    contents: Vec<Option<New>>,
    /// Files that belong to the item afterwards.
    pub(super) owned: Vec<Owned>,
    /// Folders made for it, those of earlier attempts included.
    pub(super) made: Vec<(PathBuf, PathBuf)>,
}

/// What a step writes.
#[derive(Debug)]
struct New {
    bytes: Bytes,
    rights: Rights,
    /// The bundle names an owner: one that cannot be set is an error.
    strict: bool,
}

impl Attempt {
    /// An attempt that does nothing yet.
    pub(super) fn new(base: &Base, item: &str, version: &ItemVersion, removal: bool) -> Self {
        let journal = Journal {
            item: item.to_owned(),
            version: version.clone(),
            removal,
            phase: Phase::Staging,
            steps: Vec::new(),
            made: Vec::new(),
            leaves: Vec::new(),
            correction: None,
            hook: None,
            run: None,
            confirm_until: None,
        };
        Self {
            folder: base.folder.clone(),
            hands: base.hands.clone(),
            journal,
            contents: Vec::new(),
            owned: Vec::new(),
            made: Vec::new(),
        }
    }

    /// Brings a bundle to where the record's one is.
    pub(super) fn bring(
        base: &Base,
        (item, version): (&str, &ItemVersion),
        bundle: &Bundle,
        former: Option<&Record>,
        locks: &Locks,
    ) -> Result<Self, Failure> {
        let mut attempt = Self::new(base, item, version, false);
        for file in &bundle.files {
            let known = former.and_then(|record| record.owned.iter().find(|owned| owned.path == file.path));
            attempt.bring_one(file, known, locks)?;
        }
        let dropped = former.iter().flat_map(|record| &record.owned);
        for owned in dropped.filter(|owned| !bundle.paths().any(|path| path == owned.path)) {
            attempt.give_back(owned, locks)?;
        }
        attempt.made = former.map(|record| record.made.clone()).unwrap_or_default();
        for made in &attempt.journal.made {
            if !attempt.made.contains(made) {
                attempt.made.push(made.clone());
            }
        }
        Ok(attempt)
    }

    /// Takes all files of a record away, as its bundle wants it.
    pub(super) fn take_away(
        mut self,
        record: &Record,
        on_remove: OnRemove,
        locks: &Locks,
    ) -> Result<Self, Failure> {
        for owned in &record.owned {
            match on_remove {
                OnRemove::Restore => self.give_back(owned, locks)?,
                OnRemove::Remove => self.delete(owned, locks)?,
                OnRemove::Leave => {}
            }
        }
        Ok(self)
    }

    /// Whether any file changes.
    pub(super) const fn changes(&self) -> bool {
        !self.journal.steps.is_empty()
    }

    /// Writes everything beside its place, and keeps what is there.
    pub(super) fn stage(&self) -> io::Result<()> {
        self.journal.save(&self.folder)?;
        crash::point("agent.apply.journaled");
        for (step, content) in self.journal.steps.iter().zip(&self.contents) {
            let place = self.hands.make(&step.root, &step.path)?;
            if step.folder.is_some() {
                if !step.had {
                    place.make_folder()?;
                }
            } else {
                if let Some(New { bytes, rights, strict }) = content {
                    place.stage(bytes, *rights, *strict)?;
                }
                if step.had {
                    place.keep()?;
                }
            }
            place.sync()?;
        }
        crash::point("agent.apply.staged");
        Ok(())
    }

    /// Puts everything in its place.
    pub(super) fn swap(&mut self) -> io::Result<()> {
        if !self.changes() {
            return Ok(());
        }
        self.journal.phase = Phase::Swapping;
        self.journal.save(&self.folder)?;
        for step in &self.journal.steps {
            let place = self.hands.make(&step.root, &step.path)?;
            put(step, &place)?;
            place.sync()?;
            crash::point("agent.apply.swapping");
        }
        crash::point("agent.apply.swapped");
        Ok(())
    }

    /// The files are as they were. The journal stays until services have heard of it.
    pub(super) fn undo(&mut self) -> io::Result<()> {
        self.journal.undo(&self.hands)?;
        self.journal.returned(&self.folder);
        Ok(())
    }

    /// The record is written: what was kept for the way back goes.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.journal.clear(&self.hands)?;
        Journal::forget(&self.folder)
    }
}

/// The one moment in which a path changes.
pub(super) fn put(step: &Step, place: &Spot) -> io::Result<()> {
    match &step.folder {
        Some(folder) => place.set_rights(folder.after, folder.strict),
        None if step.removes => place.remove(),
        None => place.swap_in(),
    }
}

fn root_of(path: &Path, locks: &Locks) -> Result<PathBuf, Failure> {
    let refused = || locks.refuses_writing(path).unwrap_or_default();
    let root = locks.writable_root_of(path).map(Path::to_owned);
    root.ok_or_else(|| Failure::rejected(Reason::PathNotAllowed, Cause::Host, refused()))
}

/// Refused while it was planned or staged.
pub(super) fn refused(error: &io::Error) -> Failure {
    match error.kind() {
        // What a place says of links and of things that are no files.
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput => {
            Failure::rejected(Reason::PathNotAllowed, Cause::Host, error.to_string())
        }
        _ => Failure::host(error),
    }
}
