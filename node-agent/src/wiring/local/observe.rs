//! Puts together how the agent stands, whenever that changes, and keeps the status file true.

use std::{path::PathBuf, sync::Arc, time::Duration};

use muster_common::{
    build_info,
    clock::{self, Instant, UnixMillis},
    drain::Drain,
    tasks,
};
use tokio::sync::watch;

use super::{Local, View};
use crate::{
    config,
    local_api::{
        Host as _,
        status::{Health, Locks, Log, SCHEMA_VERSION, Session, SessionState, Status},
    },
    platform::files,
    session::Status as SessionStatus,
    state::Pause,
    state_dir,
};

/// Between two looks at most: what is not told, as the lock file, is seen then.
const LOOK: Duration = Duration::from_secs(10);
/// The same while something ends by itself.
const NEAR: Duration = Duration::from_secs(1);
/// Between two looks at least: an agent that is busy has better things to do.
const GAP: Duration = Duration::from_millis(200);
/// The status file is written this often also without news: who reads it sees by that
/// whether the agent lives.
const WRITE: Duration = Duration::from_secs(45);

impl Local {
    /// Watches until the process ends.
    pub(super) async fn observe(self: Arc<Self>, drain: Drain) {
        let mut written: Option<(Instant, PathBuf)> = None;
        let mut sources = Sources::of(&self);
        loop {
            self.end_what_is_over().await;
            sources.see();
            let status = self.look().await;
            let is_news = !self.status.borrow().says_the_same(&status);
            let now = self.clock.monotonic();
            let file = self.file();
            let is_due = written
                .as_ref()
                .is_none_or(|(at, place)| now.saturating_duration_since(*at) >= WRITE || *place != file);
            if is_news || is_due {
                let status = Arc::new(status);
                if is_news {
                    self.status.send_replace(Arc::clone(&status));
                }
                write(file.clone(), status.for_all()).await;
                if let Some((_, before)) = written.replace((now, file.clone()))
                    && before != file
                {
                    forget(before).await;
                }
            }
            tokio::select! {
                biased;
                () = drain.begun() => return forget(self.file()).await,
                () = sources.changed() => tokio::time::sleep(GAP).await,
                () = clock::step(self.wait()) => {}
            }
        }
    }

    /// Beside the socket, which no other agent has; without one in the state directory.
    fn file(&self) -> PathBuf {
        let none = || self.state.path().join("agent.sock");
        config::beside(&self.socket.borrow().clone().unwrap_or_else(none))
    }

    fn wait(&self) -> Duration {
        let log = self.logging.watch().borrow().until;
        let pause = self.pauses.now().and_then(|pause| pause.until);
        if log.or(pause).is_some() { NEAR } else { LOOK }
    }

    async fn end_what_is_over(self: &Arc<Self>) {
        let now = self.clock.now();
        self.logging.look(now);
        if self.pauses.now().is_some_and(|pause| pause.is_over(now)) {
            let this = Arc::clone(self);
            match tasks::blocking(move || this.end_pause_over(now)).await {
                Ok(true) => tracing::warn!("the pause is over"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the pause is over, and could not be ended"),
            }
        }
    }

    /// How the agent stands now.
    pub(super) async fn look(&self) -> Status {
        let (now, view) = (self.clock.now(), self.view.borrow().clone());
        let told = Status {
            updated_at: now,
            started_at: self.started_at,
            session: session(view.as_ref(), &self.contact.borrow()),
            locks: Locks {
                path: self.locks_file.display().to_string(),
                error: self.locks.error().unwrap_or_default(),
            },
            pause: self.pauses.now(),
            log: self.logging.watch().borrow().clone(),
            settings: self.settings(),
            ..nothing(now)
        };
        let Some(view) = view else { return told.judged() };
        let commands = self.read.commands(&view).await;
        let told = Status {
            node: Some(view.node(self.read.memo(&view, &self.state).await)),
            items: view.items(),
            outbox_depth: commands.iter().map(|command| command.unacknowledged).sum(),
            commands,
            conditions: view.conditions(),
            ..told
        };
        told.judged()
    }
}

/// An agent of which nothing is known but that it runs.
pub(super) fn nothing(now: UnixMillis) -> Status {
    Status {
        schema_version: SCHEMA_VERSION,
        updated_at: now,
        health: Health::NotInAFleet,
        problems: Vec::new(),
        agent_version: build_info::version().to_owned(),
        pid: std::process::id(),
        started_at: now,
        node: None,
        session: session(None, &state_dir::Status::default()),
        items: Vec::new(),
        commands: Vec::new(),
        outbox_depth: 0,
        locks: Locks { path: String::new(), error: String::new() },
        pause: None,
        log: Log { level: String::new(), until: None, overridden: false },
        conditions: Vec::new(),
        settings: Vec::new(),
    }
}

/// The session of now, with what was told of the last contact.
fn session(view: Option<&View>, contact: &state_dir::Status) -> Session {
    let none = Session {
        state: SessionState::None,
        since: UnixMillis(contact.since),
        id: String::new(),
        error: contact.error.clone(),
        next_try: None,
        last_contact: contact.last_contact,
        cut_off_since: contact.cut_off_since,
    };
    let Some(view) = view else { return none };
    match view.session.borrow().clone() {
        SessionStatus::Connecting => Session { state: SessionState::Connecting, ..none },
        SessionStatus::Connected { session, since } => Session {
            state: SessionState::Connected,
            since,
            id: session.to_string(),
            error: String::new(),
            cut_off_since: None,
            ..none
        },
        SessionStatus::Waiting { since, until, error } => {
            Session { state: SessionState::Waiting, since, error, next_try: Some(until), ..none }
        }
    }
}

/// All that wakes the observer.
struct Sources {
    view: watch::Receiver<Option<View>>,
    /// The same, as it was seen last.
    seen: Option<View>,
    contact: watch::Receiver<state_dir::Status>,
    pause: watch::Receiver<Option<Pause>>,
    log: watch::Receiver<Log>,
    socket: watch::Receiver<Option<PathBuf>>,
}

impl Sources {
    fn of(local: &Local) -> Self {
        Self {
            view: local.view.subscribe(),
            seen: None,
            contact: local.contact.subscribe(),
            pause: local.pauses.watch(),
            log: local.logging.watch(),
            socket: local.socket.subscribe(),
        }
    }

    /// What there is now is no news any more.
    fn see(&mut self) {
        if self.view.has_changed().unwrap_or(false) || self.seen.is_none() {
            self.seen = self.view.borrow_and_update().clone();
        }
        self.contact.mark_unchanged();
        self.pause.mark_unchanged();
        self.log.mark_unchanged();
        self.socket.mark_unchanged();
        if let Some(view) = &mut self.seen {
            view.see();
        }
    }

    async fn changed(&mut self) {
        let of_node = async {
            match &mut self.seen {
                Some(view) => view.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = self.view.changed() => self.view.mark_changed(),
            Ok(()) = self.contact.changed() => {}
            Ok(()) = self.pause.changed() => {}
            Ok(()) = self.log.changed() => {}
            Ok(()) = self.socket.changed() => {}
            () = of_node => {}
        }
    }
}

async fn write(file: PathBuf, status: Status) {
    let written = tasks::blocking(move || {
        let json = serde_json::to_vec_pretty(&status)?;
        files::write_passing(&file, &json, 0o644)
    });
    if let Err(error) = written.await {
        tracing::warn!(%error, "the status file could not be written");
    }
}

/// No file says of an agent that it lives there when it does not.
async fn forget(file: PathBuf) {
    // Whoever reads it sees soon that it is old, too.
    tasks::blocking(move || drop(std::fs::remove_file(file))).await;
}
