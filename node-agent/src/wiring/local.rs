//! The agent behind its local socket: what it tells, and what somebody on the host may say.

mod logging;
mod observe;
mod read;
mod view;
mod workloads;

use std::{path::PathBuf, sync::Arc};

use muster_common::{
    clock::{Clock, UnixMillis},
    drain::Drain,
    tasks::{Kind, Tasks},
    telemetry::Level,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::settings::HostLayers;
use crate::{
    applier::explain::{self, Explanation},
    config::Config,
    local_api::{
        self, Door, Host, Limits, Refused,
        status::{Log, Status},
    },
    locks,
    state::{EffectiveSetting, Facts, Pause, Pauses},
    state_dir::{self, StateDir},
    workload::{self, Workloads},
};

use logging::Logging;
use read::Read;
pub(super) use view::View;

/// What the socket, the status file and the rooms that rest in a pause share.
pub(super) struct Local {
    state: StateDir,
    locks: locks::Reader,
    locks_file: PathBuf,
    settings: HostLayers,
    clock: Clock,
    started_at: UnixMillis,
    pauses: Pauses,
    /// One word about a pause at a time, on disk and in memory.
    pausing: Mutex<()>,
    pub(super) logging: Logging,
    /// `None`: the host is in no fleet.
    view: watch::Sender<Option<View>>,
    /// What was told of the session last.
    contact: watch::Sender<state_dir::Status>,
    status: watch::Sender<Arc<Status>>,
    read: Read,
    /// Where the socket is.
    socket: watch::Sender<Option<PathBuf>>,
}

impl Local {
    pub(super) async fn new(
        config: &Config,
        state: &StateDir,
        locks: &locks::Reader,
        settings: &HostLayers,
        level: Level,
    ) -> Arc<Self> {
        let (clock, pauses) = (Clock::System, Pauses::default());
        let started_at = clock.now();
        if let Some(pause) = pause_left(state, started_at) {
            tracing::warn!("changes and commands rest: {}", pause.reason);
            pauses.set(Some(pause));
        }
        let local = Self {
            state: state.clone(),
            locks: locks.clone(),
            locks_file: config.locks_file.clone(),
            settings: settings.clone(),
            clock,
            started_at,
            pauses,
            pausing: Mutex::default(),
            logging: Logging::new(level),
            view: watch::Sender::new(None),
            contact: watch::Sender::new(state.status().unwrap_or_default()),
            status: watch::Sender::new(Arc::new(observe::nothing(started_at))),
            read: Read::default(),
            socket: watch::Sender::new(None),
        };
        let first = local.look().await;
        local.status.send_replace(Arc::new(first));
        Arc::new(local)
    }

    /// Starts what serves the host until the process ends.
    pub(super) fn start(
        self: &Arc<Self>,
        config: &Config,
        workloads: &Workloads,
        tasks: &Tasks,
        drain: &Drain,
    ) {
        let limits = Limits::default();
        let door = Door {
            sockets: config.sockets(),
            routes: local_api::routes(Arc::clone(self) as Arc<dyn Host>, &limits)
                .add_service(workload::api::service(workloads, workloads::who)),
            limits,
            clock: self.clock.clone(),
            tasks: tasks.clone(),
            opened: self.socket.clone(),
        };
        tasks.spawn("local socket", Kind::BestEffort, door.serve(drain.clone()));
        let observer = Arc::clone(self).observe(drain.clone());
        tasks.spawn("status", Kind::BestEffort, observer);
    }

    /// The pause of now, for those who rest.
    pub(super) fn pauses(&self) -> Pauses {
        self.pauses.clone()
    }

    /// From now on this node is seen. `None`: none is.
    pub(super) fn show(&self, view: Option<View>) {
        self.view.send_replace(view);
    }

    /// What was told of the session.
    pub(super) fn contact(&self, told: state_dir::Status) {
        self.contact.send_replace(told);
    }

    /// Ends a pause if its end is over; somebody may have asked for another one meanwhile.
    fn end_pause_over(&self, now: UnixMillis) -> Result<bool, Refused> {
        let _turn = self.pausing.lock();
        let is_over = self.pauses.now().is_some_and(|pause| pause.is_over(now));
        if is_over { self.end_pause() } else { Ok(false) }
    }

    /// For whoever has the turn.
    fn end_pause(&self) -> Result<bool, Refused> {
        self.state.set_pause(None)?;
        let was = self.pauses.holds();
        self.pauses.set(None);
        Ok(was)
    }
}

/// The pause that an earlier process left. One that is over is forgotten: a clock that is set
/// back must not bring it back.
fn pause_left(state: &StateDir, now: UnixMillis) -> Option<Pause> {
    let pause = state.pause()?;
    if !pause.is_over(now) {
        return Some(pause);
    }
    if let Err(error) = state.set_pause(None) {
        tracing::warn!(%error, "a pause is over, and could not be forgotten");
    }
    None
}

impl Host for Local {
    fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.subscribe()
    }

    fn facts(&self) -> Result<Arc<Facts>, Refused> {
        let view = self.view.borrow();
        view.as_ref().map(|view| Arc::clone(&view.facts.borrow())).ok_or(Refused::NotInAFleet)
    }

    fn settings(&self) -> Vec<EffectiveSetting> {
        let view = self.view.borrow();
        let given = view.as_ref().map(|view| view.given.borrow().clone()).unwrap_or_default();
        self.settings.over(&given).settings
    }

    fn explain(&self) -> Result<Vec<Explanation>, Refused> {
        let folder = self.view.borrow().as_ref().map(|view| view.folder.clone());
        let folder = folder.ok_or(Refused::NotInAFleet)?;
        Ok(explain::explain(&folder, &self.locks.current())?)
    }

    fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    fn pause(&self, pause: Pause) -> Result<(), Refused> {
        let _turn = self.pausing.lock();
        self.state.set_pause(Some(&pause))?;
        self.pauses.set(Some(pause));
        Ok(())
    }

    fn resume(&self) -> Result<bool, Refused> {
        let _turn = self.pausing.lock();
        self.end_pause()
    }

    fn log_at(&self, level: Option<String>, until: Option<UnixMillis>) -> Result<Log, Refused> {
        if self.logging.is_fixed() {
            return Err(Refused::LogLevelFixed);
        }
        Ok(self.logging.said_here(level, until))
    }

    fn remove_extension(&self, name: &str) -> Result<bool, Refused> {
        let extensions = self.view.borrow().as_ref().map(|view| view.extensions.clone());
        extensions.ok_or(Refused::NotInAFleet)?.remove(name).map_err(Refused::Locked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_ended_while_no_agent_ran_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let pause =
            Pause { reason: "work".to_owned(), since: UnixMillis(1), until: Some(UnixMillis(5)), uid: 0 };
        state.set_pause(Some(&pause)).unwrap();
        assert_eq!(pause_left(&state, UnixMillis(4)), Some(pause));
        assert_eq!(pause_left(&state, UnixMillis(5)), None);
        assert_eq!(state.pause(), None, "nor is it there when the clock is set back");
    }
}
