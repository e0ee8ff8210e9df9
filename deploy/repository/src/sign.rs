//! `sign` and `refresh`.

use std::{collections::BTreeMap, num::NonZeroU64, time::Duration};

use anyhow::{Context as _, Result, bail};
use muster_common::{
    clock::UnixMillis,
    tuf::{
        Role,
        signing::{self, Edition, Holders, Named},
    },
};

use crate::{cli::Online, folder::Folder, keys::Keys, verify};

/// Signs the list of files, and what leads to it.
pub(crate) fn all(
    folder: &Folder,
    keys: &Keys,
    (targets_for, online): (Duration, Online),
    now: UnixMillis,
) -> Result<String> {
    let holders = holders(folder)?;
    let files = folder.pending()?;
    let edition = next(folder, Role::Targets, now + targets_for)?;
    let draft = signing::targets(edition, &files);
    let signed = keys.sign(Role::Targets, of(&holders, Role::Targets)?, draft)?;
    if signed.len() as u64 > Role::Targets.most() {
        bail!(
            "the list of files has {} bytes; hosts take {}: remove old files",
            signed.len(),
            Role::Targets.most()
        );
    }
    // In this order: a mirror that is read meanwhile has what the timestamp leads to.
    folder.write(&format!("{}.targets.json", edition.version), &signed)?;
    lead_to(folder, keys, (edition.version, &signed), online, now)?;
    verify::signed_with_files(folder, now)?;
    folder.clear_pending()?;
    Ok(format!(
        "signed: targets {} with {} files, {}",
        edition.version,
        files.len(),
        ends(targets_for, online)
    ))
}

/// Signs what leads to the list that there is.
pub(crate) fn refresh(folder: &Folder, keys: &Keys, online: Online, now: UnixMillis) -> Result<String> {
    let (version, targets) =
        folder.current(Role::Targets)?.context("there is no list of files yet: run `sign` first")?;
    lead_to(folder, keys, (version, &targets), online, now)?;
    verify::signed(folder, now)?;
    let pending =
        if folder.has_pending() { "; what was added or removed still waits for `sign`" } else { "" };
    Ok(format!("refreshed: targets {version}, {}{pending}", ends(Duration::MAX, online)))
}

fn lead_to(
    folder: &Folder,
    keys: &Keys,
    (version, targets): (NonZeroU64, &[u8]),
    online: Online,
    now: UnixMillis,
) -> Result<()> {
    let holders = holders(folder)?;
    let of_snapshot = next(folder, Role::Snapshot, now + online.snapshot_for)?;
    let draft = signing::snapshot(of_snapshot, &Named::of(version, targets));
    let snapshot = keys.sign(Role::Snapshot, of(&holders, Role::Snapshot)?, draft)?;
    let of_timestamp = next(folder, Role::Timestamp, now + online.timestamp_for)?;
    let draft = signing::timestamp(of_timestamp, &Named::of(of_snapshot.version, &snapshot));
    let timestamp = keys.sign(Role::Timestamp, of(&holders, Role::Timestamp)?, draft)?;
    folder.write(&format!("{}.snapshot.json", of_snapshot.version), &snapshot)?;
    folder.write("timestamp.json", &timestamp)
}

fn holders(folder: &Folder) -> Result<BTreeMap<Role, Holders>> {
    Ok(signing::holders(&folder.root()?.1)?)
}

fn of(holders: &BTreeMap<Role, Holders>, role: Role) -> Result<&Holders> {
    holders.get(&role).with_context(|| format!("the root names no keys for {role}"))
}

/// The edition after the one that there is.
fn next(folder: &Folder, role: Role, expires: UnixMillis) -> Result<Edition> {
    let current = folder.current(role)?.map_or(0, |(version, _)| version.get());
    let version = current.checked_add(1).and_then(NonZeroU64::new).context("there is no higher version")?;
    Ok(Edition { version, expires })
}

fn ends(targets_for: Duration, online: Online) -> String {
    let told = |time: Duration| match time.as_secs() / (24 * 3600) {
        0 => humantime::format_duration(time).to_string(),
        days => format!("{days} days"),
    };
    let (snapshot, timestamp) = (told(online.snapshot_for), told(online.timestamp_for));
    let targets =
        if targets_for == Duration::MAX { String::new() } else { format!("targets {}, ", told(targets_for)) };
    format!("good for: {targets}snapshot {snapshot}, timestamp {timestamp}")
}
