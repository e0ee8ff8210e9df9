//! This host, as an upgrade needs it.

use std::{io, path::Path, thread, time::Duration};

use muster_common::clock::{Clock, UnixMillis};
use rustix::fs::{FlockOperation, flock};
use tokio::runtime::Runtime;

use super::{
    EXECUTOR, SERVICE, evidence,
    machine::{Failure, Kind, Seen, Stage, Which},
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
    },
    state_dir::{CONNECTED, StateDir},
};

/// Between looks.
const LOOK: Duration = Duration::from_secs(1);
/// A lock of the package manager is waited for, at most so often and so long apart.
const LOCK: (u32, Duration) = (60, Duration::from_secs(5));
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
}

/// Drives what is pending to its end. Nothing is done if another watchdog does it, or if
/// nothing is pending.
///
/// # Errors
/// If what is pending cannot be read, or its end cannot be written down.
pub fn watch(folder: &Folder, clock: Clock) -> io::Result<Option<Record>> {
    let lock = std::fs::File::open(folder.path())?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let Some(mut record) = folder.pending()? else { return Ok(None) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut host = ThisHost { folder: folder.clone(), runtime, clock, way: Way::default(), whole: None };
    let (from, to) = (record.plan.from.clone(), record.plan.to.clone());
    tracing::info!("the agent is upgraded from {from} to {to}; it is {}", record.stage.name());
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

    /// Both versions, so that neither way hangs by a network.
    fn fetch(&self, package: &Package, from: &str, to: &str) -> Result<(), Failure> {
        for (version, name) in [(from, "old"), (to, "new")] {
            let into = self.folder.packages().join(name);
            self.patiently(|| self.wait_for(package.fetch(version, &into))).map_err(|error| {
                let why = if name == "old" {
                    ", and without the version that runs there is no way back"
                } else {
                    ""
                };
                failed(&error, why)
            })?;
        }
        Ok(())
    }

    fn install(&self, package: &Package, to: Which) -> Result<(), Failure> {
        let from = self.folder.packages().join(if to == Which::New { "new" } else { "old" });
        let file = package
            .fetched(&from)
            .ok_or_else(|| Failure::new(Kind::Host, format!("the package in {} is gone", from.display())))?;
        self.patiently(|| self.wait_for(package.install(&file))).map_err(|error| failed(&error, ""))
    }

    /// Waits for the lock of the package manager.
    fn patiently<T>(&self, doing: impl Fn() -> Result<T, PackageError>) -> Result<T, PackageError> {
        for _ in 1..LOCK.0 {
            match doing() {
                Err(PackageError::Busy(_)) => thread::sleep(LOCK.1),
                done => return done,
            }
        }
        doing()
    }

    /// Which version would be started.
    fn installed(&self, plan: &Plan) -> Which {
        let is_new = match &plan.method {
            Method::Slots { slots, to, .. } => slots.current().is_ok_and(|slot| slot == *to),
            Method::Package { package, to, .. } => {
                self.wait_for(package.installed()).is_ok_and(|version| version == *to)
            }
        };
        if is_new { Which::New } else { Which::Old }
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
    fn stage(&mut self, plan: &Plan) -> Result<(), Failure> {
        match &plan.method {
            Method::Slots { slots, to, archive } => self.slot(slots, *to, plan, archive),
            Method::Package { package, from, to } => self.fetch(package, from, to),
        }
    }

    /// The agent's own service is stopped for it: what would start in between would be the
    /// one or the other by chance. Scripts that outlive it have units of their own.
    fn switch(&mut self, plan: &Plan, to: Which) -> Result<(), Failure> {
        self.whole = None;
        let stopped = self.wait_for(own_service::stop(&[SERVICE]));
        if let Err(error) = stopped {
            tracing::warn!(%error, "the agent could not be stopped: {error}");
        }
        let put = match &plan.method {
            Method::Slots { slots, to: new, .. } => {
                let slot = if to == Which::New { *new } else { new.other() };
                let told = |error: io::Error| {
                    Failure::new(kind_of(&error), format!("cannot switch the slot: {error}"))
                };
                slots.switch(slot).map_err(told)
            }
            Method::Package { package, .. } => self.install(package, to),
        };
        // Ends by itself, too; what asks next is answered by the version of now.
        let _ = self.wait_for(own_service::stop(&[EXECUTOR]));
        let started = self.wait_for(own_service::start(SERVICE));
        if let Err(error) = started {
            tracing::warn!(%error, "the agent could not be started: {error}");
        }
        put
    }

    fn look(&mut self, plan: &Plan, wanted: Which) -> Seen {
        let state = self.wait_for(own_service::state(SERVICE)).unwrap_or_default();
        let installed = self.installed(plan);
        let runs = if state.is_active { self.version(plan, state.pid, installed) } else { None };
        let is_well = runs == Some(wanted) && self.is_well(plan, state.pid);
        let way_is_open = !is_well && {
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
        let began = self.clock.monotonic();
        thread::sleep(LOOK);
        self.clock.monotonic() - began
    }

    fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    fn keep(&mut self, record: &Record) -> io::Result<()> {
        self.folder.keep(record)
    }
}

fn failed(error: &PackageError, more: &str) -> Failure {
    let kind = match error {
        PackageError::Unknown(_) => Kind::PackageUnknown,
        PackageError::Unreachable(_) => Kind::RepositoryUnreachable,
        PackageError::Busy(_) => Kind::PackageManagerBusy,
        PackageError::Full(_) => Kind::DiskFull,
        PackageError::Failed(_) | PackageError::Io(_) => Kind::Host,
    };
    Failure::new(kind, format!("{error}{more}"))
}
