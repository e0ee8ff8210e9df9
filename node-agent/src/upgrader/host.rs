//! This host, as an upgrade needs it.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use muster_common::{
    clock::{Clock, Instant, UnixMillis},
    crash,
};
use tokio::runtime::Runtime;

use super::{
    EXECUTOR, SERVICE, evidence,
    machine::{Failure, Kind, Place, Seen, Stage, Which},
    record::{Folder, Method, Plan, Record},
    version_of,
    watchdog::{self, Host, kind_of},
    way::Way,
};
use crate::{
    platform::{
        own_service,
        packages::{Error as PackageError, Package},
        slots::Slots,
        strays,
    },
    state_dir::{CONNECTED, StateDir},
};

/// Between looks.
const LOOK: Duration = Duration::from_secs(1);
/// A lock of the package manager is waited for, at most so often and so long apart.
const LOCK: (u32, Duration) = (60, Duration::from_secs(5));
/// What the agent needs of a disk to say how it stands.
const TELLING: u64 = 64 * 1024;
/// Where packages have the program.
const PROGRAM: &str = "/usr/bin/muster-node-agent";
/// How often it is tried to write down that it is over, and how long apart.
const LAST_TRIES: (u32, Duration) = (720, Duration::from_secs(5));

/// What a watchdog works with.
struct ThisHost {
    folder: Folder,
    runtime: Runtime,
    clock: Clock,
    way: Way,
    /// The agent's process whose root half was seen to answer.
    whole: Option<u32>,
    /// When it last returned from a wait: looks take time, too. Not across a switch.
    waited: Option<Instant>,
}

/// Drives what is pending to its end. Nothing is done if another watchdog does it, or if
/// nothing is pending.
///
/// # Errors
/// If what is pending cannot be read, or its end cannot be written down.
pub fn watch(folder: &Folder, clock: Clock) -> io::Result<Option<Record>> {
    folder.wait_for_begin()?;
    let Some(_lock) = folder.take_over()? else { return Ok(None) };
    let Some(mut record) = folder.pending()? else { return Ok(None) };
    strays::adopt()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut host =
        ThisHost { folder: folder.clone(), runtime, clock, way: Way::default(), whole: None, waited: None };
    let (from, to) = (record.plan.from.clone(), record.plan.to.clone());
    tracing::info!("the agent is upgraded from {from} to {to}; it is {}", record.stage.name());
    record = watchdog::resumed(record, &mut host);
    while !matches!(record.stage, Stage::Ended(_)) {
        let before = record.stage.name();
        record = watchdog::advance(record, &mut host);
        if record.stage.name() != before {
            tracing::info!("the upgrade to {to} is {}", record.stage.name());
        }
    }
    let mut written = folder.end(&record);
    for _ in 0..LAST_TRIES.0 {
        if written.is_ok() {
            break;
        }
        thread::sleep(LAST_TRIES.1); // a full disk may have room again
        written = folder.end(&record);
    }
    written.map(|()| Some(record))
}

impl ThisHost {
    fn wait_for<T>(&self, doing: impl Future<Output = T>) -> T {
        self.runtime.block_on(doing)
    }

    fn slot(
        &self,
        slots: &Slots,
        to: crate::platform::slots::Slot,
        plan: &Plan,
        archive: &Path,
    ) -> Result<(), Failure> {
        let put = |error: &io::Error| {
            let what = format!("release {} cannot be put beside the running one: {error}", plan.to);
            Failure::new(kind_of(error), what)
        };
        slots.fill(to, archive, |_| {}).map_err(|error| put(&error))?;
        // It must run on this host before anything hangs by it.
        let said = self.wait_for(version_of(&slots.program(to)));
        match said {
            Ok(version) if version == plan.to => Ok(()),
            Ok(version) => {
                let what = format!("what should be release {} says that it is {version}", plan.to);
                Err(Failure::new(Kind::Invalid, what))
            }
            Err(why) => {
                let what = format!("release {} does not run on this host: {why}", plan.to);
                Err(Failure::new(Kind::Invalid, what))
            }
        }
    }

    /// Both versions, so that neither way hangs by a network. Answers what the new one calls
    /// itself: what was asked for may be less than that, such as a version without a release.
    fn fetch(&self, package: &Package, from: &str, to: &str) -> Result<String, Failure> {
        self.wait_for(package.may_become(to)).map_err(|error| failed(&error, ""))?;
        let mut fetched = None;
        for (version, name) in [(from, "old"), (to, "new")] {
            let into = self.folder.packages().join(name);
            let file = self.patiently(|| self.wait_for(package.fetch(version, &into))).map_err(|error| {
                let why = if name == "old" {
                    ", and without the version that runs there is no way back"
                } else {
                    ""
                };
                failed(&error, why)
            })?;
            fetched = Some(file);
        }
        let file = fetched.ok_or_else(|| Failure::new(Kind::Host, "nothing was fetched"))?;
        self.wait_for(package.version_in(&file)).map_err(|error| failed(&error, ""))
    }

    /// The file that is installed, once nobody holds the lock of the manager. The agent runs
    /// meanwhile.
    fn ready(&self, package: &Package, to: Which) -> Result<PathBuf, Failure> {
        let from = self.folder.packages().join(if to == Which::New { "new" } else { "old" });
        let file = package
            .fetched(&from)
            .ok_or_else(|| Failure::new(Kind::Host, format!("the package in {} is gone", from.display())))?;
        self.patiently(|| self.wait_for(package.is_free())).map_err(|error| failed(&error, ""))?;
        Ok(file)
    }

    /// Whether a version is in the place, and nothing else runs.
    fn is_there(&self, plan: &Plan, which: Which) -> bool {
        if self.installed(plan) != Place::Has(which) {
            return false;
        }
        let pid = self.wait_for(own_service::state(SERVICE)).unwrap_or_default().pid;
        pid == 0 || self.version(plan, pid, which) == Some(which)
    }

    fn put(&self, plan: &Plan, to: Which, file: Option<&Path>) -> Result<(), Failure> {
        match (&plan.method, file) {
            (Method::Slots { slots, to: new, .. }, _) => {
                let slot = if to == Which::New { *new } else { new.other() };
                let told = |error: io::Error| {
                    Failure::new(kind_of(&error), format!("cannot switch the slot: {error}"))
                };
                slots.switch(slot).map_err(told)
            }
            (Method::Package { package, .. }, Some(file)) => {
                self.wait_for(package.install(file)).map_err(|error| failed(&error, ""))?;
                if to == Which::New { self.is_named(plan) } else { Ok(()) }
            }
            (Method::Package { .. }, None) => Ok(()),
        }
    }

    /// What the package brought must call itself what is wanted, whatever the package does.
    fn is_named(&self, plan: &Plan) -> Result<(), Failure> {
        match self.wait_for(version_of(Path::new(PROGRAM))) {
            Ok(version) if version == plan.to => Ok(()),
            Ok(version) => {
                let what = format!("the package of release {} brings {version}", plan.to);
                Err(Failure::new(Kind::Invalid, what))
            }
            Err(why) => {
                let what = format!("release {} does not run on this host: {why}", plan.to);
                Err(Failure::new(Kind::Invalid, what))
            }
        }
    }

    fn let_start(&self) {
        if let Err(error) = self.wait_for(own_service::start(SERVICE)) {
            tracing::warn!(%error, "the agent could not be started: {error}");
        }
    }

    /// Waits for the lock of the package manager.
    fn patiently<T>(&self, doing: impl Fn() -> Result<T, PackageError>) -> Result<T, PackageError> {
        for _ in 1..LOCK.0 {
            match doing() {
                Err(PackageError::Busy(who)) => {
                    tracing::info!("the upgrade waits for the package manager: {who}");
                    thread::sleep(LOCK.1);
                }
                done => return done,
            }
        }
        doing()
    }

    /// Which version a process of the agent is.
    fn version(&self, plan: &Plan, pid: u32, installed: Which) -> Option<Which> {
        let program = own_service::program(pid)?;
        Some(match &plan.method {
            Method::Slots { slots, to, .. } if program.starts_with(slots.folder(*to)) => Which::New,
            Method::Slots { .. } => Which::Old,
            // Its file is another one by now, so it is not what is installed.
            Method::Package { .. } if own_service::is_replaced(pid) => match installed {
                Which::New => Which::Old,
                Which::Old => Which::New,
            },
            Method::Package { .. } => installed,
        })
    }

    fn is_well(&mut self, plan: &Plan, pid: u32) -> bool {
        let status = StateDir::at(&plan.state_dir).status();
        let has_session = status.is_some_and(|status| status.pid == pid && status.session == CONNECTED);
        if plan.needs_session && !has_session {
            return false;
        }
        if self.whole != Some(pid) && self.is_executor_up() {
            self.whole = Some(pid);
        }
        self.whole == Some(pid)
    }

    /// Whether the root half starts, where the agent has one.
    fn is_executor_up(&self) -> bool {
        self.wait_for(async {
            let before = own_service::state(EXECUTOR).await.unwrap_or_default();
            if !before.is_known || before.is_active {
                return true;
            }
            let _ = own_service::start(EXECUTOR).await;
            tokio::time::sleep(LOOK).await;
            own_service::state(EXECUTOR).await.is_ok_and(|state| state.is_active && state.restarts == 0)
        })
    }
}

impl Host for ThisHost {
    fn stage(&mut self, plan: &Plan) -> Result<Plan, Failure> {
        match &plan.method {
            Method::Slots { slots, to, archive } => {
                self.slot(slots, *to, plan, archive).map(|()| plan.clone())
            }
            Method::Package { package, from, to } => {
                let fetched = self.fetch(package, from, to);
                strays::end(); // such as gpg's agent, which would hold this unit when this ends
                let to = fetched?;
                let method = Method::Package { package: package.clone(), from: from.clone(), to };
                Ok(Plan { method, ..plan.clone() })
            }
        }
    }

    /// The agent's own service is stopped for it: what would start in between would be the
    /// one or the other by chance. Scripts that outlive it have units of their own.
    fn switch(&mut self, plan: &Plan, to: Which) -> Result<(), Failure> {
        (self.whole, self.waited) = (None, None);
        if self.is_there(plan, to) {
            self.let_start();
            return Ok(());
        }
        let file = match &plan.method {
            // It is there, and something else runs: that needs no manager.
            Method::Package { package, .. } if self.installed(plan) != Place::Has(to) => {
                Some(self.ready(package, to).inspect_err(|_| self.let_start())?)
            }
            _ => None,
        };
        if let Err(error) = self.wait_for(own_service::stop(&[SERVICE])) {
            tracing::warn!(%error, "the agent could not be stopped: {error}");
        }
        crash::point("upgrade.stopped");
        let put = self.put(plan, to, file.as_deref());
        // Ends by itself, too; what asks next is answered by the version of now.
        let _ = self.wait_for(own_service::stop(&[EXECUTOR]));
        self.let_start();
        put
    }

    fn installed(&self, plan: &Plan) -> Place {
        match &plan.method {
            Method::Slots { slots, to, .. } => match slots.current() {
                Ok(slot) if slot == *to => Place::Has(Which::New),
                Ok(_) => Place::Has(Which::Old),
                Err(_) => Place::Unsaid,
            },
            Method::Package { package, from, to } => match self.wait_for(package.installed()) {
                Ok(version) if version == *to => Place::Has(Which::New),
                Ok(version) if version == *from => Place::Has(Which::Old),
                Ok(_) => Place::Other,
                Err(_) => Place::Unsaid,
            },
        }
    }

    fn look(&mut self, plan: &Plan, wanted: Which) -> Seen {
        let state = self.wait_for(own_service::state(SERVICE)).unwrap_or_default();
        let installed = self.installed(plan);
        let runs = match installed {
            Place::Has(which) if state.is_active => self.version(plan, state.pid, which),
            _ => None,
        };
        let is_well = runs == Some(wanted) && self.is_well(plan, state.pid);
        let way_is_open = !is_well && can_tell(&plan.state_dir) && {
            let program = self.folder.watchdog();
            self.runtime.block_on(self.way.is_open(&program, &plan.config, &self.clock))
        };
        if !state.is_active && state.pid == 0 && state.restarts == 0 {
            // Somebody has stopped it: a host without its agent is out of reach.
            let _ = self.wait_for(own_service::start(SERVICE));
        }
        Seen { installed, runs, deaths: state.restarts, is_well, way_is_open }
    }

    fn last_words(&mut self, plan: &Plan) -> String {
        self.wait_for(evidence::gather(&self.folder, plan.begun))
    }

    fn wait(&mut self) -> Duration {
        let began = self.waited.unwrap_or_else(|| self.clock.monotonic());
        thread::sleep(LOOK);
        let now = self.clock.monotonic();
        self.waited = Some(now);
        now - began
    }

    fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    fn keep(&mut self, record: &Record) -> io::Result<()> {
        self.folder.keep(record)
    }
}

/// Whether the agent can write that it has a session. Root has room where others have none, so
/// it is not tried.
fn can_tell(state_dir: &Path) -> bool {
    let Ok(disk) = rustix::fs::statvfs(state_dir) else { return false };
    let has_files = disk.f_files == 0 || disk.f_favail > 0; // some count none
    let is_writable = !disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    is_writable && has_files && disk.f_bavail.saturating_mul(disk.f_frsize) >= TELLING
}

fn failed(error: &PackageError, more: &str) -> Failure {
    let kind = match error {
        PackageError::Unknown(_) => Kind::PackageUnknown,
        PackageError::Unreachable(_) => Kind::RepositoryUnreachable,
        PackageError::Busy(_) => Kind::PackageManagerBusy,
        PackageError::Held { .. } => Kind::PackageHeld,
        PackageError::Full(_) => Kind::DiskFull,
        PackageError::Slow(_) | PackageError::Failed(_) | PackageError::Io(_) => Kind::Host,
    };
    Failure::new(kind, format!("{error}{more}"))
}
