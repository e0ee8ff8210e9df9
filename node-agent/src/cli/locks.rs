//! `locks`: what the lock file comes to, and whether a new one can be put in place.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use muster_common::error_chain::Chain;
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    output::{Output, Tone},
};
use crate::locks::{Error, Locks, Told};

/// Longer than any lock file may be.
const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell every rule of this host's lock file, what it is and who says so.
    Show,
    /// See whether a file could be the lock file, before it is put in place.
    Check {
        /// The file that is to become the lock file.
        file: PathBuf,
    },
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    match &args.command {
        Command::Show => {
            let path = &context.config.locks_file;
            // Whom the agent does not trust it does not obey either.
            let told = Locks::load(path).and_then(|_| tell(path, true));
            show(path, told, context.out)
        }
        Command::Check { file } => {
            let mut told = tell(file, false);
            if let (Ok(told), Err(error @ Error::Untrusted { .. })) = (&mut told, Locks::load(file)) {
                told.notes.push(format!("as it is now it would not be taken: {}", Chain(&error)));
            }
            show(file, told, context.out)
        }
    }
}

/// `may_lack`: without a file there are the rules of none.
fn tell(path: &Path, may_lack: bool) -> Result<Told, Error> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    match read {
        Err(error) if may_lack && error.kind() == io::ErrorKind::NotFound => {
            let mut told = Locks::tell(path, "")?;
            told.notes.push("there is no lock file: everything is locked".to_owned());
            Ok(told)
        }
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
        Ok(_) => Locks::tell(path, &text),
    }
}

fn show(path: &Path, told: Result<Told, Error>, out: Output) -> Result<(), Failure> {
    let told = told.map_err(|error| Failure::new(exit::LOCKS, &error))?;
    if out.is_json() {
        let Told { profile, rules, notes } = &told;
        let whole = json!({ "file": path, "profile": profile, "rules": rules, "notes": notes });
        out.document("locks/1", &whole);
    } else {
        print(path, &told, out);
    }
    Ok(())
}

fn print(path: &Path, told: &Told, out: Output) {
    let profile = if told.profile.is_empty() { "none" } else { &told.profile };
    out.line(&format!("lock file: {}\nprofile: {profile}", path.display()));
    for rule in &told.rules {
        let value = if rule.value.is_null() { "not set".to_owned() } else { rule.value.to_string() };
        let line = rule.line.map(|line| format!(", line {line}")).unwrap_or_default();
        let overruled = if rule.overruled { "; the profile forbids more" } else { "" };
        out.line(&format!("  {:<28} {value}  ({}{line}{overruled})", rule.key, rule.origin));
    }
    for note in &told.notes {
        out.line(&format!("{} {note}", out.paint(Tone::Doubtful, "note:")));
    }
}
