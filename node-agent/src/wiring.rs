//! Joins the rooms of a running agent. One line for each; no decisions.

pub mod artifacts;
mod blobs;
mod contact;
mod errands;
mod extensions;
mod hands;
mod host;
mod items;
mod local;
mod node;
mod proxies;
pub(crate) mod release;
mod settings;
mod watchdog;

use local::Local;
pub use proxies::told as told_ways;
pub use settings::Layers;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use muster_common::{
    clock::{self, Clock},
    drain::Drain,
    error_chain::Chain,
    ids::NodeId,
    tasks::{self, Fatal, Kind, Tasks},
    telemetry::Level,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    applier,
    config::{self, Config},
    identity::{self, Identity},
    ledger, locks,
    platform::notify,
    proxy::Environment,
    state::{Line, Pauses, Pulse},
    state_dir::{StateDir, Status},
    verbs::Hands,
    workload::Workloads,
};

/// Between looks for an identity that `connect` brings; somebody waits for it.
const COMES: Duration = Duration::from_millis(500);

/// Between looks whether `disconnect` took the identity away.
const GOES: Duration = clock::STRIDE;

/// What beats until the tasks of a node do.
const OPENING: &str = "opening";
/// What an earlier process left is cleared away, and a node opened, within this. Hooks of
/// bundles may have to run for it.
const OPENS: Duration = Duration::from_secs(2 * 3600);

/// For answers to programs of the host, when the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Why `run` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to.
    Stopped,
    /// It is to be started anew.
    Restart,
}

/// The agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing would tell it to stop.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The folder of its node cannot be used.
    #[error("cannot use {}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its identity cannot be read or changed.
    #[error("cannot use the identity of this host")]
    Identity(#[from] identity::Error),
    /// What it knows of its orders cannot be read or changed.
    #[error("cannot use the ledger of this host")]
    Ledger(#[from] ledger::Error),
    /// What it knows of its items cannot be read or changed.
    #[error("cannot use the items of this host")]
    Items(#[from] applier::Error),
    /// What it knows of its extensions cannot be read or changed.
    #[error("cannot use the extensions of this host")]
    Extensions(#[from] crate::extensions::Error),
    /// What it knows of the version it is to run cannot be read or changed.
    #[error("cannot use the record of the agent's own version")]
    Release(#[from] crate::release::Error),
    /// A part of it has ended.
    #[error("the agent cannot go on")]
    Task(#[from] Fatal),
}

/// What this process is.
pub struct Process {
    /// How much it logs.
    pub level: Level,
    /// Its program's file. `None`: the system does not say.
    pub program: Option<PathBuf>,
    /// Who does what needs the rights of the host's administrator.
    pub hands: Hands,
}

/// What all rooms share.
struct House {
    config: Config,
    state: StateDir,
    identity: identity::Store,
    locks: locks::Reader,
    settings: settings::HostLayers,
    clock: Clock,
    workloads: Workloads,
    local: Arc<Local>,
    /// This program's file. `None`: the system does not say.
    program: Option<PathBuf>,
    hands: Hands,
    pulse: Pulse,
}

/// Runs the agent: in the fleet whenever this host has an identity, waiting for
/// one otherwise. Programs of the host are served all the time.
///
/// # Errors
/// If the host's state cannot be used.
pub async fn run(config: Config, state: StateDir, process: Process) -> Result<Exit, Error> {
    let Process { level, program, hands } = process;
    let locks = locks::Reader::new(config.locks_file.clone());
    let settings = settings::HostLayers {
        configuration: config::Reader::new(config.clone()),
        locks: locks.clone(),
        environment: Environment::of_process(),
    };
    let local = Local::new(&config, &state, &locks, &settings, level).await;
    let house = House {
        identity: identity::Store::new(state.path()),
        workloads: Workloads::new(locks.clone(), Clock::System),
        locks,
        settings,
        config,
        state,
        clock: Clock::System,
        local,
        program,
        hands,
        pulse: Pulse::default(),
    };
    // As the host alone says, until the control plane has a word in it.
    house.log_at(&settings::InForce::new(house.settings.over(&BTreeMap::new())).log_level.borrow());
    let (tasks, drain) = (Tasks::default(), Drain::default());
    house.local.start(&house.config, &house.workloads, &tasks, &drain);
    let ended = in_or_out(&house).await;
    drain.begin();
    tasks.close();
    if tokio::time::timeout(LAST_ANSWERS, tasks.ended()).await.is_err() {
        tasks.abort_all();
        tasks.ended().await;
    }
    ended
}

/// In the fleet, or waiting for one.
async fn in_or_out(house: &House) -> Result<Exit, Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    // Who sends it wants the files read again: that is done by itself, and ends no agent.
    let _hangup = signal(SignalKind::hangup()).map_err(Error::Signals)?;
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to stop");
    };
    tokio::pin!(stop);
    let tasks = Tasks::default();
    let watch = watchdog::watch(house.pulse.clone(), house.clock.clone());
    let watching = tasks.spawn("watchdog", Kind::BestEffort, watch);
    notify::ready();
    let ended = house.run(stop).await;
    watching.abort();
    // A process that starts itself anew stays: systemd would kill what it has become.
    if !matches!(ended, Ok(Exit::Restart)) {
        notify::stopping();
    }
    ended
}

impl House {
    /// In the fleet whenever there is an identity, until it is to stop.
    async fn run<S: Future<Output = ()>>(&self, mut stop: std::pin::Pin<&mut S>) -> Result<Exit, Error> {
        loop {
            self.opens();
            tokio::select! {
                biased;
                () = &mut stop => return Ok(Exit::Stopped),
                () = self.clear_up() => {}
            }
            self.pulse.rest();
            let identity = tokio::select! {
                biased;
                () = &mut stop => return Ok(Exit::Stopped),
                identity = self.wait_for_identity() => identity?,
            };
            let end = node::run(self, identity.clone(), &mut stop).await?;
            self.pulse.rest();
            match end {
                node::End::Stopped => return Ok(Exit::Stopped),
                node::End::Restart => return Ok(Exit::Restart),
                node::End::Removed(reason) => {
                    tracing::warn!("this node was removed from its fleet: {reason}");
                    let (store, node) = (self.identity.clone(), identity.node);
                    tasks::blocking(move || store.forget(node)).await?;
                }
                node::End::Forgotten => {}
            }
        }
    }
}

/// Forgets an enrollment. A change that was cut off is undone before its journal goes.
///
/// # Errors
/// If it cannot be undone now, or from the file system.
pub async fn forget(config: &Config, state: &StateDir, node: NodeId, hands: &Hands) -> Result<(), Error> {
    let locks = locks::Reader::new(config.locks_file.clone());
    let rest = (Line::default(), Pauses::default());
    applier::settle(items((config, state), node, locks, rest, hands.clone())).await?;
    let program = std::env::current_exe().ok();
    let of_others = matches!(hands, Hands::Executor(_)) && has_other(state, node).await?;
    if let Some(runs) = hands::runs(hands, program.as_deref(), &state.node(node).join("scripts"))
        && !of_others
    {
        crate::commands::end_scripts(&runs).await;
    }
    extensions::leave(state, node, hands).await?;
    let state = state.clone();
    tasks::blocking(move || {
        state.forget_node(node).map_err(|source| Error::Folder { folder: state.node(node), source })
    })
    .await
}

/// Whether this host is another node by now, whose runs the executor keeps beside those of
/// this one: it ends what it does not know when it begins.
async fn has_other(state: &StateDir, node: NodeId) -> Result<bool, identity::Error> {
    let store = identity::Store::new(state.path());
    let now = tasks::blocking(move || store.load()).await?;
    Ok(now.is_some_and(|now| now.node != node))
}

/// What the applier of a node needs.
fn items(
    (config, state): (&Config, &StateDir),
    node: NodeId,
    locks: locks::Reader,
    (line, pauses): (Line, Pauses),
    hands: Hands,
) -> applier::Options {
    applier::Options {
        line,
        pauses,
        hands,
        folder: state.node(node).join("items"),
        node,
        locks,
        clock: Clock::System,
        protected: vec![
            config.path.clone(),
            config.locks_file.clone(),
            config.artifacts_root.clone(),
            state.path().to_owned(),
        ],
    }
}

impl House {
    /// It is opening something, which must come to an end.
    fn opens(&self) {
        self.pulse.beat(OPENING, self.clock.monotonic(), OPENS);
    }

    /// Forgets all enrollments but the one of now; a crash may have left one behind.
    async fn clear_up(&self) {
        let nodes = self.state.nodes();
        let (Ok(nodes), Ok(now)) = (nodes, self.identity.load()) else { return };
        for node in nodes.into_iter().filter(|node| now.as_ref().is_none_or(|now| now.node != *node)) {
            if let Err(error) = forget(&self.config, &self.state, node, &self.hands).await {
                let error = Chain(&error);
                tracing::warn!(%node, "what is left of node {node} could not be cleared away: {error}");
            }
        }
    }

    async fn wait_for_identity(&self) -> Result<Identity, identity::Error> {
        let mut told = false;
        loop {
            if let Some(identity) = self.load().await? {
                return Ok(identity);
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("this host is in no fleet; `muster-node-agent connect` brings it into one");
                self.tell("not connected", "").await;
            }
            tokio::time::sleep(COMES).await;
        }
    }

    /// Waits until the identity is no longer the file's: someone disconnected this host.
    async fn identity_gone(&self, identity: &Identity) {
        let mut file = self.identity.watched();
        loop {
            clock::step(GOES).await;
            if !file.is_news() {
                continue;
            }
            match self.load().await {
                Ok(Some(now)) if now.node == identity.node => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "the identity cannot be read");
                    file.again();
                }
            }
        }
    }

    /// Logs as much as this from now on.
    fn log_at(&self, level: &str) {
        self.local.logging.options_say(level);
    }

    async fn load(&self) -> Result<Option<Identity>, identity::Error> {
        let store = self.identity.clone();
        tasks::blocking(move || store.load()).await
    }

    async fn tell(&self, session: &str, error: &str) {
        let since = self.clock.now().0;
        let (session, error) = (session.to_owned(), error.to_owned());
        self.tell_whole(Status { session, since, error, ..Status::default() }).await;
    }

    /// Whether it is written down.
    async fn tell_whole(&self, status: Status) -> bool {
        let status = Status { pid: std::process::id(), ..status };
        let (state, now) = (self.state.clone(), self.clock.now());
        let (told, is_written) = tasks::blocking(move || state.set_status(status, now)).await;
        self.local.contact(told);
        is_written
    }
}
