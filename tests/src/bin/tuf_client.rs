//! `muster-tuf-client`: the client workflow that agents use, behind the command line of the
//! `tuf-conformance` suite, so that others can judge it. For tests only: it believes any
//! root that it is given, and puts files wherever it is told.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};
use muster_common::{
    clock::Clock,
    digest::Sha256,
    tuf::{Kept, Repository, Update},
};
use serde_json::Value;

/// What the suite keeps of ours, under the names that it looks for.
const ROLES: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];
/// The whole belief, in its own form.
const BELIEF: &str = "belief";

#[derive(Parser)]
struct Cli {
    #[arg(long)]
    metadata_dir: PathBuf,
    #[arg(long)]
    metadata_url: Option<String>,
    #[arg(long)]
    target_name: Vec<String>,
    #[arg(long)]
    target_base_url: Option<String>,
    #[arg(long)]
    target_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init { root: PathBuf },
    Refresh,
    Download,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Init { root } => {
            let root = fs::read(root)?;
            fs::write(cli.metadata_dir.join("pinned"), &root)?;
            Ok(fs::write(cli.metadata_dir.join("root.json"), root)?)
        }
        Command::Refresh => refresh(cli).map(drop),
        Command::Download => {
            let repository = refresh(cli)?;
            cli.target_name.iter().try_for_each(|name| download(cli, &repository, name))
        }
    }
}

fn refresh(cli: &Cli) -> Result<Repository> {
    let base = cli.metadata_url.as_deref().context("no --metadata-url")?.trim_end_matches('/');
    let pinned = fs::read(cli.metadata_dir.join("pinned"))?;
    let belief = cli.metadata_dir.join(BELIEF);
    let kept: Option<Kept> = fs::read(&belief).ok().map(|json| serde_json::from_slice(&json)).transpose()?;
    let mut update = Update::begin(&pinned, kept.as_ref(), Clock::System.now())?;
    let mut taken = Ok(());
    while let (Some(want), true) = (update.wants(), taken.is_ok()) {
        let name = want.path.trim_start_matches("metadata/");
        taken = get(&format!("{base}/{name}"), want.most + 1)
            .and_then(|bytes| Ok(update.take(bytes.as_deref())?));
    }
    let json = serde_json::to_vec(&update.kept())?;
    fs::write(&belief, &json)?;
    tell(&cli.metadata_dir, &serde_json::from_slice(&json)?)?;
    taken?;
    Ok(update.finish()?)
}

/// One file for each role that is believed.
fn tell(folder: &Path, belief: &Value) -> Result<()> {
    for role in ROLES {
        let path = folder.join(format!("{role}.json"));
        match belief[role].as_str() {
            Some(text) => fs::write(path, text)?,
            None if path.exists() => fs::remove_file(path)?,
            None => {}
        }
    }
    Ok(())
}

fn download(cli: &Cli, repository: &Repository, name: &str) -> Result<()> {
    let base = cli.target_base_url.as_deref().context("no --target-base-url")?.trim_end_matches('/');
    let folder = cli.target_dir.as_deref().context("no --target-dir")?;
    let target = repository.target(name)?;
    let place = folder.join(name.replace('/', "_"));
    let is_it = |bytes: &[u8]| bytes.len() as u64 == target.size && Sha256::of(bytes) == target.sha256;
    if fs::read(&place).is_ok_and(|bytes| is_it(&bytes)) {
        return Ok(());
    }
    // The reference implementation puts the digest before the last part of a name, ours
    // before the whole of it; each serves what it wrote.
    let (above, last) = name.rsplit_once('/').map_or((String::new(), name), |(a, b)| (format!("{a}/"), b));
    let path = if repository.path(&target).starts_with(&format!("targets/{}", target.sha256)) {
        format!("{above}{}.{last}", target.sha256)
    } else {
        name.to_owned()
    };
    let bytes = get(&format!("{base}/{path}"), target.size + 1)?.context("there is no such file")?;
    ensure!(is_it(&bytes), "{name} is not the file that was signed");
    Ok(fs::write(place, bytes)?)
}

/// A file, if there is one, but no more than `most` bytes of it.
fn get(url: &str, most: u64) -> Result<Option<Vec<u8>>> {
    let (host, path) =
        url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("no http URL")?;
    let mut stream = TcpStream::connect(host)?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(most + 16 * 1024).read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
    let line = String::from_utf8_lossy(&answer[..head]).into_owned();
    match line.split(' ').nth(1) {
        Some("200") => Ok(Some(answer.split_off(head + 4))),
        Some("404" | "403") => Ok(None),
        other => bail!("answered {other:?}"),
    }
}
