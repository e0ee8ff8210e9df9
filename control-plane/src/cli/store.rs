//! `store`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use muster_store::{Inspection, Progress};

use super::{ConfigArg, serve};
use crate::{config::Store, wiring};

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
    /// Copy everything from a file of SQLite into an empty database of a PostgreSQL server.
    Copy(CopyArgs),
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
