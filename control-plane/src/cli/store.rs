//! `store`.

use std::{path::PathBuf, time::SystemTime};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use muster_common::clock::UnixMillis;
use muster_store::{Inspection, Progress, ReadMeta as _};

use super::{ConfigArg, open_store, restore, serve, stamp};
use crate::{
    app::restored::{self, Plan},
    config::Store,
    wiring,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what is in the store, and whether it is whole; changes nothing.
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Bring the store to the schema of this release, as the next start would.
    Migrate {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Begin another history, as `restore` does: for a store that was put back to an earlier state by other
    /// means, before a control plane serves it.
    BeginEpoch(EpochArgs),
    /// Copy everything from a file of SQLite into an empty database of a PostgreSQL server.
    Copy(CopyArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct EpochArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The moment to which the store was put back, or one before it: 2026-01-31T04:00:00Z.
    #[arg(long, value_parser = humantime::parse_rfc3339_weak)]
    taken_at: SystemTime,
    /// Number of the history that begins; above all that hosts know. Without it, one more than
    /// that of the store.
    #[arg(long)]
    epoch: Option<u64>,
    /// Join tokens stay valid: also one that was used up since.
    #[arg(long)]
    keep_join_tokens: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct CopyArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Where to: postgres://USER@HOST:PORT/DATABASE.
    #[arg(long)]
    to: String,
    /// File with the password of that database's user.
    #[arg(long)]
    to_password_file: Option<PathBuf>,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Check { config } => check(config),
        Command::Migrate { config } => migrate(config),
        Command::BeginEpoch(args) => begin_epoch(args),
        Command::Copy(args) => copy(args),
    }
}

fn check(config: &ConfigArg) -> anyhow::Result<()> {
    let options = wiring::store::options(&config.load()?, "cli")?;
    let found = muster_store::inspect(&options)?;
    println!("store         {}", options.place);
    println!("schema        {} of {}", found.schema, found.known);
    tell(&found);
    for warning in &found.warnings {
        eprintln!("warning: {warning}");
    }
    for problem in &found.problems {
        eprintln!("problem: {problem}");
    }
    if !found.problems.is_empty() {
        bail!("the store is not whole: problems: {}", found.problems.len());
    }
    if found.schema > found.known {
        bail!("the store is of a newer release: use that one");
    }
    Ok(())
}

fn tell(found: &Inspection) {
    let Some((epoch, domain, revision)) = &found.history else {
        return println!("another schema than this release has: nothing more was looked at");
    };
    println!("trust domain  {domain}");
    println!("epoch         {epoch}");
    println!("revision      {revision}");
    for (table, rows) in found.rows.iter().filter(|(_, rows)| *rows > 0) {
        println!("  {table:<22} {rows}");
    }
}

fn migrate(config: &ConfigArg) -> anyhow::Result<()> {
    let options = wiring::store::options(&config.load()?, "cli")?;
    match muster_store::migrate(&options)? {
        (before, after) if before == after => println!("{} has schema {after}", options.place),
        (before, after) => println!("{} went from schema {before} to {after}", options.place),
    }
    Ok(())
}

fn begin_epoch(args: &EpochArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let _alone = serve::alone(&config).context("stop the control plane first")?;
    let since = args.taken_at.duration_since(SystemTime::UNIX_EPOCH).context("--taken-at is before 1970")?;
    let taken_at = UnixMillis(i64::try_from(since.as_millis())?);
    let store = open_store(&config)?;
    let epoch = args.epoch.map_or_else(|| store.read_blocking(|tx| tx.epoch()).map(|epoch| epoch + 1), Ok)?;
    let plan = Plan { epoch, taken_at, keep_join_tokens: args.keep_join_tokens };
    let done = restored::begin(&store, stamp("store.begin-epoch"), plan)?;
    store.close_blocking()?;
    restore::tell_of_history(&done);
    Ok(())
}

fn copy(args: &CopyArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let from = wiring::store::options(&config, "cli")?;
    let section =
        Store { password_file: args.to_password_file.clone().unwrap_or_default(), ..config.store.clone() };
    let to = wiring::store::with(&args.to, &section, "cli").context("cannot use --to")?;
    // What is written after the copy would be lost.
    let _alone = serve::alone(&config).context("stop the control plane first")?;
    let copied = muster_store::copy(&from, &to, &mut progress)?;
    let rows: u64 = copied.rows.iter().map(|(_, rows)| rows).sum();
    println!("copied {rows} rows up to revision {}, the same on both sides", copied.revision);
    eprintln!("next: in {} under [store]", args.config.config.display());
    eprintln!("  url = {:?}", args.to);
    if let Some(path) = &args.to_password_file {
        eprintln!("  password-file = {path:?}");
    }
    eprintln!("and start the control plane; {} stays as it is, and is not used any more", from.place);
    Ok(())
}

fn progress(now: Progress) {
    if now.of > 0 {
        eprintln!("{:<22} {} of {}", now.table, now.rows, now.of);
    }
}
