//! The four roles, and what is checked of each alike.

use std::{collections::BTreeSet, fmt};

use serde::de::DeserializeOwned;
use tough::schema::{self, RoleType, Root, Signed, key::Key};

use super::{Error, MOST_ROOT, MOST_SNAPSHOT, MOST_TARGETS, MOST_TIMESTAMP};
use crate::clock::UnixMillis;

/// Who signs what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Which keys sign for which role. Offline.
    Root,
    /// Which snapshot is the newest. Signed anew every few days.
    Timestamp,
    /// Which metadata belongs together.
    Snapshot,
    /// Which files there are. Offline.
    Targets,
}

impl Role {
    /// Most bytes of its metadata.
    #[must_use]
    pub const fn most(self) -> u64 {
        match self {
            Self::Root => MOST_ROOT,
            Self::Timestamp => MOST_TIMESTAMP,
            Self::Snapshot => MOST_SNAPSHOT,
            Self::Targets => MOST_TARGETS,
        }
    }

    pub(super) const fn of(role: RoleType) -> Self {
        match role {
            RoleType::Root => Self::Root,
            RoleType::Timestamp => Self::Timestamp,
            RoleType::Snapshot => Self::Snapshot,
            RoleType::Targets | RoleType::DelegatedTargets => Self::Targets,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        })
    }
}

/// Metadata as it came, and as it was read.
#[derive(Debug, Clone)]
pub(super) struct Read<T> {
    pub(super) signed: Signed<T>,
    pub(super) bytes: Vec<u8>,
}

impl<T: schema::Role + DeserializeOwned> Read<T> {
    const ROLE: Role = Role::of(T::TYPE);

    /// Reads it. Nothing of it is believed yet.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() as u64 > Self::ROLE.most() {
            return Err(Error::Endless { what: Self::ROLE.to_string(), most: Self::ROLE.most() });
        }
        // Without the parser's own words: they quote what it read, and a mirror's address may
        // lead to what is no metadata at all.
        let broken = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            Error::broken(Self::ROLE, format!("{:?} error in line {line}, column {column}", error.classify()))
        };
        let signed: Signed<T> = serde_json::from_slice(bytes).map_err(broken)?;
        // What is kept is text.
        std::str::from_utf8(bytes).map_err(|error| Error::broken(Self::ROLE, error.to_string()))?;
        Ok(Self { signed, bytes: bytes.to_vec() })
    }

    pub(super) fn version(&self) -> u64 {
        self.signed.signed.version().get()
    }

    pub(super) fn expires(&self) -> UnixMillis {
        UnixMillis(self.signed.signed.expires().as_millisecond())
    }

    pub(super) fn check_time(&self, now: UnixMillis) -> Result<(), Error> {
        let expired = self.expires();
        if now < expired { Ok(()) } else { Err(Error::Expired { role: Self::ROLE, expired, now }) }
    }

    /// Whether enough keys of `root` signed it.
    pub(super) fn check_signatures(&self, root: &Read<Root>) -> Result<(), Error> {
        root.signed.signed.verify_role(&self.signed).map_err(|error| match error {
            schema::Error::SignatureThreshold { threshold, valid, .. } => {
                Error::BelowThreshold { role: Self::ROLE, valid, threshold }
            }
            other => Error::broken(Self::ROLE, other.to_string()),
        })
    }
}

impl Read<Root> {
    /// Whether each role has as many keys as it must have signatures, and none twice under
    /// two names: then one key would count as two.
    pub(super) fn check_keys(&self) -> Result<(), Error> {
        let root = &self.signed.signed;
        for role in [RoleType::Root, RoleType::Timestamp, RoleType::Snapshot, RoleType::Targets] {
            let name = Role::of(role);
            let broken = |why: &str| Error::broken(Role::Root, format!("{why} {name}"));
            let keys = root.roles.get(&role).ok_or_else(|| broken("it names no keys for"))?;
            let public: Vec<&[u8]> = root.keys(role).map(public).collect();
            let different: BTreeSet<&[u8]> = public.iter().copied().collect();
            if different.len() != public.len() {
                return Err(broken("it names a key twice for"));
            }
            if (different.len() as u64) < keys.threshold.get() {
                return Err(broken("it names fewer keys than must sign for"));
            }
        }
        Ok(())
    }

    /// Names of the keys of a role, in order.
    pub(super) fn keys_of(&self, role: RoleType) -> BTreeSet<&[u8]> {
        self.signed.signed.keys(role).map(public).collect()
    }
}

fn public(key: &Key) -> &[u8] {
    match key {
        Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => &keyval.public,
        Key::Ed25519 { keyval, .. } => &keyval.public,
        Key::Rsa { keyval, .. } => &keyval.public,
    }
}
