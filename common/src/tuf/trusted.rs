//! What is believed of the repository, and the form in which it is kept.

use serde::{Deserialize, Serialize};
use tough::{
    TargetName,
    schema::{RoleType, Root, Snapshot, Targets, Timestamp},
};

use super::{Error, Role, Target, check_name, role::Read, update::belongs};
use crate::{clock::UnixMillis, digest::Sha256};

/// What was believed last: to be written down after each update, whatever came of it, and
/// handed in with the next. It is the floor below which nothing is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Of the pinned root that it goes back to.
    pinned: Sha256,
    root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    targets: Option<String>,
}

/// The same, read.
#[derive(Debug, Clone)]
pub(super) struct Trusted {
    pub(super) pinned: Sha256,
    pub(super) root: Read<Root>,
    pub(super) timestamp: Option<Read<Timestamp>>,
    pub(super) snapshot: Option<Read<Snapshot>>,
    pub(super) targets: Option<Read<Targets>>,
}

/// A repository that was verified whole.
#[derive(Debug, Clone)]
pub struct Repository {
    targets: Read<Targets>,
    consistent: bool,
    versions: [u64; 4],
    expires: [(Role, UnixMillis); 4],
}

impl Trusted {
    /// Begins with the pinned root, and what was kept. Another pinned root than before
    /// begins the chain of roots anew; the floor stays as long as its keys signed it.
    pub(super) fn begin(pinned: &[u8], kept: Option<&Kept>) -> Result<Self, Error> {
        let unusable = |error: Error| Error::NoTrustRoot(error.to_string());
        let root = Read::<Root>::parse(pinned).map_err(unusable)?;
        root.check_keys().and_then(|()| root.check_signatures(&root)).map_err(unusable)?;
        let digest = Sha256::of(pinned);
        let mut trusted = Self { pinned: digest, root, timestamp: None, snapshot: None, targets: None };
        if let Some(kept) = kept {
            trusted.take(kept).map_err(|error| Error::Damaged(error.to_string()))?;
        }
        Ok(trusted)
    }

    fn take(&mut self, kept: &Kept) -> Result<(), Error> {
        if kept.pinned == self.pinned {
            let root = Read::<Root>::parse(kept.root.as_bytes())?;
            root.check_keys().and_then(|()| root.check_signatures(&root))?;
            self.root = root;
        }
        let read = kept.timestamp.as_ref().map(|text| Read::parse(text.as_bytes())).transpose()?;
        self.timestamp = read.filter(|read: &Read<Timestamp>| read.check_signatures(&self.root).is_ok());
        let read = kept.snapshot.as_ref().map(|text| Read::parse(text.as_bytes())).transpose()?;
        self.snapshot = read.filter(|read: &Read<Snapshot>| read.check_signatures(&self.root).is_ok());
        let read = kept.targets.as_ref().map(|text| Read::parse(text.as_bytes())).transpose()?;
        self.targets = read.filter(|read: &Read<Targets>| read.check_signatures(&self.root).is_ok());
        Ok(())
    }

    pub(super) fn kept(&self) -> Kept {
        // `parse` saw that it is text.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Kept {
            pinned: self.pinned,
            root: text(&self.root.bytes),
            timestamp: self.timestamp.as_ref().map(|read| text(&read.bytes)),
            snapshot: self.snapshot.as_ref().map(|read| text(&read.bytes)),
            targets: self.targets.as_ref().map(|read| text(&read.bytes)),
        }
    }

    /// New keys for what is signed online: whoever had the old ones may have signed a version
    /// that nobody reaches any more. The floor goes with the keys.
    pub(super) fn forget_if_rotated(&mut self, before: &Read<Root>) {
        let online = [RoleType::Timestamp, RoleType::Snapshot];
        if online.iter().any(|role| before.keys_of(*role) != self.root.keys_of(*role)) {
            (self.timestamp, self.snapshot, self.targets) = (None, None, None);
        }
    }

    /// All of it, if it is whole, belongs together, and its time is not over.
    pub(super) fn repository(self, now: UnixMillis) -> Result<Repository, Error> {
        let missing = |role: Role| Error::Missing { path: format!("{role} metadata that is trusted") };
        let timestamp = self.timestamp.ok_or_else(|| missing(Role::Timestamp))?;
        let snapshot = self.snapshot.ok_or_else(|| missing(Role::Snapshot))?;
        let targets = self.targets.ok_or_else(|| missing(Role::Targets))?;
        belongs(&timestamp.signed.signed.meta, "snapshot.json", &snapshot)?;
        belongs(&snapshot.signed.signed.meta, "targets.json", &targets)?;
        self.root.check_time(now)?;
        timestamp.check_time(now)?;
        snapshot.check_time(now)?;
        targets.check_time(now)?;
        Ok(Repository {
            consistent: self.root.signed.signed.consistent_snapshot,
            versions: [self.root.version(), timestamp.version(), snapshot.version(), targets.version()],
            expires: [
                (Role::Root, self.root.expires()),
                (Role::Timestamp, timestamp.expires()),
                (Role::Snapshot, snapshot.expires()),
                (Role::Targets, targets.expires()),
            ],
            targets,
        })
    }
}

impl Kept {
    /// The repository as it was believed last, without asking anybody.
    ///
    /// # Errors
    /// If it is not whole, is damaged, or its time is over.
    pub fn repository(&self, pinned: &[u8], now: UnixMillis) -> Result<Repository, Error> {
        Trusted::begin(pinned, Some(self))?.repository(now)
    }
}

impl Repository {
    /// The file of this name.
    ///
    /// # Errors
    /// If there is none, or its metadata cannot be used.
    pub fn target(&self, name: &str) -> Result<Target, Error> {
        check_name(name)?;
        let key = TargetName::new(name).map_err(|_| Error::Unknown(name.to_owned()))?;
        let found = self.targets.signed.signed.targets.get(&key);
        Target::read(name, found.ok_or_else(|| Error::Unknown(name.to_owned()))?)
    }

    /// All files.
    ///
    /// # Errors
    /// If the metadata of one cannot be used.
    pub fn targets(&self) -> Result<Vec<Target>, Error> {
        let all = self.targets.signed.signed.targets.iter();
        let mut all: Vec<Target> =
            all.map(|(name, target)| Target::read(name.raw(), target)).collect::<Result<_, _>>()?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Where a mirror of it has a file.
    #[must_use]
    pub fn path(&self, target: &Target) -> String {
        if self.consistent { target.path() } else { format!("targets/{}", target.name) }
    }

    /// Versions of root, timestamp, snapshot and targets.
    #[must_use]
    pub const fn versions(&self) -> [u64; 4] {
        self.versions
    }

    /// When the time of each role is over.
    #[must_use]
    pub const fn expires(&self) -> [(Role, UnixMillis); 4] {
        self.expires
    }
}
