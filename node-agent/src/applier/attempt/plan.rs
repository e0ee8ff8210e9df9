//! What an attempt does to each path, decided before anything is done.

use std::{
    io,
    path::{Path, PathBuf},
};

use muster_common::digest::Sha256;

use super::{Attempt, New, refused, root_of};
use crate::{
    applier::{
        Failure,
        bundle::File,
        journal::{FolderStep, Step},
        records::{Kind, Original, Owned, keep_file, kept_as},
    },
    locks::Locks,
    platform::{
        bytes::Bytes,
        place::{Found, Rights},
    },
    verbs::{Hands, Spot},
};

impl Attempt {
    /// Brings a file, a folder, or the absence of a file.
    pub(super) fn bring_one(
        &mut self,
        file: &File,
        known: Option<&Owned>,
        locks: &Locks,
    ) -> Result<(), Failure> {
        let root = root_of(&file.path, locks)?;
        let planned = match file.kind {
            _ if known.is_some_and(|known| (known.kind == Kind::Folder) != (file.kind == Kind::Folder)) => {
                let path = file.path.display();
                let message = format!("{path} was a file and is to be a folder, or the other way round");
                Err(io::Error::new(io::ErrorKind::InvalidInput, message))
            }
            Kind::File => self.write(root, file, known),
            Kind::Absent => self.clear(root, file, known),
            Kind::Folder => self.folder(root, file, known),
        };
        planned.map_err(|error| refused(&error))
    }

    fn write(&mut self, root: PathBuf, file: &File, known: Option<&Owned>) -> io::Result<()> {
        let place = self.hands.open(&root, &file.path)?;
        let found = place.as_ref().map(Spot::read).transpose()?.flatten();
        self.own(file, known, place.filter(|_| found.is_some()))?;
        let owner = file.owner_or(found.as_ref().map_or_else(|| self.hands.me(), |found| found.rights.owner));
        let rights = Rights { mode: file.mode, owner };
        let bytes = file.content.bytes(&self.folder);
        if found.as_ref().is_some_and(|found| is_as(found, &bytes, rights)) {
            return Ok(());
        }
        let new = New { bytes, rights, strict: file.names_owner() };
        self.step(root, &file.path, found.is_some(), Some(new))
    }

    fn clear(&mut self, root: PathBuf, file: &File, known: Option<&Owned>) -> io::Result<()> {
        let place = self.hands.open(&root, &file.path)?;
        let found = place.as_ref().map(Spot::read).transpose()?.flatten();
        self.own(file, known, place.filter(|_| found.is_some()))?;
        if found.is_some() { self.step(root, &file.path, true, None) } else { Ok(()) }
    }

    /// It belongs to the item from now on; what was there before is kept. `found`: where
    /// there is a file now.
    fn own(&mut self, file: &File, known: Option<&Owned>, found: Option<Spot>) -> io::Result<()> {
        // What somebody put where nothing had to be is not the item's.
        let known = known.filter(|known| known.kind != Kind::Absent || known.original.is_some());
        let original = match (known, found) {
            (Some(known), _) => known.original.clone(),
            (None, None) => None,
            (None, Some(found)) => keep(&self.folder, &found)?,
        };
        self.owned.push(Owned { path: file.path.clone(), original, kind: file.kind });
        Ok(())
    }

    fn folder(&mut self, root: PathBuf, file: &File, known: Option<&Owned>) -> io::Result<()> {
        let found = self.hands.open(&root, &file.path)?.map(|place| place.folder()).transpose()?.flatten();
        let of_before =
            |rights: Rights| Original { sha256: Sha256::ZERO, mode: rights.mode, owner: rights.owner };
        let original = known.map_or_else(|| found.map(of_before), |known| known.original.clone());
        self.owned.push(Owned { path: file.path.clone(), original, kind: Kind::Folder });
        let owner = file.owner_or(found.map_or_else(|| self.hands.me(), |found| found.owner));
        let after = Rights { mode: file.mode, owner };
        if found != Some(after) {
            self.folder_step(
                root,
                &file.path,
                FolderStep { before: found, after, strict: file.names_owner() },
            )?;
        }
        Ok(())
    }

    /// What was there before Muster comes back.
    pub(super) fn give_back(&mut self, owned: &Owned, locks: &Locks) -> Result<(), Failure> {
        let root = root_of(&owned.path, locks)?;
        let planned = match (owned.kind, &owned.original) {
            // What somebody put there meanwhile is theirs.
            (Kind::Absent, None) => Ok(()),
            (Kind::Folder, original) => self.give_folder_back(root, &owned.path, original.as_ref()),
            (_, original) => self.give_file_back(root, &owned.path, original.as_ref()),
        };
        planned.map_err(|error| refused(&error))
    }

    /// What the item wrote goes, whatever was there before. What it did not write stays.
    pub(super) fn delete(&mut self, owned: &Owned, locks: &Locks) -> Result<(), Failure> {
        let root = root_of(&owned.path, locks)?;
        let planned = match owned.kind {
            Kind::Absent => Ok(()),
            Kind::Folder => self.give_folder_back(root, &owned.path, owned.original.as_ref()),
            Kind::File => self.give_file_back(root, &owned.path, None),
        };
        planned.map_err(|error| refused(&error))
    }

    fn give_file_back(&mut self, root: PathBuf, path: &Path, original: Option<&Original>) -> io::Result<()> {
        let new = original.map(|original| New {
            bytes: kept_as(&self.folder, original.sha256),
            rights: original.rights(),
            strict: false,
        });
        let found = read(&self.hands, &root, path)?;
        let is_back = match (&found, &new) {
            (None, None) => true,
            (Some(found), Some(new)) => is_as(found, &new.bytes, new.rights),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_back { Ok(()) } else { self.step(root, path, found.is_some(), new) }
    }

    /// One that was made for the item goes later, if it is empty; one that is gone stays so.
    fn give_folder_back(
        &mut self,
        root: PathBuf,
        path: &Path,
        original: Option<&Original>,
    ) -> io::Result<()> {
        let Some(after) = original.map(Original::rights) else { return Ok(()) };
        let found = self.hands.open(&root, path)?.map(|place| place.folder()).transpose()?.flatten();
        match found.filter(|found| *found != after) {
            Some(before) => {
                self.folder_step(root, path, FolderStep { before: Some(before), after, strict: false })
            }
            None => Ok(()),
        }
    }

    fn step(&mut self, root: PathBuf, path: &Path, had: bool, new: Option<New>) -> io::Result<()> {
        if new.is_some() {
            self.will_make(&root, self.hands.missing(&root, path)?);
        }
        self.journal.steps.push(Step {
            root,
            path: path.to_owned(),
            had,
            removes: new.is_none(),
            folder: None,
        });
        self.contents.push(new);
        Ok(())
    }

    fn folder_step(&mut self, root: PathBuf, path: &Path, step: FolderStep) -> io::Result<()> {
        let had = step.before.is_some();
        if !had {
            let mut missing = self.hands.missing(&root, path)?;
            missing.push(path.to_owned());
            self.will_make(&root, missing);
        }
        let step = Step { root, path: path.to_owned(), had, removes: false, folder: Some(step) };
        self.journal.steps.push(step);
        self.contents.push(None);
        Ok(())
    }

    fn will_make(&mut self, root: &Path, folders: Vec<PathBuf>) {
        for folder in folders {
            let made = (root.to_owned(), folder);
            if !self.journal.made.contains(&made) {
                self.journal.made.push(made);
            }
        }
    }
}

/// Keeps what is there.
fn keep(folder: &Path, place: &Spot) -> io::Result<Option<Original>> {
    let kept = place.keep_original(|content| keep_file(folder, content))?;
    Ok(kept.map(|(sha256, rights)| Original { sha256, mode: rights.mode, owner: rights.owner }))
}

fn is_as(found: &Found, bytes: &Bytes, rights: Rights) -> bool {
    found.rights == rights && found.sha256 == bytes.sha256()
}

fn read(hands: &Hands, root: &Path, path: &Path) -> io::Result<Option<Found>> {
    Ok(hands.open(root, path)?.map(|place| place.read()).transpose()?.flatten())
}
