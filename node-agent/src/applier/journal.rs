//! What an attempt is about to do to files, written before it does it, so that
//! it can be undone by a process that knows nothing else.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_common::{clock::UnixMillis, crash, ids::CommandId};
use serde::{Deserialize, Serialize};

use crate::{
    platform::{files, place::Rights, process::Mark},
    state::ItemVersion,
    verbs::Hands,
};

/// What is being done to which item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) item: String,
    /// What it is brought to; of a removal only the generation says anything.
    pub(super) version: ItemVersion,
    /// The item is being taken off the host.
    pub(super) removal: bool,
    pub(super) phase: Phase,
    pub(super) steps: Vec<Step>,
    /// Folders that will be made: under which root, and which.
    pub(super) made: Vec<(PathBuf, PathBuf)>,
    /// Of a removal: folders that were made for the item, and go with it if they are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) leaves: Vec<(PathBuf, PathBuf)>,
    /// What runs is corrected, for this number of times: the record says when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) correction: Option<u64>,
    /// The hook that was started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hook: Option<Mark>,
    /// The same, if the executor runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<CommandId>,
    /// The hooks have said yes: until then the line to the control plane must prove itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) confirm_until: Option<UnixMillis>,
}

/// How far it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// Nothing that anybody reads has changed.
    Staging,
    /// Files may have been swapped.
    Swapping,
    /// The files are as they were before; services may not have heard of it.
    Returned,
}

/// What is done to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) root: PathBuf,
    pub(super) path: PathBuf,
    /// There was a file before.
    pub(super) had: bool,
    /// There will be none.
    pub(super) removes: bool,
    /// It is about a folder, and only its rights are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) folder: Option<FolderStep>,
}

/// What is done to one folder. A new one is also among those that are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FolderStep {
    /// `None`: it is new.
    pub(super) before: Option<Rights>,
    pub(super) after: Rights,
    /// The bundle names an owner: one that cannot be set is an error.
    pub(super) strict: bool,
}

impl Journal {
    /// What is there. One that is damaged is set aside: it must not stop the agent.
    pub(super) fn load(folder: &Path, now: UnixMillis) -> io::Result<Option<Self>> {
        let json = match fs::read(path(folder)) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice(&json) {
            Ok(journal) => Ok(Some(journal)),
            Err(error) => {
                tracing::error!(%error, "the journal of an unfinished change was damaged and set aside: files may be old and new");
                Self::set_aside(folder, now).map(|()| None)
            }
        }
    }

    /// What is there, for somebody who changes nothing.
    pub(super) fn look(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&files::read_plain(&path(folder)).ok()?).ok()
    }

    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        files::write_atomically(&path(folder), &serde_json::to_vec_pretty(self)?, 0o600)
    }

    /// The files are as they were before. Safe to repeat. What fails does not keep
    /// the rest from returning.
    pub(super) fn undo(&self, hands: &Hands) -> io::Result<()> {
        let undo = |step| {
            let undone = self.undo_step(step, hands);
            crash::point("agent.apply.undoing");
            undone
        };
        let undone = first_error(self.steps.iter().rev().map(undo));
        undone.and(remove_folders(&self.made, hands))
    }

    fn undo_step(&self, step: &Step, hands: &Hands) -> io::Result<()> {
        let Some(place) = hands.open(&step.root, &step.path)? else { return Ok(()) };
        if let Some(folder) = &step.folder {
            return match folder.before.filter(|_| self.phase == Phase::Swapping) {
                Some(before) if place.folder()?.is_some() => place.set_rights(before, false),
                _ => Ok(()),
            };
        }
        match self.phase {
            // Nothing was swapped. What lies beside the place may be of an older attempt and
            // have come back with a loss of power: it is nothing to return to.
            Phase::Staging | Phase::Returned => place.clear()?,
            Phase::Swapping => {
                place.clear_staged()?;
                if step.had {
                    place.swap_back()?;
                } else {
                    place.remove()?;
                }
            }
        }
        place.sync()
    }

    /// The files have returned: from now on others may write them.
    pub(super) fn returned(&mut self, folder: &Path) {
        if self.phase == Phase::Swapping {
            self.phase = Phase::Returned;
            if let Err(error) = self.save(folder) {
                tracing::warn!(%error, "could not write down that files have returned");
            }
            crash::point("agent.apply.returned");
        }
    }

    /// The attempt is decided: what was kept for the way back goes, durably, so
    /// that no later attempt meets it.
    pub(super) fn clear(&self, hands: &Hands) -> io::Result<()> {
        let files = self.steps.iter().filter(|step| step.folder.is_none());
        first_error(files.map(|step| match hands.open(&step.root, &step.path)? {
            Some(place) => place.clear().and_then(|()| place.sync()),
            None => Ok(()),
        }))?;
        if let Err(error) = remove_folders(&self.leaves, hands) {
            let item = &self.item;
            tracing::warn!(item, %error, "folders of {item} could not be removed");
        }
        Ok(())
    }

    /// Kept for a person to look at.
    pub(super) fn set_aside(folder: &Path, now: UnixMillis) -> io::Result<()> {
        fs::rename(path(folder), folder.join(format!("journal.failed-{}.json", now.0)))?;
        files::sync_folder(folder)
    }

    pub(super) fn forget(folder: &Path) -> io::Result<()> {
        match fs::remove_file(path(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => files::sync_folder(folder),
        }
    }
}

/// Takes away those folders that are empty, the deepest first.
fn remove_folders(folders: &[(PathBuf, PathBuf)], hands: &Hands) -> io::Result<()> {
    first_error(folders.iter().rev().map(|(root, folder)| match hands.open(root, folder)? {
        Some(place) => place.remove_folder(),
        None => Ok(()),
    }))
}

/// Does all of it, whatever fails; the first failure is told.
fn first_error(all: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    all.fold(Ok(()), Result::and)
}

fn path(folder: &Path) -> PathBuf {
    folder.join("journal.json")
}
