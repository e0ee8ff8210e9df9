//! The folder in which the agent and what watches over a script meet. Each file is whole
//! or not there; a rename decides between them who was first.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{fs::DirBuilderExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::platform::{accounts::Account, files};

/// A script to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Program and arguments.
    pub command: Vec<String>,
    /// All of its environment but the search path.
    pub environment: BTreeMap<String, String>,
    /// In which folder it begins.
    pub folder: PathBuf,
    /// As whom. `None`: as who watches.
    pub user: Option<Account>,
    /// Bytes of output that are kept.
    pub output_limit: u64,
    /// How long it may run.
    pub time_limit: Option<Duration>,
    /// Whether it outlives the agent that ordered it.
    pub survives: bool,
    /// In which boot of the host it was ordered.
    pub boot_id: String,
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why not a line of it ran.
    pub not_started: Option<String>,
    /// The kernel ended something of it for want of memory.
    pub out_of_memory: bool,
    /// Bytes that are not in the files, of standard output and of standard error.
    pub dropped: [u64; 2],
}

/// Why it was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Someone wanted it.
    Cancelled,
    /// Its time was over.
    TimedOut,
    /// Nobody of Muster asked: the host goes down, or somebody stops the unit.
    Stopped,
}

/// Name of what is left of an order that was called off, or is not to come any more.
const CALLED_OFF: &str = "called-off";

/// The folder of one script.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Ended {
    #[allow(clippy::needless_pass_by_value)] // as it comes
    pub(super) fn note(&mut self, status: io::Result<ExitStatus>) {
        // Neither, if the kernel does not tell.
        if let Ok(status) = status {
            (self.exit_code, self.signal) = (status.code(), status.signal());
        }
    }
}

impl Place {
    /// This folder.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Takes the folder for one run. Whoever comes second gets nothing, whatever has become
    /// of the first.
    ///
    /// # Errors
    /// `AlreadyExists`: it is taken. From the file system.
    pub fn reserve(&self) -> io::Result<()> {
        let above = self.0.parent().ok_or(io::ErrorKind::InvalidInput)?;
        files::private_folder(above)?;
        fs::DirBuilder::new().mode(0o700).create(&self.0)?;
        files::sync_folder(above)
    }

    /// Puts an order there, durably. The folder was taken for it.
    ///
    /// # Errors
    /// From the file system, and if it was called off and cleared away meanwhile.
    pub fn order(&self, job: &Job) -> io::Result<()> {
        self.write("order", job)
    }

    /// Takes the order, at most once. `None`: it was taken or called off.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn claim(&self) -> io::Result<Option<Job>> {
        match fs::rename(self.0.join("order"), self.0.join("claimed")) {
            Ok(()) => files::sync_folder(&self.0)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        // It came only after it had been called off.
        if self.0.join(CALLED_OFF).exists() {
            return fs::rename(self.0.join("claimed"), self.0.join(CALLED_OFF)).map(|()| None);
        }
        self.job().map(Some).ok_or_else(|| io::Error::other("the order cannot be read"))
    }

    /// Calls the order off, also one that has not come yet. `true`: it was not taken, and
    /// never will be while the folder is there.
    #[must_use]
    pub fn call_off(&self) -> bool {
        let take = || fs::rename(self.0.join("order"), self.0.join(CALLED_OFF)).is_ok();
        let is_claimed = || self.0.join("claimed").exists();
        if take() {
            return true;
        }
        if is_claimed() {
            return false;
        }
        let reserved = match self.reserve() {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        let noted = reserved.and_then(|()| self.write(CALLED_OFF, &()));
        // One that came meanwhile sees the note before it is run.
        take() || (noted.is_ok() && !is_claimed())
    }

    /// The order, taken or not yet.
    #[must_use]
    pub fn job(&self) -> Option<Job> {
        // In this order: a rename in between must not hide it.
        self.read("order").or_else(|| self.read("claimed"))
    }

    /// File of its standard output or standard error.
    #[must_use]
    pub fn output(&self, stderr: bool) -> PathBuf {
        self.0.join(if stderr { "stderr" } else { "stdout" })
    }

    /// Notes why it is asked to end, before it is.
    ///
    /// # Errors
    /// From the file system.
    pub fn ask(&self, why: Asked) -> io::Result<()> {
        self.write("asked", &why)
    }

    /// Why it was asked to end.
    #[must_use]
    pub fn asked(&self) -> Option<Asked> {
        self.read("asked")
    }

    /// Notes how it ended, durably.
    ///
    /// # Errors
    /// From the file system.
    pub fn end(&self, ended: &Ended) -> io::Result<()> {
        self.write("ended", ended)
    }

    /// How it ended. All its output is in the files then.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.read("ended")
    }

    fn write(&self, name: &str, what: &impl Serialize) -> io::Result<()> {
        files::write_atomically(&self.0.join(name), &serde_json::to_vec(what)?, 0o600)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.0.join(name)).ok()?).ok()
    }
}
