//! Making metadata, for who has keys: the command that keeps a repository, and tests. An
//! agent links none of it.
//!
//! Metadata is drafted without a signature, and each holder of a key adds theirs, on a
//! machine of their own if need be. Keys are Ed25519.

mod key;

use std::{collections::BTreeMap, num::NonZeroU64};

pub use key::{Public, SigningKey};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tough::schema::{self, Root, Signature, Signed, Snapshot, Targets, Timestamp};

use super::{Error, Role, Target, role::Read};
use crate::{clock::UnixMillis, digest::Sha256};

/// Of which version, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition {
    /// Counts from 1.
    pub version: NonZeroU64,
    /// When its time is over.
    pub expires: UnixMillis,
}

/// The keys of a role, and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// All that may.
    pub keys: Vec<Public>,
    /// So many must.
    pub threshold: u32,
}

/// What one metadata says of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    version: u64,
    length: u64,
    sha256: Sha256,
}

impl Named {
    /// This version of these bytes.
    #[must_use]
    pub fn of(version: NonZeroU64, bytes: &[u8]) -> Self {
        Self { version: version.get(), length: bytes.len() as u64, sha256: Sha256::of(bytes) }
    }

    fn meta(&self, name: &str) -> Value {
        let Self { version, length, sha256 } = self;
        json!({ name: { "version": version, "length": length, "hashes": { "sha256": sha256 } } })
    }
}

/// A root without signatures.
#[must_use]
pub fn root(edition: Edition, holders: &BTreeMap<Role, Holders>) -> Vec<u8> {
    let all = holders.values().flat_map(|holders| &holders.keys);
    let keys: BTreeMap<&str, Value> = all.map(|key| (key.id(), key.json())).collect();
    let roles: BTreeMap<String, Value> = holders
        .iter()
        .map(|(role, holders)| {
            let ids: Vec<&str> = holders.keys.iter().map(Public::id).collect();
            (role.to_string(), json!({ "keyids": ids, "threshold": holders.threshold }))
        })
        .collect();
    draft("root", edition, json!({ "consistent_snapshot": true, "keys": keys, "roles": roles }))
}

/// Targets without signatures.
#[must_use]
pub fn targets(edition: Edition, targets: &[Target]) -> Vec<u8> {
    let told = |target: &Target| {
        let mut told = json!({ "length": target.size, "hashes": { "sha256": target.sha256 } });
        if let Some(about) = &target.about {
            told["custom"] = json!({ "muster": about });
        }
        (target.name.clone(), told)
    };
    let all: BTreeMap<String, Value> = targets.iter().map(told).collect();
    draft("targets", edition, json!({ "targets": all }))
}

/// A snapshot without signatures, of these targets.
#[must_use]
pub fn snapshot(edition: Edition, targets: &Named) -> Vec<u8> {
    draft("snapshot", edition, json!({ "meta": targets.meta("targets.json") }))
}

/// A timestamp without signatures, of this snapshot.
#[must_use]
pub fn timestamp(edition: Edition, snapshot: &Named) -> Vec<u8> {
    draft("timestamp", edition, json!({ "meta": snapshot.meta("snapshot.json") }))
}

fn draft(role: &str, edition: Edition, mut signed: Value) -> Vec<u8> {
    signed["_type"] = json!(role);
    signed["spec_version"] = json!("1.0.0");
    signed["version"] = json!(edition.version);
    signed["expires"] =
        json!(humantime::format_rfc3339_seconds(edition.expires.to_system_time()).to_string());
    json!({ "signed": signed, "signatures": [] }).to_string().into_bytes()
}

/// Adds the signature of a key; one that it has from this key goes.
///
/// # Errors
/// If the metadata cannot be read.
pub fn sign(role: Role, bytes: &[u8], key: &SigningKey) -> Result<Vec<u8>, Error> {
    match role {
        Role::Root => signed::<Root>(role, bytes, key),
        Role::Timestamp => signed::<Timestamp>(role, bytes, key),
        Role::Snapshot => signed::<Snapshot>(role, bytes, key),
        Role::Targets => signed::<Targets>(role, bytes, key),
    }
}

fn signed<T: schema::Role + DeserializeOwned>(
    role: Role,
    bytes: &[u8],
    key: &SigningKey,
) -> Result<Vec<u8>, Error> {
    let broken = |error: &dyn std::error::Error| Error::broken(role, error.to_string());
    let mut metadata: Signed<T> = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
    let message = metadata.signed.canonical_form().map_err(|error| broken(&error))?;
    let id = key.public().decoded_id();
    metadata.signatures.retain(|signature| signature.keyid != id);
    metadata.signatures.push(Signature { keyid: id, sig: key.sign(&message).into() });
    let mut written = serde_json::to_vec_pretty(&metadata).map_err(|error| broken(&error))?;
    written.push(b'\n');
    Ok(written)
}

/// Who signs for each role by a root, whatever its signatures are worth.
///
/// # Errors
/// If it cannot be read, or a key is of another kind than is made here.
pub fn holders(root: &[u8]) -> Result<BTreeMap<Role, Holders>, Error> {
    let broken = |why: String| Error::broken(Role::Root, why);
    let root: Signed<Root> = serde_json::from_slice(root).map_err(|error| broken(error.to_string()))?;
    let mut all = BTreeMap::new();
    for (role, keys) in &root.signed.roles {
        let public = root.signed.keys(*role).map(Public::of).collect::<Option<Vec<_>>>();
        let keys_of = public.ok_or_else(|| broken("it has keys that are not Ed25519".to_owned()))?;
        let threshold = u32::try_from(keys.threshold.get()).unwrap_or(u32::MAX);
        all.insert(Role::of(*role), Holders { keys: keys_of, threshold });
    }
    Ok(all)
}

/// The files of a list that the keys of this root signed, whether its time is over or not:
/// nobody is to sign anew what somebody else has put there.
///
/// # Errors
/// If it is not signed so, or cannot be read.
pub fn listed(root: &[u8], targets: &[u8]) -> Result<Vec<Target>, Error> {
    let (root, targets) = (Read::<Root>::parse(root)?, Read::<Targets>::parse(targets)?);
    targets.check_signatures(&root)?;
    let all = &targets.signed.signed.targets;
    all.iter().map(|(name, target)| Target::read(name.raw(), target)).collect()
}

/// Version of metadata of any role.
///
/// # Errors
/// If it cannot be read.
pub fn version(role: Role, bytes: &[u8]) -> Result<NonZeroU64, Error> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Error::broken(role, error.to_string()))?;
    let version = value["signed"]["version"].as_u64().and_then(NonZeroU64::new);
    version.ok_or_else(|| Error::broken(role, "it has no version"))
}
