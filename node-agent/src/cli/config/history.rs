//! Who changed which setting when, and what it was before. No credential is in it: a value
//! that has one is kept as it may be told, and cannot be put back from here. It lies beside
//! the configuration file: who may not change that has no say in what an undo does.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use muster_common::{clock::UnixMillis, settings};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use super::{change::Wanted, file::beside};
use crate::platform::{accounts, files};

/// Entries that are kept.
const MOST: usize = 100;
/// What the name of the configuration file is followed by.
const ENDING: &str = ".history";
const LOCK_ENDING: &str = ".lock";

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Entry {
    /// Rises by one with each.
    pub(super) number: u64,
    /// Unix milliseconds.
    pub(super) at: UnixMillis,
    pub(super) by: Author,
    /// `set`, `clear`, `undo`, `restore`.
    pub(super) action: String,
    /// Of an undo: what it took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) undoes: Option<u64>,
    pub(super) changes: Vec<Change>,
}

/// Of one key. `None`: the file said nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Change {
    pub(super) key: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    /// What was before had a credential, which is not kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) withheld: bool,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Author {
    pub(super) uid: u32,
    pub(super) user: String,
    /// Who became root for it, as `sudo` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sudo_user: Option<String>,
}

/// The history of one configuration file, held: nobody else changes settings meanwhile.
pub(super) struct History {
    path: PathBuf,
    entries: Vec<Entry>,
    _held: Option<File>,
}

impl History {
    /// To look only. Without one it is empty.
    pub(super) fn look(config: &Path) -> io::Result<Self> {
        let path = beside(config, ENDING);
        let entries = match open(&path, OpenOptions::new().read(true)) {
            Ok(mut file) => {
                let mut json = Vec::new();
                file.read_to_end(&mut json)?;
                serde_json::from_slice(&json)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, entries, _held: None })
    }

    /// To change something. Waits for whoever does.
    pub(super) fn hold(config: &Path) -> io::Result<Self> {
        let path = beside(config, LOCK_ENDING);
        let held = open(&path, OpenOptions::new().write(true).create(true).truncate(false).mode(0o600))?;
        flock(&held, FlockOperation::LockExclusive)?;
        Ok(Self { _held: Some(held), ..Self::look(config)? })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The newest change that stands and can be taken back by an undo.
    pub(super) fn newest(&self) -> Option<&Entry> {
        let is_undone = |number| self.entries.iter().any(|entry| entry.undoes == Some(number));
        let is_change = |entry: &&Entry| matches!(entry.action.as_str(), "set" | "clear");
        self.entries.iter().rev().filter(is_change).find(|entry| !is_undone(entry.number))
    }

    /// Writes a change down.
    pub(super) fn add(
        &mut self,
        action: &str,
        undoes: Option<u64>,
        changes: Vec<Change>,
        at: UnixMillis,
    ) -> io::Result<()> {
        let number = self.entries.last().map_or(1, |last| last.number + 1);
        let by = Author::of_this_process();
        self.entries.push(Entry { number, at, by, action: action.to_owned(), undoes, changes });
        let surplus = self.entries.len().saturating_sub(MOST);
        self.entries.drain(..surplus);
        files::write_atomically(&self.path, &serde_json::to_vec_pretty(&self.entries)?, 0o600)
    }
}

/// Opens a file of ours: what others have put in its place is neither followed nor believed.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(path)?;
    let found = file.metadata()?;
    let own = rustix::process::geteuid().as_raw();
    if found.is_file() && (found.uid() == own || found.uid() == 0) {
        return Ok(file);
    }
    let why = format!("{} is no file of root or of this user", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

impl Entry {
    /// What undoes it; or the key whose value is not kept.
    pub(super) fn backwards(&self) -> Result<Wanted, &str> {
        match self.changes.iter().find(|change| change.withheld) {
            Some(change) => Err(&change.key),
            None => {
                Ok(self.changes.iter().map(|change| (change.key.clone(), change.before.clone())).collect())
            }
        }
    }
}

impl Author {
    fn of_this_process() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let user = accounts::account(&uid.to_string()).ok().flatten().map(|account| account.name);
        // Only root could not make it up for nothing.
        let sudo_user = std::env::var("SUDO_USER").ok().filter(|name| uid == 0 && is_user_name(name));
        Self { uid, user: user.unwrap_or_default(), sudo_user }
    }
}

fn is_user_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// What differs between two states of the file, as it may be told.
pub(super) fn changes(before: &BTreeMap<String, String>, wanted: &Wanted) -> Vec<Change> {
    let told = |key: &str, value: &String| {
        settings::find(key).map_or_else(String::new, |setting| setting.told(value).into_owned())
    };
    let change = |(key, after): (&String, &Option<String>)| {
        let had = before.get(key);
        if had == after.as_ref() {
            return None;
        }
        let told_before = had.map(|value| told(key, value));
        let withheld = told_before.as_ref() != had;
        Some(Change {
            key: key.clone(),
            before: told_before,
            after: after.as_ref().map(|value| told(key, value)),
            withheld,
        })
    };
    wanted.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(history: &mut History, action: &str, undoes: Option<u64>) {
        history.add(action, undoes, Vec::new(), UnixMillis(1)).unwrap();
    }

    #[test]
    fn undo_walks_back_over_what_stands_and_the_history_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::hold(&folder.path().join("node-agent.toml")).unwrap();
        assert!(history.newest().is_none());
        for _ in 0..3 {
            add(&mut history, "set", None);
        }
        for expected in [3, 2] {
            assert_eq!(history.newest().unwrap().number, expected);
            add(&mut history, "undo", Some(expected));
        }
        add(&mut history, "clear", None);
        assert_eq!(history.newest().unwrap().number, 6);
        add(&mut history, "undo", Some(6));
        assert_eq!(history.newest().unwrap().number, 1);
        for _ in 0..MOST {
            add(&mut history, "set", None);
        }
        drop(history);
        let read = History::look(&folder.path().join("node-agent.toml")).unwrap();
        assert_eq!((read.entries().len(), read.entries()[MOST - 1].number), (MOST, 107));
    }

    #[test]
    fn what_others_planted_is_neither_followed_nor_believed() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("node-agent.toml");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "[]").unwrap();
        for ending in [LOCK_ENDING, ENDING] {
            std::os::unix::fs::symlink(&victim, beside(&config, ending)).unwrap();
            assert!(History::hold(&config).is_err(), "{ending}");
            std::fs::remove_file(beside(&config, ending)).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "[]");
        std::fs::write(beside(&config, ENDING), "[]").unwrap();
        assert!(History::hold(&config).is_ok());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(beside(&config, ENDING), Some(65534), None).unwrap();
            assert!(History::hold(&config).is_err(), "somebody else wrote it");
        }
    }

    #[test]
    fn no_credential_is_kept_and_what_had_one_cannot_come_back_from_here() {
        let before = BTreeMap::from([("proxy.url".to_owned(), "http://u:hunter2@p:1".to_owned())]);
        let wanted = Wanted::from([
            ("proxy.url".to_owned(), Some("http://u:hunter3@p:1".to_owned())),
            ("log-level".to_owned(), Some("debug".to_owned())),
        ]);
        let changes = changes(&before, &wanted);
        let text = serde_json::to_string(&changes).unwrap();
        assert!(changes.len() == 2 && !text.contains("hunter"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::hold(&folder.path().join("node-agent.toml")).unwrap();
        history.add("set", None, changes, UnixMillis(1)).unwrap();
        assert_eq!(history.newest().unwrap().backwards(), Err("proxy.url"));
    }
}
