//! `config`: the settings of this host's configuration file, and those in force.

mod change;
mod file;
mod history;
mod tell;

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use muster_common::{clock::Clock, settings};
use serde_json::json;

use super::{
    Cli, Context,
    exit::{self, Failure},
    output::Output,
};
use crate::{
    config::{Config, DEFAULT_PATH},
    state_dir::StateDir,
};
use change::{How, Wanted};
use file::ConfigFile;
use history::History;

/// Longest value that is read from standard input.
const MAX_INPUT: u64 = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell every setting in force, and who decides it.
    List,
    /// Tell settings in force. One alone is printed without its name.
    Get {
        /// Key of a setting, such as `log-level`; `config list` has them all.
        #[arg(required = true)]
        key: Vec<String>,
    },
    /// Write settings into the configuration file: all of them or, if one cannot be, none.
    Set(Set),
    /// Take settings out of the configuration file: what the control plane says counts
    /// again, or the default.
    Clear {
        /// Key of a setting, such as `log-level`.
        #[arg(required = true)]
        key: Vec<String>,
    },
    /// Tell of each setting what it can be, when it applies, and who decides it.
    Info {
        /// Keys of settings, such as `log-level`; all by default.
        key: Vec<String>,
    },
    /// Tell who changed what and when, the newest last. No credential is in it.
    History,
    /// Take the newest change back; again, the one before it. A file that somebody has
    /// broken by hand is replaced by the last one that could be used.
    Undo,
}

#[derive(Debug, clap::Args)]
struct Set {
    /// KEY=VALUE, for each setting; or one as KEY VALUE. Others on this host can see it
    /// here while the command runs; KEY - reads the value from standard input.
    #[arg(required = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Add these entries to a list, instead of replacing it.
    #[arg(long, short, conflicts_with = "remove")]
    add: bool,
    /// Take these entries out of a list.
    #[arg(long, short)]
    remove: bool,
}

pub(super) fn run(args: &Args, cli: &Cli) -> Result<(), Failure> {
    let path = cli.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
    // A link stays one: what it leads to is written.
    let path = path.canonicalize().unwrap_or(path);
    match &args.command {
        Command::List => tell::list(&Context::look(cli)?, &[]),
        Command::Get { key } => tell::list(&Context::look(cli)?, known(key)?),
        Command::Info { key } => tell::info(&Context::look(cli)?, known(key)?),
        Command::Set(set) => {
            let how = match (set.add, set.remove) {
                (true, _) => How::Add,
                (_, true) => How::Remove,
                _ => How::Replace,
            };
            let words = words(&set.settings)?;
            let wish = |now: &BTreeMap<String, String>| change::wanted(&words, how, now);
            Desk::open(cli, &path, hold(&path)?)?.change("set", wish)
        }
        Command::Clear { key } => {
            Desk::open(cli, &path, hold(&path)?)?.change("clear", |_| change::cleared(key))
        }
        Command::History => tell::history(&look(&path)?, cli.output()),
        Command::Undo => undo(cli, &path),
    }
}

/// With the value of standard input, where that is asked for: a password on the command
/// line is everybody's.
fn words(given: &[String]) -> Result<Vec<String>, Failure> {
    let [key, dash] = given else { return Ok(given.to_vec()) };
    if dash != "-" || key.contains('=') {
        return Ok(given.to_vec());
    }
    let mut value = String::new();
    let read = io::stdin().take(MAX_INPUT).read_to_string(&mut value);
    read.map_err(|error| Failure::told(exit::SETTING, format!("cannot read standard input: {error}")))?;
    Ok(vec![key.clone(), value.trim().to_owned()])
}

/// Keys, if there is each.
fn known(keys: &[String]) -> Result<&[String], Failure> {
    match keys.iter().find(|key| settings::find(key).is_none()) {
        Some(key) => Err(Failure::told(exit::SETTING, change::unknown(key))),
        None => Ok(keys),
    }
}

fn look(path: &Path) -> Result<History, Failure> {
    History::look(path).map_err(|error| unusable(path, &error))
}

fn hold(path: &Path) -> Result<History, Failure> {
    History::hold(path).map_err(|error| unusable(path, &error))
}

/// Where settings are changed: the file, and the history that nobody else holds.
struct Desk {
    path: PathBuf,
    /// What the file says, as it was read under the history's lock.
    now: BTreeMap<String, String>,
    history: History,
    context: Context,
}

impl Desk {
    /// A setting that cannot be does not keep anybody from mending it.
    fn open(cli: &Cli, path: &Path, history: History) -> Result<Self, Failure> {
        let context = match Context::look_past_faults(cli) {
            Ok((context, _)) => context,
            // The first change makes the file.
            Err(_) if !path.exists() => Context::without_file(cli, path),
            Err(failure) => return Err(failure),
        };
        Ok(Self { now: file::settings(path)?, path: path.to_owned(), history, context })
    }

    fn change(
        self,
        action: &str,
        wish: impl FnOnce(&BTreeMap<String, String>) -> Result<Wanted, Vec<String>>,
    ) -> Result<(), Failure> {
        let wanted = wish(&self.now).map_err(|faults| {
            Failure::told(exit::SETTING, format!("nothing was changed: {}", faults.join("; ")))
        })?;
        self.put(action, None, &wanted)
    }

    fn put(mut self, action: &str, undoes: Option<u64>, wanted: &Wanted) -> Result<(), Failure> {
        let changes = history::changes(&self.now, wanted);
        if !changes.is_empty() {
            let mut file = ConfigFile::open(&self.path)?;
            file.put(wanted)?;
            file.write(self.context.state.path())?;
            if self.context.out.is_verbose() {
                self.context.out.note(&format!("wrote {}", self.path.display()));
            }
        }
        if !changes.is_empty() || undoes.is_some() {
            let noted = self.history.add(action, undoes, changes.clone(), Clock::System.now());
            noted.map_err(|error| unnoted(&self.path, &error))?;
        }
        // As the file is now.
        self.context.config.settings = file::settings(&self.path)?;
        tell::changed(&self.context, &self.path, &changes, wanted);
        Ok(())
    }
}

impl Context {
    fn without_file(cli: &Cli, path: &Path) -> Self {
        let config = Config { path: path.to_owned(), ..Config::default() };
        let state = StateDir::at(&config.state_dir);
        Self { config, state, out: cli.output() }
    }
}

fn undo(cli: &Cli, path: &Path) -> Result<(), Failure> {
    let history = hold(path)?;
    if path.exists() && Config::read(Some(path)).is_err() {
        return restore(path, history, cli.output());
    }
    let desk = Desk::open(cli, path, history)?;
    let Some(newest) = desk.history.newest().cloned() else {
        return Err(Failure::told(exit::NO_HISTORY, "the history knows of no change that stands".to_owned()));
    };
    let wanted = newest.backwards().map_err(|key| {
        let why = format!(
            "the value that {key} had before change {} had a credential, and is not kept",
            newest.number
        );
        Failure::told(exit::NO_HISTORY, why)
    })?;
    for change in &newest.changes {
        let now = desk.now.get(&change.key).zip(settings::find(&change.key));
        let now = now.map(|(value, setting)| setting.told(value).into_owned());
        if now != change.after {
            let now = now.map_or_else(|| "not in the file".to_owned(), |now| format!("{now:?}"));
            desk.context
                .out
                .note(&format!("somebody has changed {} since by hand: it was {now}", change.key));
        }
    }
    desk.put("undo", Some(newest.number), &wanted)
}

fn restore(path: &Path, mut history: History, out: Output) -> Result<(), Failure> {
    if !file::restore(path)? {
        let why = format!("{} is broken, and no earlier one that could be used is kept", path.display());
        return Err(Failure::told(exit::NO_HISTORY, why));
    }
    let noted = history.add("restore", None, Vec::new(), Clock::System.now());
    noted.map_err(|error| unnoted(path, &error))?;
    if out.is_json() {
        out.document(
            "config-change/1",
            &json!({ "file": path, "restored": true, "changes": [], "notes": [] }),
        );
    } else {
        let shown = path.display();
        out.line(&format!(
            "{shown} is the last one that could be used again; the broken one is {shown}.broken"
        ));
    }
    Ok(())
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::told(code(error), format!("cannot use the history beside {}: {error}", path.display()))
}

/// What was asked for is done all the same.
fn unnoted(path: &Path, error: &io::Error) -> Failure {
    let file = path.display();
    let why = format!("{file} is changed and in force, but the history beside it does not say so: {error}");
    Failure::told(code(error), why)
}

fn code(error: &io::Error) -> exit::Code {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => exit::NOT_WRITABLE,
        io::ErrorKind::NotFound => exit::CONFIG,
        _ => exit::STATE,
    }
}
