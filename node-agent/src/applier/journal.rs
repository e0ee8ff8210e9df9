//! What an attempt is about to do to files, written before it does it, so that
//! it can be undone by a process that knows nothing else.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_common::{clock::UnixMillis, generation::Generation};
use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::platform::files;

/// What is being done to which item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) item: String,
    pub(super) generation: Generation,
    /// The item is being taken off the host.
    pub(super) removal: bool,
    pub(super) phase: Phase,
    pub(super) steps: Vec<Step>,
    /// Folders that will be made: under which root, and which.
    pub(super) made: Vec<(PathBuf, PathBuf)>,
}

/// How far it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// Nothing that anybody reads has changed.
    Staging,
    /// Files may have been swapped.
    Swapping,
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
}

impl Journal {
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        match fs::read(path(folder)) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        files::write_atomically(&path(folder), &serde_json::to_vec_pretty(self)?, 0o600)
    }

    /// The files are as they were before. Safe to repeat.
    pub(super) fn undo(&self) -> io::Result<()> {
        for step in self.steps.iter().rev() {
            let Some(place) = Place::open(&step.root, &step.path)? else { continue };
            place.clear_staged()?;
            if step.had {
                place.swap_back()?;
            } else if self.phase == Phase::Swapping {
                place.remove()?;
            }
            place.sync()?;
        }
        remove_folders(&self.made)
    }

    /// The attempt is decided: what was kept for the way back goes.
    pub(super) fn clear(&self) -> io::Result<()> {
        for step in &self.steps {
            if let Some(place) = Place::open(&step.root, &step.path)? {
                place.clear()?;
            }
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
pub(super) fn remove_folders(folders: &[(PathBuf, PathBuf)]) -> io::Result<()> {
    for (root, folder) in folders.iter().rev() {
        if let Some(place) = Place::open(root, folder)? {
            place.remove_folder()?;
        }
    }
    Ok(())
}

fn path(folder: &Path) -> PathBuf {
    folder.join("journal.json")
}
