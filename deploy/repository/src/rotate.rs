//! `rotate-root`.

use std::{collections::BTreeSet, num::NonZeroU64, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use muster_common::{
    clock::UnixMillis,
    tuf::{
        Role,
        signing::{self, Edition, SigningKey},
    },
};

use crate::{
    cli::{Group, With, time},
    folder::Folder,
    keys::{self, Keys},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    with: With,
    /// Makes new keys for these, as many as there are; the old ones count no more. After
    /// new online or targets keys comes `sign`.
    #[arg(long, value_name = "GROUP")]
    replace: Vec<Group>,
    /// Folder for new keys. Without: the first of --keys.
    #[arg(long, value_name = "FOLDER")]
    new_keys: Option<PathBuf>,
    /// For how long the root is good.
    #[arg(long, default_value = "365d", value_name = "TIME", value_parser = time)]
    root_for: Duration,
}

pub(crate) fn run(args: &Args, now: UnixMillis) -> Result<String> {
    let folder = Folder::open(&args.with.folder)?;
    let (version, root) = folder.root()?;
    let mut holders = signing::holders(&root)?;
    let before = holders.get(&Role::Root).context("the root names no keys for itself")?.clone();
    let keys = Keys::load(&args.with.keys, &folder)?;
    let place = args.new_keys.clone().or_else(|| args.with.keys.first().cloned()).context("no --keys")?;
    keys::refuse_inside(&place, folder.path())?;
    let (mut made, replace): (Vec<SigningKey>, BTreeSet<Group>) =
        (Vec::new(), args.replace.iter().copied().collect());
    // Before keys are made: whoever cannot sign the next root makes none.
    let version = version.checked_add(1).context("there is no higher version")?;
    let edition = Edition { version, expires: now + args.root_for };
    keys.sign(Role::Root, &before, signing::root(edition, &holders))?;
    for group in &replace {
        let roles = roles(*group);
        let count = roles.first().and_then(|role| holders.get(role)).map_or(1, |it| it.keys.len());
        let new = keys::make(&place, *group, u32::try_from(count).unwrap_or(1))?;
        for role in roles {
            if let Some(holders) = holders.get_mut(role) {
                holders.keys = new.iter().map(|key| key.public().clone()).collect();
            }
        }
        made.extend(new);
    }
    let draft = signing::root(edition, &holders);
    let keys = keys.and(made);
    let signed = keys.sign(Role::Root, &before, draft)?;
    let signed = keys.sign(Role::Root, &holders[&Role::Root], signed)?;
    if replace.contains(&Group::Targets) {
        // By the keys of before it counts for the last time.
        folder.set_pending(folder.pending()?)?;
    }
    folder.write(&format!("{version}.root.json"), &signed)?;
    Ok(told(version, &replace))
}

const fn roles(group: Group) -> &'static [Role] {
    match group {
        Group::Root => &[Role::Root],
        Group::Targets => &[Role::Targets],
        Group::Online => &[Role::Snapshot, Role::Timestamp],
    }
}

fn told(version: NonZeroU64, replace: &BTreeSet<Group>) -> String {
    let next = if replace.iter().any(|group| *group != Group::Root) { " Next: sign." } else { "" };
    format!("root {version} is made; hosts follow it from the one they pin.{next}")
}
