//! `verify`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use muster_common::clock::UnixMillis;

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
    let targets = repository.targets()?;
    let mut lines = Vec::new();
    for target in &targets {
        let (size, sha256) = measure(&folder.served(&repository.path(target)))?;
        if (size, sha256) != (target.size, target.sha256) {
            bail!("{} is not the file that was signed: {size} bytes, {sha256}", target.name);
        }
        lines.push(format!("{sha256} {size} {}", target.name));
    }
    for ((role, expires), version) in repository.expires().iter().zip(repository.versions()) {
        let until = humantime::format_rfc3339_seconds(expires.to_system_time());
        lines.push(format!("{role} {version} until {until}"));
    }
    lines.push(format!("good: {} files", targets.len()));
    Ok(lines.join("\n"))
}
