//! `audit export`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use muster_common::clock::{Clock, UnixMillis};
use muster_store::Store;

use crate::{
    app::audit::{Lines, Range},
    cli::{ConfigArg, open_store},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// From the first entry not before this: 2026-01-31T00:00:00Z, or so long ago: 24h, 30days.
    #[arg(long, value_parser = time)]
    since: Option<UnixMillis>,
    /// To the last entry before this; written as --since.
    #[arg(long, value_parser = time)]
    until: Option<UnixMillis>,
    /// File to write, for its owner alone; otherwise standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let store = open_store(&args.config.load()?)?;
    match &args.out {
        Some(path) => to_file(&store, args, path)?,
        None => match write(&store, args, &mut io::stdout().lock()) {
            // Whoever reads has seen enough: `| head`.
            Err(error) if is_broken_pipe(&error) => {}
            done => done?,
        },
    }
    Ok(store.close_blocking()?)
}

fn to_file(store: &Store, args: &Args, path: &Path) -> anyhow::Result<()> {
    // Whole or not at all: half a file would look like an audit whose end was cut off.
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    let what = || format!("cannot write {}", staged.display());
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged);
    let file: File = file.with_context(what)?;
    let mut out = BufWriter::new(file);
    let written = write(store, args, &mut out).and_then(|()| {
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(fs::rename(&staged, path)?)
    });
    if written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    written.with_context(what)
}

fn write(store: &Store, args: &Args, out: &mut impl Write) -> anyhow::Result<()> {
    let (since, until) = (args.since, args.until);
    let mut range = store.read_blocking(move |tx| Range::of(tx, since, until))?;
    while range.is_open() {
        let lines = store.read_blocking(move |tx| Lines::next(tx, range))?;
        out.write_all(lines.text.as_bytes())?;
        range.after = lines.reached;
    }
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn time(text: &str) -> Result<UnixMillis, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(UnixMillis(at.as_millisecond()));
    }
    let ago: Duration = humantime::parse_duration(text)
        .map_err(|_| "write a time like 2026-01-31T00:00:00Z, or how long ago, like 24h".to_owned())?;
    Ok(Clock::System.now() - ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_or_so_long_ago() {
        assert_eq!(time("1970-01-01T00:00:01.500Z"), Ok(UnixMillis(1500)));
        let hour = Clock::System.now().since(time("1h").unwrap());
        assert!((3599..=3601).contains(&hour.as_secs()), "{hour:?}");
        assert!(time("yesterday").is_err());
    }
}
