//! What is on the disk of an upgrade. Only the watchdog that is a copy of who wrote it goes
//! on from it, so that the format is between a program and itself. Other versions read it
//! to tell: they ignore fields that they do not know.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_common::clock::UnixMillis;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::machine::{Limits, Stage};
use crate::platform::{
    files,
    packages::Package,
    slots::{Slot, Slots},
};

/// An upgrade and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is to be done. Once it is staged it never changes.
    pub plan: Plan,
    /// How far it is.
    pub stage: Stage,
    /// When it came into the stage, by the host's clock.
    pub since: UnixMillis,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which ran when it began.
    pub from: String,
    /// Which is to run.
    pub to: String,
    /// How it is put in place.
    pub method: Method,
    /// The new version must have a session to be kept.
    pub needs_session: bool,
    /// How long things may take.
    pub limits: Limits,
    /// The agent's state directory: there it says whether it has a session.
    pub state_dir: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Who wants it: `operator`, `administrator`.
    pub by: String,
    /// When it began, by the host's clock.
    pub begun: UnixMillis,
}

/// How an agent was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// In two slots.
    Slots {
        /// Which.
        slots: Slots,
        /// In which of them the new version will be.
        to: Slot,
        /// What it is unpacked from.
        archive: PathBuf,
    },
    /// By a package manager.
    Package {
        /// Which package, by which manager.
        package: Package,
        /// What the manager calls the version that runs.
        from: String,
        /// What it calls the one that is wanted.
        to: String,
    },
}

/// The folder of upgrades.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The one at this path.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The copy of the program that watches.
    #[must_use]
    pub fn watchdog(&self) -> PathBuf {
        self.0.join("watchdog")
    }

    /// Where packages lie until it is over.
    #[must_use]
    pub fn packages(&self) -> PathBuf {
        self.0.join("packages")
    }

    /// Where the archive of an ordered release lies until it is over.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.0.join("archive.tar.zst")
    }

    /// Held by who begins.
    #[must_use]
    pub fn begin_lock(&self) -> PathBuf {
        self.0.join("begin.lock")
    }

    /// What the version that failed last said.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("failed.log")
    }

    /// The upgrade that is under way.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn pending(&self) -> io::Result<Option<Record>> {
        read(&self.0.join("pending.json"))
    }

    /// The last one that is over.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn last(&self) -> io::Result<Option<Record>> {
        read(&self.0.join("last.json"))
    }

    /// Writes down how far it is, durably.
    ///
    /// # Errors
    /// From the file system; what was written before then stays.
    pub fn keep(&self, record: &Record) -> io::Result<()> {
        files::write_atomically(&self.0.join("pending.json"), &serde_json::to_vec_pretty(record)?, 0o600)
    }

    /// Held by who drives what is pending. `None`: somebody else does.
    ///
    /// # Errors
    /// If the folder cannot be opened.
    pub fn take_over(&self) -> io::Result<Option<fs::File>> {
        let lock = fs::File::open(&self.0)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            locked => Ok(locked.map(|()| Some(lock))?),
        }
    }

    /// Waits for who is about to begin: from then on it is seen what is pending.
    ///
    /// # Errors
    /// If that cannot be seen.
    pub fn wait_for_begin(&self) -> io::Result<()> {
        match fs::File::open(self.begin_lock()) {
            Ok(beginning) => Ok(flock(&beginning, FlockOperation::LockExclusive)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// It is over: first that is written down, then nothing is pending.
    ///
    /// # Errors
    /// From the file system; it is pending still.
    pub fn end(&self, record: &Record) -> io::Result<()> {
        files::write_atomically(&self.0.join("last.json"), &serde_json::to_vec_pretty(record)?, 0o600)?;
        match fs::remove_file(self.0.join("pending.json")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => files::sync_folder(&self.0)?,
        }
        // They only take room.
        let _ = fs::remove_dir_all(self.packages());
        let _ = fs::remove_file(self.archive());
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Option<Record>> {
    match files::read_plain(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            // Its own watchdog can, and goes on with it.
            let what =
                format!("another version wrote {}, which this one cannot read: {error}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrader::machine::{End, Failure, Kind};

    fn record() -> Record {
        let slots = Slots::of(Path::new("/opt/muster/slots/a/bin/muster-node-agent")).unwrap().0;
        let plan = Plan {
            from: "0.1.0".to_owned(),
            to: "0.2.0".to_owned(),
            method: Method::Slots { slots, to: Slot::B, archive: PathBuf::from("/tmp/x") },
            needs_session: true,
            limits: Limits::default(),
            state_dir: PathBuf::from("/var/lib/muster/node-agent"),
            config: PathBuf::from("/etc/muster/node-agent.toml"),
            by: "operator".to_owned(),
            begun: UnixMillis(1),
        };
        Record { plan, stage: Stage::Verified, since: UnixMillis(1) }
    }

    #[test]
    fn what_is_pending_is_read_back_until_it_is_over() {
        let temporary = tempfile::tempdir().unwrap();
        let (folder, record) = (Folder::at(temporary.path()), record());
        assert_eq!((folder.pending().unwrap(), folder.last().unwrap()), (None, None));
        folder.keep(&record).unwrap();
        assert_eq!(folder.pending().unwrap().as_ref(), Some(&record));
        let why = Failure::new(Kind::Silent, "no session");
        let ended = Record { stage: Stage::Ended(End::RolledBack(why)), ..record };
        folder.end(&ended).unwrap();
        folder.end(&ended).unwrap();
        assert_eq!((folder.pending().unwrap(), folder.last().unwrap()), (None, Some(ended)));
    }

    #[test]
    fn who_watches_waits_for_who_begins_and_is_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::at(temporary.path());
        folder.wait_for_begin().unwrap();
        let beginning = fs::File::create(folder.begin_lock()).unwrap();
        flock(&beginning, FlockOperation::LockExclusive).unwrap();
        let waiting = std::thread::spawn({
            let folder = folder.clone();
            move || folder.wait_for_begin().and_then(|()| folder.pending())
        });
        folder.keep(&record()).unwrap();
        drop(beginning);
        assert_eq!(waiting.join().unwrap().unwrap(), Some(record()));
        let watching = folder.take_over().unwrap();
        assert!(watching.is_some() && folder.take_over().unwrap().is_none());
    }

    /// What a later release writes may have more in it.
    #[test]
    fn a_record_of_a_later_release_is_read_to_be_told() {
        let mut json = serde_json::to_value(record()).unwrap();
        json["reason"] = "x".into();
        json["plan"]["ring"] = 3.into();
        json["plan"]["limits"]["more"] = 3.into();
        assert_eq!(serde_json::from_value::<Record>(json.clone()).unwrap(), record());
        // What has a stage that is not known here cannot be told, but where it lies can.
        json["stage"] = "canary".into();
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("pending.json"), json.to_string()).unwrap();
        let error = Folder::at(temporary.path()).pending().unwrap_err();
        assert!(error.to_string().starts_with("another version wrote /"), "{error}");
    }
}
