//! `verify`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use muster_common::{
    clock::UnixMillis,
    tuf::{Repository, Target},
};

use crate::{add::measure, folder::Folder};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the repository.
    folder: PathBuf,
    /// The root metadata that a host pins. Without: the repository's first.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, now: UnixMillis) -> Result<String> {
    let folder = Folder::open(&args.folder)?;
    let pinned = match &args.root {
        Some(path) => std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => folder.first_root()?,
    };
    let (_, repository) = folder.update(&pinned, now)?;
    let targets = files(&folder, &repository)?;
    let mut lines: Vec<String> =
        targets.iter().map(|target| format!("{} {} {}", target.sha256, target.size, target.name)).collect();
    for ((role, expires), version) in repository.expires().iter().zip(repository.versions()) {
        let until = humantime::format_rfc3339_seconds(expires.to_system_time());
        lines.push(format!("{role} {version} until {until}"));
    }
    lines.push(format!("good: {} files", targets.len()));
    Ok(lines.join("\n"))
}

/// All files that are signed; each is there, with the bytes that were.
fn files(folder: &Folder, repository: &Repository) -> Result<Vec<Target>> {
    let targets = repository.targets()?;
    for target in &targets {
        let (size, sha256) = measure(&folder.served(&repository.path(target)))?;
        if (size, sha256) != (target.size, target.sha256) {
            bail!("{} is not the file that was signed: {size} bytes, {sha256}", target.name);
        }
    }
    Ok(targets)
}

/// What was just signed, as a host takes it that pins the first root: whoever signs hears of a
/// mistake before any host does.
pub(crate) fn signed(folder: &Folder, now: UnixMillis) -> Result<Repository> {
    let (_, repository) = folder
        .update(&folder.first_root()?, now)
        .context("it was written, and hosts refuse it: do not serve it")?;
    Ok(repository)
}

/// The same, and every file of it.
pub(crate) fn signed_with_files(folder: &Folder, now: UnixMillis) -> Result<()> {
    files(folder, &signed(folder, now)?).context("it was signed, and hosts refuse a file of it")?;
    Ok(())
}
