//! `init`.

use std::{collections::BTreeMap, num::NonZeroU64, path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use muster_common::{
    clock::UnixMillis,
    tuf::{
        Role,
        signing::{self, Edition, Holders, SigningKey},
    },
};

use crate::{
    cli::{Group, time},
    folder::Folder,
    keys::{self, Keys},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the repository; it is made.
    folder: PathBuf,
    /// Folder for the keys; not in that of the repository.
    #[arg(long, value_name = "FOLDER")]
    keys: PathBuf,
    /// How many root keys are made.
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=16))]
    root_keys: u32,
    /// How many of them must sign a root.
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=16))]
    root_threshold: u32,
    /// How many targets keys are made.
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=16))]
    targets_keys: u32,
    /// How many of them must sign the list of files.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=16))]
    targets_threshold: u32,
    /// For how long the root is good.
    #[arg(long, default_value = "365d", value_name = "TIME", value_parser = time)]
    root_for: Duration,
}

pub(crate) fn run(args: &Args, now: UnixMillis) -> Result<String> {
    for (keys, threshold, name) in [
        (args.root_keys, args.root_threshold, "root"),
        (args.targets_keys, args.targets_threshold, "targets"),
    ] {
        if threshold > keys {
            bail!(
                "{threshold} of {keys} {name} keys can never sign: the threshold is at most the number of keys"
            );
        }
    }
    keys::refuse_inside(&args.keys, &args.folder)?;
    let folder = Folder::make(&args.folder)?;
    let root = keys::make(&args.keys, Group::Root, args.root_keys)?;
    let targets = keys::make(&args.keys, Group::Targets, args.targets_keys)?;
    let online = keys::make(&args.keys, Group::Online, 1)?;
    let of = |keys: &[SigningKey], threshold| Holders {
        keys: keys.iter().map(|key| key.public().clone()).collect(),
        threshold,
    };
    let holders: BTreeMap<Role, Holders> = [
        (Role::Root, of(&root, args.root_threshold)),
        (Role::Targets, of(&targets, args.targets_threshold)),
        (Role::Snapshot, of(&online, 1)),
        (Role::Timestamp, of(&online, 1)),
    ]
    .into();
    let edition = Edition { version: NonZeroU64::MIN, expires: now + args.root_for };
    let signer = Keys::load(std::slice::from_ref(&args.keys), &folder)?;
    let signed = signer.sign(Role::Root, &holders[&Role::Root], signing::root(edition, &holders))?;
    folder.write("1.root.json", &signed)?;
    Ok(told(args))
}

fn told(args: &Args) -> String {
    let (folder, keys) = (args.folder.display(), args.keys.display());
    format!(
        "{folder} is a repository. Its keys are in {keys}:\n\
         - root-*.pem and targets-*.pem: take them off this machine, to places apart from each other;\n  \
         {} of the root keys make new roots, {} of the targets keys sign files.\n\
         - online-*.pem: stays where `refresh` runs.\n\
         Hosts pin {folder}/metadata/1.root.json, as /etc/muster/root.json.\n\
         Next: add files, then sign.",
        args.root_threshold, args.targets_threshold
    )
}
