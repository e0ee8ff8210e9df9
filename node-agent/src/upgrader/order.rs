//! Upgrades by the control plane's word: done for the daemon by who has the rights. What may
//! be, the lock file says; what is brought in slots was signed as that version. The daemon is
//! believed in nothing else.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_common::{
    clock::Clock,
    digest::Sha256,
    reason::Reason,
    tasks,
    tuf::{About, Kind as FileKind},
};
use tokio::sync::Mutex;

use super::{
    FOLDER,
    begin::{self, Error, Installed, Wish},
    machine::{End, Failure, Kind, Limits, Stage},
    record::{Folder, Record},
};
use crate::{
    admission::{Store, Wanted},
    locks,
    platform::{bytes, files, systemd},
    state::Cause,
    verbs::{
        No,
        messages::{UpgradeFailure, UpgradeOver, UpgradePending, UpgradeState},
        number,
    },
};

/// Longest name of a version.
const LONGEST: usize = 64;
/// Who wants it, in the record.
const BY: &str = "operator";

/// What it works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent's state directory.
    pub state_dir: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// How long things may take.
    pub limits: Limits,
    /// What this host allows.
    pub locks: locks::Reader,
}

/// Who takes such words. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Orders {
    folder: Folder,
    options: Options,
    /// One word at a time.
    one: Arc<Mutex<()>>,
}

/// A version that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// As it calls itself.
    pub version: String,
    /// What package managers call it; empty: the version with `-1`.
    pub package_version: String,
    /// The release's archive, for an agent in slots.
    pub archive: Option<Wanted>,
}

impl Orders {
    /// With the host's folder of upgrades.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { folder: Folder::at(FOLDER.as_ref()), options, one: Arc::default() }
    }

    /// Begins. The same again, while it is under way, is no other one.
    ///
    /// # Errors
    /// If it does not begin. Nothing has changed.
    pub async fn start(&self, order: &Order, store: &Store) -> Result<UpgradeState, No> {
        let _one = self.one.lock().await;
        for name in [&order.version, &order.package_version] {
            check_name(name)?;
        }
        if !is_of(&order.package_version, &order.version) {
            let what = format!("package version {:?} is none of {}", order.package_version, order.version);
            return Err(no(Reason::ReleaseContentInvalid, Cause::Content, what));
        }
        can()?;
        if let Some(pending) = self.folder.pending().map_err(|error| of_host(&error))? {
            if pending.plan.to != order.version {
                return Err(refused(Error::Busy(pending.plan.to)));
            }
            begin::resume(&self.folder).await.map_err(|error| of_host(&error))?;
            return self.look().await;
        }
        if let Some(why) = self.options.locks.current().refuses_upgrade(&order.version) {
            return Err(no(Reason::UpgradeDenied, Cause::Host, why));
        }
        let archive = match &order.archive {
            None => None,
            Some(wanted) => Some(self.lay_in(wanted, &order.version, store).await?),
        };
        let wish = Wish {
            version: order.version.clone(),
            archive,
            package_version: order.package_version.clone(),
            limits: self.options.limits,
            needs_session: true,
            by: BY.to_owned(),
            state_dir: self.options.state_dir.clone(),
            config: self.options.config.clone(),
        };
        Box::pin(begin::begin(&self.folder, &wish, &Clock::System)).await.map_err(refused)?;
        self.look().await
    }

    /// How upgrades stand, whoever began them.
    ///
    /// # Errors
    /// If that cannot be read.
    pub async fn look(&self) -> Result<UpgradeState, No> {
        if let Err(no) = can() {
            return Ok(UpgradeState { unavailable: no.message, ..UpgradeState::default() });
        }
        let pending = self.folder.pending().map_err(|error| of_host(&error))?;
        let last = self.folder.last().map_err(|error| of_host(&error))?;
        let mut state = UpgradeState {
            pending: pending.as_ref().map(under_way),
            last: last.and_then(over),
            ..UpgradeState::default()
        };
        if pending.is_none() {
            match self.installed().await {
                Ok(installed) => state.is_in_slots = matches!(installed, Installed::Slots(..)),
                Err(error) => state.unavailable = error.to_string(),
            }
        }
        Ok(state)
    }

    async fn installed(&self) -> Result<Installed, Error> {
        begin::installed(&begin::program().await?).await
    }

    /// Copies a release's archive to where only root has it, for as long as it takes.
    async fn lay_in(&self, wanted: &Wanted, version: &str, store: &Store) -> Result<PathBuf, No> {
        let (wanted, version, store) = (wanted.clone(), version.to_owned(), store.clone());
        let (folder, to) = (self.folder.path().to_owned(), self.folder.archive());
        tasks::blocking(move || {
            let admitted = store.admitted(&wanted).map_err(|error| of_host(&error))?;
            let about = admitted.and_then(|admitted| admitted.about);
            check_about(about.as_ref(), &version)?;
            let from = store.open_admitted(wanted.sha256).map_err(|error| of_host(&error))?;
            let sha256 = copy(&from, &folder, &to).map_err(|error| of_host(&error))?;
            if sha256 == wanted.sha256 {
                return Ok(to);
            }
            Err(no(Reason::UpgradeFailed, Cause::Host, "the store has other bytes than it admitted"))
        })
        .await
    }
}

fn copy(from: &File, folder: &Path, to: &Path) -> io::Result<Sha256> {
    files::private_folder(folder)?;
    let staged = to.with_extension("new");
    let mut file = File::create(&staged)?;
    let sha256 = bytes::copy(from, &mut file)?;
    file.sync_all()?;
    fs::rename(staged, to)?;
    files::sync_folder(folder)?;
    Ok(sha256)
}

/// What was signed about the archive must be that it is this version, for this kind of host.
fn check_about(about: Option<&About>, version: &str) -> Result<(), No> {
    let Some(about) = about else {
        let message = "the repository that is believed says nothing of the archive (any more)";
        return Err(no(Reason::ArtifactUnknown, Cause::ControlPlane, message));
    };
    let is_fit = |told: &str, here: &str| told == here || told == "any";
    if about.kind != FileKind::Release || about.version != version {
        let message =
            format!("the archive is signed as {:?} {}, not as release {version}", about.kind, about.version);
        return Err(no(Reason::VersionInvalid, Cause::Content, message));
    }
    if !is_fit(&about.os, std::env::consts::OS) || !is_fit(&about.arch, std::env::consts::ARCH) {
        let message = format!("the archive is signed for {} {}", about.os, about.arch);
        return Err(no(Reason::VersionInvalid, Cause::Content, message));
    }
    Ok(())
}

/// It becomes a word of command lines.
fn check_name(name: &str) -> Result<(), No> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".+~:-_".contains(&byte);
    if name.len() <= LONGEST && name.bytes().all(is_fit) && !name.starts_with('-') {
        return Ok(());
    }
    Err(no(Reason::ReleaseContentInvalid, Cause::Content, format!("{name:?} is no version")))
}

/// Whether a package is of a version: who may bring one may not bring another by it.
fn is_of(package: &str, version: &str) -> bool {
    let package = package.split_once(':').map_or(package, |(_, package)| package);
    // A version before the release has a tilde in packages, which sort it so.
    let rest = [version.to_owned(), version.replace('-', "~")];
    let rest = rest.iter().find_map(|version| package.strip_prefix(version.as_str()));
    let is_revision = |rest: &str| {
        let mut bytes = rest.bytes();
        match bytes.next() {
            None | Some(b'+') => true,
            Some(b'-') => bytes.next().is_some_and(|byte| byte.is_ascii_digit()),
            _ => false,
        }
    };
    !version.is_empty() && (package.is_empty() || rest.is_some_and(is_revision))
}

fn can() -> Result<(), No> {
    if systemd::is_booted() && rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let message = "the agent cannot be upgraded from here: that takes root on a host with systemd";
    Err(no(Reason::UpgradeUnavailable, Cause::Host, message))
}

fn under_way(record: &Record) -> UpgradePending {
    let Record { plan, stage, since } = record;
    let message = match stage {
        Stage::RollingBack { why, .. } | Stage::Returned { why, .. } => {
            format!("back to {}: {}", plan.from, why.message)
        }
        _ => format!("from {} to {}", plan.from, plan.to),
    };
    UpgradePending {
        to: plan.to.clone(),
        begun_ms: plan.begun.0,
        step: stage.name().to_owned(),
        percent: stage.percent(plan.limits).into(),
        since_ms: since.0,
        message,
    }
}

fn over(record: Record) -> Option<UpgradeOver> {
    let Record { plan, stage, .. } = record;
    let end = stage.name().to_owned();
    let failure = match stage {
        Stage::Ended(End::Committed) => None,
        Stage::Ended(End::Refused(why) | End::RolledBack(why) | End::Failed(why)) => Some(told(why)),
        _ => return None,
    };
    Some(UpgradeOver { to: plan.to, begun_ms: plan.begun.0, end, failure })
}

fn told(why: Failure) -> UpgradeFailure {
    let (reason, cause) = blame(why.kind);
    UpgradeFailure {
        reason: reason.to_string(),
        cause: number(cause),
        message: why.message,
        output: why.output,
    }
}

/// Only what the version did itself is its content's fault.
const fn blame(kind: Kind) -> (Reason, Cause) {
    match kind {
        Kind::Invalid => (Reason::VersionInvalid, Cause::Content),
        Kind::Crashed => (Reason::VersionDidNotStart, Cause::Content),
        Kind::Silent => (Reason::VersionNotConnected, Cause::Content),
        Kind::CutOff => (Reason::VersionNotConnected, Cause::Network),
        Kind::DiskFull => (Reason::DiskFull, Cause::Host),
        Kind::Host => (Reason::UpgradeFailed, Cause::Host),
        Kind::PackageUnknown => (Reason::VersionNotAvailable, Cause::Host),
        Kind::RepositoryUnreachable => (Reason::FetchFailed, Cause::Network),
        Kind::PackageManagerBusy => (Reason::PackageManagerFailed, Cause::Host),
        Kind::PackageHeld => (Reason::UpgradeDenied, Cause::Host),
    }
}

fn refused(error: Error) -> No {
    match error {
        Error::Io(error) => of_host(&error),
        error => {
            let reason = match error {
                Error::Unavailable(_) => Reason::UpgradeUnavailable,
                Error::Busy(_) => Reason::UpgradeBusy,
                Error::Running(_) | Error::Missing(_) | Error::Io(_) => Reason::UpgradeFailed,
            };
            no(reason, Cause::Host, error.to_string())
        }
    }
}

fn of_host(error: &io::Error) -> No {
    let no = No::host(error);
    let is_full = no.reason == Reason::DiskFull;
    No { reason: if is_full { Reason::DiskFull } else { Reason::UpgradeFailed }, ..no }
}

fn no(reason: Reason, cause: Cause, message: impl Into<String>) -> No {
    No { reason, cause, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(version: &str) -> About {
        About {
            kind: FileKind::Release,
            publisher: String::new(),
            type_name: String::new(),
            version: version.to_owned(),
            os: "linux".to_owned(),
            arch: "any".to_owned(),
        }
    }

    #[test]
    fn an_archive_is_what_was_signed_of_it() {
        assert_eq!(check_about(Some(&about("0.2.0")), "0.2.0"), Ok(()));
        let other = About { kind: FileKind::Extension, ..about("0.2.0") };
        let elsewhere = About { arch: "s390x".to_owned(), ..about("0.2.0") };
        for wrong in [about("0.1.0"), other, elsewhere] {
            assert_eq!(check_about(Some(&wrong), "0.2.0").unwrap_err().cause, Cause::Content);
        }
        assert_eq!(check_about(None, "0.2.0").unwrap_err().cause, Cause::ControlPlane);
    }

    #[test]
    fn the_content_is_to_blame_exactly_where_the_watchdog_blames_the_version() {
        for kind in [
            Kind::Invalid,
            Kind::DiskFull,
            Kind::Host,
            Kind::Crashed,
            Kind::Silent,
            Kind::CutOff,
            Kind::PackageUnknown,
            Kind::RepositoryUnreachable,
            Kind::PackageManagerBusy,
            Kind::PackageHeld,
        ] {
            assert_eq!(blame(kind).1 == Cause::Content, kind.blames_version(), "{kind:?}");
        }
    }

    #[test]
    fn a_version_is_one_word() {
        for good in ["", "0.2.0", "1:0.2.0-1~deb12+1", "0.2.0-rc.1"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["-oDebug", "0.2.0 x", "../0.2.0", "a\nb", &"1".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["", "0.2.0", "0.2.0-1", "1:0.2.0-1~deb12", "0.2.0+3"] {
            assert!(is_of(good, "0.2.0"), "{good}");
        }
        assert!(is_of("0.2.0~rc.1-1", "0.2.0-rc.1"));
        for bad in ["0.3.0-1", "0.2.01", "0.2.0.1-1", "0.2.0~rc.1-1", "0.2.0-rc.1", "0.3.0:0.2.0x"] {
            assert!(!is_of(bad, "0.2.0"), "{bad}");
        }
        assert!(!is_of("", ""));
    }
}
