//! The package managers of hosts: one exact version from the repositories that are set on
//! the host, and from a file in its place. Each call ends within a limit, asks nobody, and
//! keeps configuration files as they are.

mod apt;
mod holds;
mod removal;
mod rpm;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

pub use removal::removal;

use super::{
    process,
    tool::{self, Broken, Ran},
};

/// For one call. A mirror may be slow, and a package may have scripts.
const LIMIT: Duration = Duration::from_secs(600);
/// For one that writes: who ends it in the middle leaves a package that is not whole.
const WRITING: Duration = Duration::from_secs(4 * 3600);
/// Of what a manager said, this much is told.
const TOLD: usize = 600;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Debian's and Ubuntu's.
    Apt,
    /// That of Fedora and RHEL.
    Dnf,
    /// SUSE's.
    Zypper,
}

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// By which manager.
    pub manager: Manager,
    /// As it calls it.
    pub name: String,
}

/// What a package manager cannot do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No repository of the host has it.
    #[error("the package repositories of this host have no {0}")]
    Unknown(String),
    /// A repository does not answer.
    #[error("a package repository of this host cannot be reached: {0}")]
    Unreachable(String),
    /// This host keeps it at its version.
    #[error("{name} is held at its version on this host: {by} lets it go")]
    Held {
        /// Which package.
        name: String,
        /// The command that ends that.
        by: String,
    },
    /// Another process uses it.
    #[error("another process holds the lock of the package manager: {0}")]
    Busy(String),
    /// The disk is full.
    #[error("there is no room for the package: {0}")]
    Full(String),
    /// It says no.
    #[error("the package manager failed: {0}")]
    Failed(String),
    /// It did not end in time.
    #[error("the package manager did not end within {} s", .0.as_secs())]
    Slow(Duration),
    /// It cannot be run.
    #[error("the package manager cannot be run: {0}")]
    Io(#[from] io::Error),
}

impl Manager {
    /// The one that brings rpms to the host below a folder. Where SUSE's is, dnf may be, too.
    fn of_rpms(root: &Path) -> Option<Self> {
        let all = [("zypper", Self::Zypper), ("dnf", Self::Dnf)];
        all.into_iter().find(|(name, _)| root.join("usr/bin").join(name).exists()).map(|(_, it)| it)
    }
}

impl Package {
    /// The one to which a file belongs, and its version. `None`: it belongs to none.
    pub async fn owning(file: &Path) -> Option<(Self, String)> {
        if let Some(found) = apt::owning(file).await {
            return Some(found);
        }
        rpm::owning(file).await
    }

    /// The version that is installed.
    ///
    /// # Errors
    /// If none is, or the manager does not say.
    pub async fn installed(&self) -> Result<String, Error> {
        match self.manager {
            Manager::Apt => apt::installed(&self.name).await,
            Manager::Dnf | Manager::Zypper => rpm::installed(&self.name).await,
        }
    }

    /// The version that a file of it calls itself, as `installed` will.
    ///
    /// # Errors
    /// If it is no package.
    pub async fn version_in(&self, file: &Path) -> Result<String, Error> {
        match self.manager {
            Manager::Apt => apt::version_in(file).await,
            Manager::Dnf | Manager::Zypper => rpm::version_in(file).await,
        }
    }

    /// Whether nobody holds the manager's lock, so that `install` can begin at once.
    ///
    /// # Errors
    /// `Busy`, with who holds it; or if that cannot be known.
    pub async fn is_free(&self) -> Result<(), Error> {
        match self.manager {
            Manager::Apt => apt::LOCKS.iter().try_for_each(|path| is_free(Path::new(path))),
            Manager::Dnf | Manager::Zypper => rpm::lock().await?.map_or(Ok(()), |path| is_free(&path)),
        }
    }

    /// Whether this host's administrator lets it become a version: what they hold by the means of
    /// their package manager stays as it is.
    ///
    /// # Errors
    /// `Held`, with what lets it go; or if that cannot be known.
    pub async fn may_become(&self, version: &str) -> Result<(), Error> {
        let by = match self.manager {
            Manager::Apt if apt::is_held(&self.name).await? => "apt-mark unhold",
            Manager::Dnf if holds::by_dnf(Path::new("/"), &self.name, version)? => "dnf versionlock delete",
            Manager::Zypper if holds::by_zypper(Path::new("/"), &self.name)? => "zypper removelock",
            Manager::Apt | Manager::Dnf | Manager::Zypper => return Ok(()),
        };
        Err(Error::Held { name: self.name.clone(), by: format!("{by} {}", self.name) })
    }

    /// Fetches one version into a folder that is made for it.
    ///
    /// # Errors
    /// As said.
    pub async fn fetch(&self, version: &str, into: &Path) -> Result<PathBuf, Error> {
        let _ = fs::remove_dir_all(into);
        super::files::folder(into, 0o755)?;
        let ending = match self.manager {
            Manager::Apt => {
                apt::fetch(&self.name, version, into).await?;
                "deb"
            }
            Manager::Dnf => {
                rpm::fetch_by_dnf(&self.name, version, into).await?;
                "rpm"
            }
            Manager::Zypper => {
                rpm::fetch_by_zypper(&self.name, version, into).await?;
                "rpm"
            }
        };
        let found =
            self.find(into, ending).ok_or_else(|| Error::Unknown(format!("{} {version}", self.name)))?;
        fs::File::open(&found)?.sync_all()?;
        Ok(found)
    }

    /// The file of a package that was fetched into a folder.
    #[must_use]
    pub fn fetched(&self, into: &Path) -> Option<PathBuf> {
        self.find(into, if self.manager == Manager::Apt { "deb" } else { "rpm" })
    }

    /// Puts the package of a file in the place of what is installed, also an older one.
    ///
    /// # Errors
    /// As said. It may be installed in part: the same call ends that.
    pub async fn install(&self, file: &Path) -> Result<(), Error> {
        match self.manager {
            Manager::Apt => apt::install(&self.name, file).await,
            Manager::Dnf | Manager::Zypper => rpm::install(file).await,
        }
    }

    /// Below the folder, managers have folders of their own.
    fn find(&self, folder: &Path, ending: &str) -> Option<PathBuf> {
        let entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(&self.name) && path.extension().is_some_and(|it| it == ending) && path.is_file()
        };
        entries
            .iter()
            .find(is_it)
            .cloned()
            .or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| self.find(path, ending)))
    }
}

/// Only asks: who takes the lock to try it keeps others from it.
fn is_free(path: &Path) -> Result<(), Error> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    match fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).map_err(io::Error::from)? {
        None => Ok(()),
        Some(held) => {
            let pid = held.pid.map_or(0, Pid::as_raw_pid);
            Err(Error::Busy(format!("process {pid} holds {}", path.display())))
        }
    }
}

/// A call that speaks English, asks nothing and restarts nothing else.
fn call(program: &str, words: &[&str]) -> Command {
    let mut command = process::command(program);
    command.args(words).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
    command.env("NEEDRESTART_MODE", "l").env("HOME", "/root").env("ZYPP_LOCK_TIMEOUT", "0");
    command
}

async fn run(command: Command) -> Result<Ran, Error> {
    within(LIMIT, command).await
}

async fn within(limit: Duration, command: Command) -> Result<Ran, Error> {
    match tool::run(command, tokio::time::sleep(limit)).await {
        Ok(ran) => Ok(ran),
        Err(Broken::Stopped(())) => Err(Error::Slow(limit)),
        Err(Broken::Io(error)) => Err(error.into()),
    }
}

/// What a manager means that failed. `wanted`: the package and its version.
fn meaning(ran: &Ran, wanted: &str) -> Error {
    const BUSY: [&str; 7] = [
        "could not get lock",
        "unable to lock directory",
        "unable to acquire",
        "was locked by another process",
        "already locked by",
        "can't create transaction lock",
        "system management is locked",
    ];
    const UNREACHABLE: [&str; 8] = [
        "failed to fetch",
        "could not resolve",
        "unable to connect",
        "cannot download",
        "curl error",
        "connection failed",
        "download (curl) error",
        "timeout exceeded",
    ];
    const UNKNOWN: [&str; 6] = [
        "was not found",
        "unable to locate",
        "no match for argument",
        "unable to find a match",
        "no package",
        "not found in package names",
    ];
    let said = format!("{}\n{}", String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
    let low = said.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| low.contains(word));
    let told = told(&said);
    match () {
        // dnf's word for its `excludepkgs` and its locks.
        () if low.contains("filtered out by exclude filtering") => {
            let by = "its removal from the excludes of dnf".to_owned();
            Error::Held { name: wanted.to_owned(), by }
        }
        () if is(&BUSY) => Error::Busy(told),
        () if low.contains("no space left") || low.contains("enough free space") => Error::Full(told),
        () if is(&UNREACHABLE) => Error::Unreachable(told),
        () if is(&UNKNOWN) => Error::Unknown(wanted.to_owned()),
        () => Error::Failed(told),
    }
}

/// The last of it, on one line.
fn told(said: &str) -> String {
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let from = line.len().saturating_sub(TOLD);
    line.char_indices().find(|(at, _)| *at >= from).map_or_else(String::new, |(at, _)| line[at..].to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn said(stderr: &str) -> Error {
        let ran = Ran {
            status: std::process::ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        meaning(&ran, "muster-node-agent 9.9.9-1")
    }

    #[test]
    fn what_managers_say_is_understood() {
        // As Debian 12, Fedora 40 and openSUSE 15.6 say it.
        for text in [
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (apt-get)",
            "dpkg: error: dpkg frontend lock was locked by another process with pid 77",
            "metadata already locked by 812",
            "error: can't create transaction lock on /var/lib/rpm/.rpm.lock",
            "System management is locked by the application with pid 1234 (zypper).",
        ] {
            assert!(matches!(said(text), Error::Busy(_)), "{text}");
        }
        for text in [
            "E: Failed to fetch http://mirror/x.deb  Could not connect to mirror:80",
            "Curl error (7): Couldn't connect to server for http://mirror/repodata/repomd.xml",
            "Download (curl) error for 'http://mirror/repodata/repomd.xml': Connection failed",
        ] {
            assert!(matches!(said(text), Error::Unreachable(_)), "{text}");
        }
        for text in [
            "E: Version '9.9.9-1' for 'muster-node-agent' was not found",
            "Error: Unable to find a match: muster-node-agent-9.9.9-1",
            "No provider: package 'muster-node-agent=9.9.9-1' not found in package names.",
        ] {
            assert!(matches!(said(text), Error::Unknown(_)), "{text}");
        }
        let excluded = "Error: Unable to find a match\nAll matches were filtered out by exclude filtering for argument: x";
        assert!(matches!(said(excluded), Error::Held { .. }));
        assert!(matches!(said("dpkg: error processing archive x: No space left on device"), Error::Full(_)));
        assert!(matches!(said("segmentation fault"), Error::Failed(_)));
    }

    #[tokio::test]
    async fn a_manager_that_does_not_end_is_no_repository_that_cannot_be_reached() {
        let limit = Duration::from_millis(50);
        assert!(matches!(within(limit, call("sleep", &["60"])).await, Err(Error::Slow(it)) if it == limit));
    }

    #[test]
    fn a_lock_that_nobody_holds_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        is_free(&lock).unwrap();
        fs::write(&lock, "").unwrap();
        is_free(&lock).unwrap();
    }

    #[test]
    fn a_package_is_found_wherever_its_manager_puts_it() {
        let folder = tempfile::tempdir().unwrap();
        let package = Package { manager: Manager::Zypper, name: "muster-node-agent".to_owned() };
        assert_eq!(package.fetched(folder.path()), None);
        let at = folder.path().join("muster/x86_64/muster-node-agent-0.2.0-1.x86_64.rpm");
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, "x").unwrap();
        fs::write(folder.path().join("other-1.rpm"), "x").unwrap();
        assert_eq!(package.fetched(folder.path()), Some(at));
    }
}
