//! How an upgrade begins: what is asked is checked, a copy of the running program laid
//! aside, the watchdog started with it, and the plan written down, for which that waits.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{clock::Clock, crash, tasks};
use rustix::fs::{FlockOperation, flock};

use super::{
    SERVICE, UNIT,
    machine::{Limits, Stage},
    record::{Folder, Method, Plan, Record},
    version_of,
};
use crate::platform::{files, own_service, packages::Package, slots::Slots, systemd};

/// The watchdog of the upgrade before is waited for so often, so long apart.
const LAST_ENDS: (u32, Duration) = (50, Duration::from_millis(200));

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Which version.
    pub version: String,
    /// The release's archive, for an agent in slots. `None`: there is none.
    pub archive: Option<PathBuf>,
    /// What package managers call it. Empty: the version with `-1`; before a release comes what
    /// they write with `~`, such as `1.1.0~rc.1-1`.
    pub package_version: String,
    /// How long things may take.
    pub limits: Limits,
    /// It is to be kept only if it has a session.
    pub needs_session: bool,
    /// Who wants it: `operator`, `administrator`.
    pub by: String,
    /// The agent's state directory.
    pub state_dir: PathBuf,
    /// The agent's configuration file.
    pub config: PathBuf,
}

/// It does not begin. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This host cannot upgrade its agent by itself.
    #[error("this agent cannot be upgraded from here: {0}")]
    Unavailable(String),
    /// Another one is under way.
    #[error("the agent is being upgraded to {0}")]
    Busy(String),
    /// It runs already.
    #[error("version {0} runs already")]
    Running(String),
    /// What is needed for it is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// The host cannot do it.
    #[error("cannot begin the upgrade: {0}")]
    Io(#[from] io::Error),
}

/// How the agent of this host was installed, and which version runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// In slots.
    Slots(Slots, crate::platform::slots::Slot),
    /// By a package manager, as which version.
    Package(Package, String),
}

/// How the agent of this host was installed.
///
/// # Errors
/// If it was in no way that can be upgraded.
pub async fn installed(program: &Path) -> Result<Installed, Error> {
    if let Some((slots, slot)) = Slots::of(program) {
        return Ok(Installed::Slots(slots, slot));
    }
    let package =
        Package::owning(program).await.map(|(package, version)| Installed::Package(package, version));
    package.ok_or_else(|| {
        let program = program.display();
        Error::Unavailable(format!("{program} is in no slot and belongs to no package of this host"))
    })
}

/// The program of the agent of this host: that which its service runs, else this one.
///
/// # Errors
/// If the system does not say.
pub async fn program() -> io::Result<PathBuf> {
    let state = own_service::state(SERVICE).await.unwrap_or_default();
    match own_service::program(state.pid).filter(|_| state.pid != 0) {
        Some(program) => Ok(program),
        None => std::env::current_exe(),
    }
}

/// Begins. From here on it goes on by itself, whatever becomes of who asked. The same wish
/// again, while it is under way, is no other one.
///
/// # Errors
/// As said.
pub async fn begin(folder: &Folder, wish: &Wish, clock: &Clock) -> Result<Record, Error> {
    if !systemd::is_booted() || !rustix::process::geteuid().is_root() {
        return Err(Error::Unavailable("that takes root on a host with systemd".to_owned()));
    }
    let _alone = alone(folder).await?;
    if let Some(pending) = folder.pending()? {
        if pending.plan.to != wish.version {
            return Err(Error::Busy(pending.plan.to));
        }
        resume(folder).await?;
        return Ok(pending);
    }
    let program = program().await?;
    let from = version_of(&program)
        .await
        .map_err(|why| Error::Unavailable(format!("{}: {why}", program.display())))?;
    if from == wish.version {
        return Err(Error::Running(from));
    }
    let method = method(wish, installed(&program).await?)?;
    let now = clock.now();
    let plan = Plan {
        from,
        to: wish.version.clone(),
        method,
        needs_session: wish.needs_session,
        limits: wish.limits,
        state_dir: wish.state_dir.clone(),
        config: wish.config.clone(),
        by: wish.by.clone(),
        begun: now,
    };
    let record = Record { plan, stage: Stage::Verified, since: now };
    lay_aside(folder)?;
    let watchdog = folder.watchdog();
    version_of(&watchdog)
        .await
        .map_err(|why| Error::Unavailable(format!("{}: {why}", watchdog.display())))?;
    // It waits until this is over: whoever is killed from here on, no plan is without one.
    start(folder).await?;
    folder.keep(&record)?;
    crash::point("upgrade.planned");
    Ok(record)
}

/// One at a time begins, and waits for who does.
async fn alone(folder: &Folder) -> io::Result<fs::File> {
    files::private_folder(folder.path())?;
    let path = folder.begin_lock();
    tasks::blocking(move || {
        let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    })
    .await
}

/// Starts the watchdog of what is pending, if none watches.
///
/// # Errors
/// If systemd does not say that it started.
pub async fn resume(folder: &Folder) -> io::Result<()> {
    if own_service::state(UNIT).await?.pid != 0 { Ok(()) } else { run(folder).await }
}

/// Starts a watchdog for what is about to be pending. That of the upgrade before may not have
/// ended yet: it does by itself.
async fn start(folder: &Folder) -> io::Result<()> {
    for _ in 0..LAST_ENDS.0 {
        if !own_service::state(UNIT).await?.is_known {
            break;
        }
        tokio::time::sleep(LAST_ENDS.1).await;
    }
    run(folder).await
}

async fn run(folder: &Folder) -> io::Result<()> {
    let (watchdog, at) = (folder.watchdog(), folder.path());
    let words = [&watchdog.to_string_lossy(), "watchdog", &at.to_string_lossy()];
    own_service::apart(UNIT, "Muster's watchdog over an upgrade of the agent", &words).await
}

fn method(wish: &Wish, installed: Installed) -> Result<Method, Error> {
    match installed {
        Installed::Slots(slots, runs) => {
            let archive = wish.archive.clone();
            let archive =
                archive.ok_or(Error::Missing("an agent in slots is upgraded from a release's archive"))?;
            Ok(Method::Slots { slots, to: runs.other(), archive })
        }
        Installed::Package(package, from) => {
            let to = match wish.package_version.as_str() {
                "" => format!("{}-1", wish.version.replacen('-', "~", 1)),
                version => version.to_owned(),
            };
            Ok(Method::Package { package, from, to })
        }
    }
}

/// A copy of this program, which is neither of the two that an upgrade is about.
fn lay_aside(folder: &Folder) -> io::Result<()> {
    let (to, staged) = (folder.watchdog(), folder.path().join("watchdog.new"));
    // By the kernel's name for it: its file may be another one by now.
    fs::copy("/proc/self/exe", &staged)?;
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o700))?;
    fs::File::open(&staged)?.sync_all()?;
    fs::rename(staged, to)?;
    files::sync_folder(folder.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::packages::Manager;

    #[test]
    fn packages_are_called_as_package_managers_count() {
        let called = |version: &str, package_version: &str| {
            let wish = Wish {
                version: version.to_owned(),
                archive: None,
                package_version: package_version.to_owned(),
                limits: Limits::default(),
                needs_session: false,
                by: String::new(),
                state_dir: PathBuf::new(),
                config: PathBuf::new(),
            };
            let package = Package { manager: Manager::Apt, name: "muster-node-agent".to_owned() };
            match method(&wish, Installed::Package(package, "0.1.0-1".to_owned())) {
                Ok(Method::Package { to, .. }) => to,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(called("1.1.0", ""), "1.1.0-1");
        assert_eq!(called("1.1.0-rc.1", ""), "1.1.0~rc.1-1");
        assert_eq!(called("1.1.0-rc.1-x", ""), "1.1.0~rc.1-x-1");
        assert_eq!(called("1.1.0", "2:1.1.0-3"), "2:1.1.0-3");
    }
}
