//! The command line.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use muster_common::clock::Clock;

use crate::{add, folder::Folder, init, keys::Keys, rotate, sign, verify};

/// Makes and signs the repository from which hosts take extensions and releases.
#[derive(Debug, Parser)]
#[command(name = "muster-repository", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begins a repository: makes the keys, and the first root metadata.
    Init(init::Args),
    /// Adds a file. It counts once `sign` has been run.
    Add(add::Args),
    /// Takes a file out. It counts once `sign` has been run.
    Remove {
        /// Folder of the repository.
        folder: PathBuf,
        /// Name of the file in the repository.
        name: String,
    },
    /// Signs the list of files with the targets keys, and the rest with the online key.
    Sign {
        #[command(flatten)]
        with: With,
        /// For how long the list of files is good.
        #[arg(long, default_value = "180d", value_name = "TIME", value_parser = time)]
        targets_for: Duration,
        #[command(flatten)]
        online: Online,
    },
    /// Signs snapshot and timestamp anew, with the online key alone: daily, by a timer.
    Refresh {
        #[command(flatten)]
        with: With,
        #[command(flatten)]
        online: Online,
    },
    /// Makes the next root: for more time, or with new keys for some roles.
    RotateRoot(rotate::Args),
    /// Looks at all of it as a host does, and at every file.
    Verify(verify::Args),
}

/// A repository and the keys that a command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct With {
    /// Folder of the repository.
    pub(crate) folder: PathBuf,
    /// A folder with private keys (*.pem); may be given several times.
    #[arg(long, required = true, value_name = "FOLDER")]
    pub(crate) keys: Vec<PathBuf>,
}

/// For how long what is signed online is good.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Online {
    /// For how long the snapshot is good.
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = time)]
    pub(crate) snapshot_for: Duration,
    /// For how long the timestamp is good: so long can somebody hold news back unseen.
    #[arg(long, default_value = "7d", value_name = "TIME", value_parser = time)]
    pub(crate) timestamp_for: Duration,
}

/// Keys that are kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Group {
    /// Say which keys are good. Offline.
    Root,
    /// Say which files there are. Offline.
    Targets,
    /// Sign snapshot and timestamp.
    Online,
}

pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) {
        return Err("it must be at least a second".to_owned());
    }
    Ok(time)
}

/// Runs a command; answers what there is to tell.
pub(crate) fn run(cli: Cli) -> Result<String> {
    let now = Clock::System.now();
    match cli.command {
        Command::Init(args) => init::run(&args, now),
        Command::Add(args) => add::run(&args),
        Command::Remove { folder, name } => add::remove(&Folder::open(&folder)?, &name),
        Command::Sign { with, targets_for, online } => {
            let folder = Folder::open(&with.folder)?;
            let keys = Keys::load(&with.keys, &folder)?;
            sign::all(&folder, &keys, (targets_for, online), now)
        }
        Command::Refresh { with, online } => {
            let folder = Folder::open(&with.folder)?;
            let keys = Keys::load(&with.keys, &folder)?;
            sign::refresh(&folder, &keys, online, now)
        }
        Command::RotateRoot(args) => rotate::run(&args, now),
        Command::Verify(args) => verify::run(&args, now),
    }
}
