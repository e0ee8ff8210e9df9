//! `audit verify`: the store's records, or those of an export, with nothing but
//! the file and the public key.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use muster_common::{clock::UnixMillis, error_chain::Chain};
use muster_domain::audit::{
    Checkpoint, Placed, Record, Walk, line,
    text::ascii,
    walk::{Scope, Verdict},
};
use muster_store::ReadAudit as _;

use crate::{
    ca::audit_key::{AuditKeys, PUBLIC},
    cli::{ConfigArg, open_store},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Check this file of `audit export` in place of the store; `-` is standard input.
    #[arg(long)]
    export: Option<PathBuf>,
    /// Public keys of the signatures; otherwise ca/audit.pub of the installation.
    #[arg(long)]
    public_key: Option<PathBuf>,
    /// Checkpoint that was kept elsewhere, as a line of the export; finds that the end was cut off. Repeat for more.
    #[arg(long = "checkpoint")]
    checkpoints: Vec<PathBuf>,
}

/// A line that is no record: nothing after it can be told.
struct Unreadable {
    number: u64,
    why: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let keys = keys(args)?;
    let check = |checkpoint: &Checkpoint| keys.check(checkpoint);
    let kept = kept(&args.checkpoints, &keys)?;
    let (verdicts, unreadable) = match &args.export {
        Some(path) => {
            let walk = Walk::new(Scope::Piece, &check, kept);
            of_export(open(path)?, walk).with_context(|| format!("cannot read {}", path.display()))?
        }
        None => (of_store(args, keys.clone(), kept)?, None),
    };
    let mut bad = 0;
    for verdict in &verdicts {
        bad += usize::from(verdict.bad.is_some());
        println!("{}", told(verdict));
    }
    if let Some(Unreadable { number, why }) = unreadable {
        bail!("the audit does not hold: line {number} is damaged, and nothing after it was read: {why}");
    }
    if bad > 0 {
        bail!("the audit does not hold: chains that were changed: {bad} of {}", verdicts.len());
    }
    Ok(())
}

fn keys(args: &Args) -> anyhow::Result<AuditKeys> {
    if let Some(path) = &args.public_key {
        return Ok(AuditKeys::read(path)?);
    }
    let path = args.config.load()?.ca_dir().join(PUBLIC);
    if !path.exists() {
        eprintln!("{} is not there yet: no signature can be checked", path.display());
        return Ok(AuditKeys::default());
    }
    Ok(AuditKeys::read(&path)?)
}

/// Checkpoints from elsewhere: worth nothing unless their own signature holds.
fn kept(paths: &[PathBuf], keys: &AuditKeys) -> anyhow::Result<Vec<Checkpoint>> {
    let mut kept = Vec::new();
    for path in paths {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let before = kept.len();
        for text in text.lines().filter(|text| !text.trim().is_empty()) {
            let record = line::read(text).with_context(|| format!("{name} holds something else"))?;
            let (_, Record::Checkpoint(checkpoint)) = record else { continue };
            if let Err(bad) = keys.check(&checkpoint) {
                bail!("{name}: the checkpoint of entry {} is worth nothing: {bad}", checkpoint.seq);
            }
            kept.push(checkpoint);
        }
        if kept.len() == before {
            bail!("{name} holds no checkpoint");
        }
    }
    Ok(kept)
}

fn of_store(args: &Args, keys: AuditKeys, kept: Vec<Checkpoint>) -> anyhow::Result<Vec<Verdict>> {
    let store = open_store(&args.config.load()?)?;
    Ok(store.read_blocking::<_, muster_store::Error, _>(move |tx| {
        let check = |checkpoint: &Checkpoint| keys.check(checkpoint);
        let mut walk = Walk::new(Scope::Whole, &check, kept);
        tx.audit_walk(&mut walk)?;
        Ok(walk.finish())
    })?)
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn of_export(
    mut lines: Box<dyn BufRead>,
    mut walk: Walk<'_>,
) -> io::Result<(Vec<Verdict>, Option<Unreadable>)> {
    let mut buffer = Vec::new();
    for number in 1.. {
        buffer.clear();
        let most = line::MAX_BYTES as u64 + 1;
        if lines.by_ref().take(most).read_until(b'\n', &mut buffer)? == 0 {
            break;
        }
        match record(&buffer) {
            Ok(record) => {
                if let Some(bad) = walk.see(&record) {
                    println!("line {number}: chain {}: {bad}", ascii(&bad.replica));
                }
            }
            Err(why) => return Ok((walk.finish(), Some(Unreadable { number, why }))),
        }
    }
    Ok((walk.finish(), None))
}

fn record(bytes: &[u8]) -> Result<Placed<Record>, String> {
    let whole = bytes.strip_suffix(b"\n").ok_or("the line has no end")?;
    let text = str::from_utf8(whole).map_err(|_| "it is not text".to_owned())?;
    line::read(text).map_err(|error| ascii(&Chain(&error).to_string()).into_owned())
}

/// One chain for people. Its name may come from a forged file.
fn told(verdict: &Verdict) -> String {
    let name = ascii(&verdict.replica);
    let Verdict { first, last, entries, checkpoints, signed, .. } = verdict;
    let hold = match (*entries, &verdict.bad) {
        (0, _) => "no entry holds".to_owned(),
        (_, None) => format!("every entry fits the one before: {first} to {last}, {entries} in all"),
        (_, Some(_)) => format!("entries that hold: {first} to {last}, {entries} in all"),
    };
    let signed = match signed {
        Some((seq, at)) => {
            format!("checkpoints that hold: {checkpoints}, the last of entry {seq}, at {}", time(*at))
        }
        None => "no checkpoints".to_owned(),
    };
    match &verdict.bad {
        None => format!("{name}: {hold}; {signed}"),
        Some(bad) => format!("{name}: CHANGED: {bad}; {hold}; {signed}"),
    }
}

fn time(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use muster_domain::audit::{
        Break,
        walk::{Bad, Kind},
    };

    use super::*;

    #[test]
    fn a_forged_name_paints_no_terminal() {
        let replica = "a\u{1b}[2K\ncli: every entry fits the one before\u{202e}".to_owned();
        let bad = Bad { replica: replica.clone(), seq: 2, kind: Kind::Entry, damage: Break::Content.into() };
        for bad in [None, Some(bad)] {
            let verdict = Verdict { replica: replica.clone(), entries: 1, bad, ..Verdict::default() };
            let told = told(&verdict);
            assert!(told.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{told:?}");
        }
    }

    #[test]
    fn what_a_damaged_line_says_paints_none_either() {
        for bytes in
            [b"{\"kind\":\"\x1b[2J\"}\n".as_slice(), "{\"\u{202e}\":1}\n".as_bytes(), b"\xff\n", b"{}"]
        {
            let why = record(bytes).unwrap_err();
            assert!(why.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{why:?}");
        }
    }
}
