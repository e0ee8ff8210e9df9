//! One update: the client workflow of the specification (5.3 to 5.6), as a machine that
//! says what it wants next.
//!
//! ```text
//! Root --no newer one--> Timestamp --> Snapshot --> Targets --> Done
//!  ^ \--the next one--/
//! ```

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use tough::schema::{self, Metafile, RoleType, Root, Snapshot, Targets, Timestamp};

use super::{Error, Kept, MOST_ROOTS, Repository, Role, role::Read, trusted::Trusted};
use crate::{clock::UnixMillis, digest::Sha256};

/// An update that is under way. What it has believed so far is in [`Update::kept`], also
/// after an error.
#[derive(Debug, Clone)]
pub struct Update {
    now: UnixMillis,
    trusted: Trusted,
    /// The root with which it began.
    began: Read<Root>,
    step: Step,
    roots: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    Done,
}

/// Metadata that is to come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Where a mirror has it: `metadata/2.root.json`.
    pub path: String,
    /// More bytes are none of it.
    pub most: u64,
    /// That there is none is no fault: it is a root that may not have been made yet.
    pub optional: bool,
}

impl Update {
    /// Begins with the root that this host pins, and with what was kept of the last update.
    /// All of it is judged by one moment.
    ///
    /// # Errors
    /// If the pinned root cannot be used, or what is kept is damaged.
    pub fn begin(pinned: &[u8], kept: Option<&Kept>, now: UnixMillis) -> Result<Self, Error> {
        let trusted = Trusted::begin(pinned, kept)?;
        let began = trusted.root.clone();
        Ok(Self { now, trusted, began, step: Step::Root, roots: 0 })
    }

    /// What is to be given next. `None`: it is done.
    #[must_use]
    pub fn wants(&self) -> Option<Want> {
        let consistent = self.trusted.root.signed.signed.consistent_snapshot;
        let versioned = |version: Option<u64>, name: &str| match version {
            Some(version) if consistent => format!("metadata/{version}.{name}"),
            _ => format!("metadata/{name}"),
        };
        let (path, role) = match self.step {
            Step::Root => (format!("metadata/{}.root.json", self.trusted.root.version() + 1), Role::Root),
            Step::Timestamp => ("metadata/timestamp.json".to_owned(), Role::Timestamp),
            Step::Snapshot => (versioned(self.named_snapshot(), "snapshot.json"), Role::Snapshot),
            Step::Targets => (versioned(self.named_targets(), "targets.json"), Role::Targets),
            Step::Done => return None,
        };
        Some(Want { path, most: role.most(), optional: role == Role::Root })
    }

    /// Takes what was wanted; `None`: there is none.
    ///
    /// # Errors
    /// If it is not believed; nothing of it is, then, and the update is over.
    pub fn take(&mut self, bytes: Option<&[u8]>) -> Result<(), Error> {
        let Some(bytes) = bytes else { return self.nothing() };
        match self.step {
            Step::Root => self.root(bytes),
            Step::Timestamp => self.timestamp(bytes),
            Step::Snapshot => self.snapshot(bytes),
            Step::Targets => self.targets(bytes),
            Step::Done => Ok(()),
        }
    }

    /// What is believed by now, to be written down.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.trusted.kept()
    }

    /// The repository, once nothing more is wanted.
    ///
    /// # Errors
    /// If something was still wanted.
    pub fn finish(self) -> Result<Repository, Error> {
        match self.wants() {
            Some(want) => Err(Error::Missing { path: want.path }),
            None => self.trusted.repository(self.now),
        }
    }

    fn nothing(&mut self) -> Result<(), Error> {
        match self.wants() {
            Some(Want { optional: true, .. }) => self.last_root(),
            Some(Want { path, .. }) => Err(Error::Missing { path }),
            None => Ok(()),
        }
    }

    /// There is no newer root: this one must be for now.
    fn last_root(&mut self) -> Result<(), Error> {
        self.trusted.root.check_time(self.now)?;
        self.step = Step::Timestamp;
        Ok(())
    }

    /// The next root: signed by the keys of the one before it, and by its own.
    fn root(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.roots >= MOST_ROOTS {
            return Err(Error::TooManyRoots { most: MOST_ROOTS });
        }
        let next = Read::<Root>::parse(bytes)?;
        next.check_signatures(&self.trusted.root)?;
        next.check_keys()?;
        next.check_signatures(&next)?;
        let expected = self.trusted.root.version() + 1;
        if next.version() != expected {
            return Err(Error::RootSkipped { expected, offered: next.version() });
        }
        self.trusted.root = next;
        self.roots += 1;
        // With each root, and not after the last: what is kept of a chain that broke off
        // must not have a floor that belongs to keys of before it.
        self.trusted.forget_if_rotated(&self.began);
        Ok(())
    }

    fn timestamp(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let new = Read::<Timestamp>::parse(bytes)?;
        new.check_signatures(&self.trusted.root)?;
        let snapshot = named(&new.signed.signed.meta, "snapshot.json", Role::Timestamp)?;
        if let Some(old) = &self.trusted.timestamp {
            not_older(Role::Timestamp, old.version(), new.version())?;
            let before = named(&old.signed.signed.meta, "snapshot.json", Role::Timestamp)?;
            not_older(Role::Snapshot, before.version.get(), snapshot.version.get())?;
            // One version has one content: the one that was trusted.
            if old.version() == new.version() {
                old.check_time(self.now)?;
                self.step = Step::Snapshot;
                return Ok(());
            }
        }
        new.check_time(self.now)?;
        self.trusted.timestamp = Some(new);
        self.step = Step::Snapshot;
        Ok(())
    }

    fn snapshot(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let new = Read::<Snapshot>::parse(bytes)?;
        if let Some(timestamp) = &self.trusted.timestamp {
            belongs(&timestamp.signed.signed.meta, "snapshot.json", &new)?;
        }
        new.check_signatures(&self.trusted.root)?;
        named(&new.signed.signed.meta, "targets.json", Role::Snapshot)?;
        if let Some(old) = &self.trusted.snapshot {
            not_older(Role::Snapshot, old.version(), new.version())?;
            for (name, before) in &old.signed.signed.meta {
                let now = named(&new.signed.signed.meta, name, Role::Snapshot)?;
                not_older(Role::Targets, before.version.get(), now.version.get())?;
            }
        }
        new.check_time(self.now)?;
        self.trusted.snapshot = Some(new);
        self.step = Step::Targets;
        Ok(())
    }

    fn targets(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let new = Read::<Targets>::parse(bytes)?;
        if let Some(snapshot) = &self.trusted.snapshot {
            belongs(&snapshot.signed.signed.meta, "targets.json", &new)?;
        }
        new.check_signatures(&self.trusted.root)?;
        new.check_time(self.now)?;
        self.trusted.targets = Some(new);
        self.step = Step::Done;
        Ok(())
    }

    fn named_snapshot(&self) -> Option<u64> {
        let meta = &self.trusted.timestamp.as_ref()?.signed.signed.meta;
        meta.get("snapshot.json").map(|named| named.version.get())
    }

    fn named_targets(&self) -> Option<u64> {
        let meta = &self.trusted.snapshot.as_ref()?.signed.signed.meta;
        meta.get("targets.json").map(|named| named.version.get())
    }
}

fn not_older(role: Role, trusted: u64, offered: u64) -> Result<(), Error> {
    if offered >= trusted { Ok(()) } else { Err(Error::Rollback { role, trusted, offered }) }
}

/// What metadata says of other metadata.
fn named<'a>(meta: &'a HashMap<String, Metafile>, name: &str, role: Role) -> Result<&'a Metafile, Error> {
    meta.get(name).ok_or_else(|| Error::broken(role, format!("it does not name {name}")))
}

/// Whether metadata is what other metadata says that it is.
pub(super) fn belongs<T: schema::Role + DeserializeOwned>(
    meta: &HashMap<String, Metafile>,
    name: &str,
    read: &Read<T>,
) -> Result<(), Error> {
    let role = Role::of(T::TYPE);
    let above = if T::TYPE == RoleType::Snapshot { Role::Timestamp } else { Role::Snapshot };
    let named = named(meta, name, above)?;
    let mixed = |why: String| Err(Error::MixedUp { role, why });
    let (size, sha256) = (read.bytes.len() as u64, Sha256::of(&read.bytes));
    if let Some(length) = named.length
        && length != size
    {
        return mixed(format!("it has {size} bytes, and {above} names {length}"));
    }
    if let Some(hashes) = &named.hashes
        && Sha256::from_slice(&hashes.sha256) != Some(sha256)
    {
        return mixed(format!("it has another digest than {above} names"));
    }
    if read.version() != named.version.get() {
        return mixed(format!("it has version {}, and {above} names {}", read.version(), named.version));
    }
    Ok(())
}
