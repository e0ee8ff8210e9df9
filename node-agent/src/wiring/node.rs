//! A running agent of an enrolled host.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    drain::Drain,
    ids::{InstanceId, NodeId},
    tasks::{Kind, Tasks},
};
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Error, House,
    blobs::Blobs,
    contact::tell_status,
    errands::Errand,
    extensions,
    host::NodeHost,
    items::{Items, Merge},
    local::View,
    proxies, release,
    settings::{InForce, follow},
};
use crate::{
    applier::{self, Applier},
    blobs::Downloads,
    commands,
    dial::{self, Dialer},
    identity::{Identity, Keeper, Wanted},
    ledger::{self, Ledger},
    liveness::FactsReader,
    platform::{files, host},
    session::{self, Status, Stop, Why, Worker, frames::Goodbye, transport::Grpc},
    state::{Condition, Line, Measured, ServerTime},
    workload::Remote,
};

/// For the last words of all tasks.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The process is to stop.
    Stopped,
    /// The process is to start anew.
    Restart,
    /// The control plane removed this node.
    Removed(String),
    /// The host disconnected itself.
    Forgotten,
}

/// Runs until something ends it.
pub(super) async fn run<S>(house: &House, identity: Identity, stop: &mut Pin<&mut S>) -> Result<End, Error>
where
    S: Future<Output = ()>,
{
    let node = identity.node;
    tracing::info!(%node, "this host is node {node}");
    let (drain, tasks) = (Drain::default(), Tasks::default());
    let restart = CancellationToken::new();
    let (stop_session, stopped) = watch::channel(Stop::No);
    let line = Line::default();
    let instance = InstanceId::generate();
    house.opens();
    let parts = Parts::open(house, identity.clone(), instance, &restart, &line).await?;
    let (settings, in_force) = (parts.given.clone(), Arc::clone(&parts.in_force));
    let rebooting = Arc::clone(&parts.rebooting);
    let (clock, reconnect) = (house.clock.clone(), in_force.reconnect.subscribe());
    let options = session::Options { instance, clock, reconnect, stop: stopped, line: line.clone() };
    let dialer = Dialer::new(in_force.proxies.subscribe());
    let transport = Grpc::new(parts.identity.subscribe()).by(dialer.clone());
    let blobs = Arc::new(Blobs(Downloads::new(parts.identity.subscribe(), dialer.clone())));
    let ways = proxies::Ways::new(in_force.proxies.subscribe(), parts.identity.subscribe());
    let workloads = Remote::new(parts.identity.subscribe(), instance, dialer);
    let drift_interval = in_force.drift_interval.subscribe();
    let view = parts.view(house, node);
    let (host, started) = parts.start(house, instance, transport.server());
    let (worker, status) = Worker::new(host, transport, options);
    house.local.show(Some(view(status.clone())));
    let worker = worker.beating(house.pulse.clone());
    let commands = started.commands.beating(house.pulse.clone());
    tasks.spawn("commands", Kind::Fatal, commands.run(drain.clone()));
    let applier = started.applier.sweeping(drift_interval).fetching(blobs).beating(house.pulse.clone());
    house.pulse.done(super::OPENING); // all three beat by now
    tasks.spawn("applier", Kind::Fatal, applier.run(drain.clone()));
    tasks.spawn("extensions", Kind::Fatal, started.extensions.run(drain.clone()));
    tasks.spawn("release", Kind::Fatal, started.release.run(drain.clone()));
    tasks.spawn("items", Kind::Fatal, started.merge.run(drain.clone()));
    tasks.spawn("facts", Kind::Fatal, started.facts.run(drain.clone()));
    let workloads = house.workloads.clone().keep(workloads, drain.clone());
    tasks.spawn("workloads", Kind::BestEffort, workloads);
    tasks.spawn("renewal", Kind::BestEffort, started.keeper.run(drain.clone()));
    let (done, mut worker_end) = oneshot::channel();
    tasks.spawn("session", Kind::Fatal, async move {
        let _ = done.send(worker.run().await);
    });
    // With what is still to be said, unless the session itself has ended.
    let (end, goodbye) = tokio::select! {
        biased;
        () = stop => (End::Stopped, Some(last_word(&rebooting))),
        () = restart.cancelled() => (End::Restart, Some(Goodbye::Restart)),
        end = session_end(&mut worker_end, &tasks) => (end?, None),
        () = house.identity_gone(&identity) => (End::Forgotten, Some(Goodbye::Disconnect)),
        fatal = tasks.failed() => return Err(fatal.into()),
        () = tell_status(house, node, status, ways.clone()) => (End::Stopped, Some(Goodbye::Shutdown)),
        () = follow(&house.settings, settings, &in_force) => (End::Stopped, Some(Goodbye::Shutdown)),
        () = ways.follow(&line) => (End::Stopped, Some(Goodbye::Shutdown)),
        () = log_as_told(house, in_force.log_level.subscribe()) => (End::Stopped, Some(Goodbye::Shutdown)),
    };
    if let Some(goodbye) = goodbye {
        stop_session.send_replace(Stop::Say(goodbye));
        let _ = tokio::time::timeout(LAST_WORDS, worker_end).await;
    }
    drain.begin();
    tasks.close();
    if tokio::time::timeout(LAST_WORDS, tasks.ended()).await.is_err() {
        tasks.abort_all();
        tasks.ended().await;
    }
    house.local.show(None);
    house.tell("not connected", if end == End::Stopped { "the agent was stopped" } else { "" }).await;
    Ok(end)
}

/// Of a process that is asked to stop.
fn last_word(rebooting: &AtomicBool) -> Goodbye {
    if rebooting.load(Ordering::Relaxed) { Goodbye::Reboot } else { Goodbye::Shutdown }
}

/// How the session ended. A session that tells nothing has panicked: that is no
/// way to end well.
async fn session_end(worker: &mut oneshot::Receiver<Why>, tasks: &Tasks) -> Result<End, Error> {
    match worker.await {
        Ok(Why::Removed(reason)) => Ok(End::Removed(reason)),
        Ok(Why::Stopped) => Ok(End::Stopped),
        Err(_) => Err(tasks.failed().await.into()),
    }
}

/// The rooms, opened.
struct Parts {
    identity: Arc<watch::Sender<Identity>>,
    ledger: ledger::Shared,
    commands: (commands::Handle, commands::Task),
    /// What the host keeps, and the options among it that the control plane gave.
    items: Items,
    given: watch::Receiver<BTreeMap<String, String>>,
    merge: Merge,
    /// What the host may ask of its extensions, and their task.
    extensions: (crate::extensions::Handle, crate::extensions::Task),
    release: crate::release::Task,
    applier_task: applier::Task,
    in_force: Arc<InForce>,
    facts: watch::Sender<Arc<crate::state::Facts>>,
    refresh_facts: Arc<Notify>,
    server_time: ServerTime,
    renew: Wanted,
    conditions: watch::Sender<Vec<Condition>>,
    in_use: watch::Sender<u64>,
    rebooting: Arc<AtomicBool>,
}

/// The tasks of the rooms.
struct Started {
    commands: commands::Task,
    applier: applier::Task,
    merge: Merge,
    extensions: crate::extensions::Task,
    release: crate::release::Task,
    facts: FactsReader,
    keeper: Keeper,
}

impl Parts {
    async fn open(
        house: &House,
        identity: Identity,
        instance: InstanceId,
        restart: &CancellationToken,
        line: &Line,
    ) -> Result<Self, Error> {
        let folder = house.state.node(identity.node);
        files::private_folder(&folder).map_err(|source| Error::Folder { folder: folder.clone(), source })?;
        let ledger = ledger::Shared::new(Ledger::open(&folder.join("ledger"), house.clock.clone())?);
        let items = super::items(
            (&house.config, &house.state),
            identity.node,
            house.locks.clone(),
            (line.clone(), house.local.pauses()),
            house.hands.clone(),
        );
        let applier = Applier::open(items).await?;
        let (applier, applier_task) = applier::Task::new(applier);
        let given = applier.settings();
        let refresh_facts = Arc::<Notify>::default();
        let server_time = ServerTime::default();
        if let Some(ahead_ms) = house.state.memo(identity.node).clock_ahead_ms {
            let theirs = UnixMillis(house.clock.now().0.saturating_add(ahead_ms));
            server_time.guess(theirs, house.clock.monotonic());
        }
        let decided = house.settings.over(&given.borrow());
        let facts = crate::state::Facts { settings: decided.settings.clone(), ..host::facts() };
        let in_force = Arc::new(InForce::new(decided));
        let facts = watch::Sender::new(Arc::new(facts));
        let identity = Arc::new(watch::Sender::new(identity));
        let dialer = Dialer::new(in_force.proxies.subscribe());
        let mirror = in_force.mirror.subscribe();
        let artifacts =
            super::artifacts::open(&house.config, &house.hands, identity.subscribe(), dialer, mirror)
                .map_err(|source| Error::Folder {
                    folder: house.config.state_dir.join("artifacts"),
                    source,
                })?;
        let (versions, release) = release::open(house, &folder, artifacts.clone()).await?;
        let proxies = in_force.proxies.subscribe();
        let (keeper, handle, extensions) =
            extensions::open(house, &folder, artifacts, applier.clone(), proxies).await?;
        let (items, merge) =
            Items::new(applier, vec![(crate::extensions::PREFIX, keeper), (crate::release::ITEM, versions)]);
        let (renew, rebooting) = (Wanted::default(), Arc::<AtomicBool>::default());
        let (conditions, in_use) = (watch::Sender::default(), watch::Sender::default());
        let errands = Errand {
            identity: Arc::clone(&identity),
            store: house.identity.clone(),
            renew: renew.clone(),
            in_use: in_use.subscribe(),
            facts: facts.subscribe(),
            items: items.states(),
            conditions: conditions.subscribe(),
            locks_file: house.config.locks_file.clone(),
            clock: house.clock.clone(),
            dialer: Dialer::new(in_force.proxies.subscribe()),
        };
        let options = commands::Options {
            instance,
            runs: super::hands::runs(&house.hands, house.program.as_deref(), &folder.join("scripts")),
            scripts: folder.join("scripts"),
            hands: house.hands.clone(),
            locks: house.locks.clone(),
            clock: house.clock.clone(),
            server_time: server_time.clone(),
            refresh_facts: Arc::clone(&refresh_facts),
            restart: restart.clone(),
            rebooting: Arc::clone(&rebooting),
            errands: Arc::new(errands),
            pauses: house.local.pauses(),
            deeds: None,
        };
        let commands = commands::open(options, ledger.clone()).await?;
        Ok(Self {
            identity,
            ledger,
            commands,
            items,
            given,
            merge,
            extensions: (handle, extensions),
            release,
            applier_task,
            in_force,
            facts,
            refresh_facts,
            server_time,
            renew,
            conditions,
            in_use,
            rebooting,
        })
    }

    /// What the host may see of it, once it is known where its session tells how it stands.
    fn view(&self, house: &House, node: NodeId) -> impl FnOnce(watch::Receiver<Status>) -> View + use<> {
        let (identity, ledger) = (self.identity.subscribe(), self.ledger.clone());
        let (items, given) = (self.items.states(), self.given.clone());
        let (facts, conditions) = (self.facts.subscribe(), self.conditions.subscribe());
        let (commands, settings) = (self.commands.0.changed(), self.in_force.all.subscribe());
        let (folder, extensions) = (house.state.node(node).join("items"), self.extensions.0.clone());
        move |session| View {
            extensions,
            identity,
            session,
            items,
            commands,
            ledger,
            facts,
            conditions,
            settings,
            given,
            folder,
        }
    }

    fn start(
        self,
        house: &House,
        instance: InstanceId,
        server: watch::Receiver<dial::Chain>,
    ) -> (NodeHost, Started) {
        let (renew, beat) = (self.renew, Arc::<Notify>::default());
        let (load, load_told) = watch::channel(Measured::default());
        let (commands, commands_task) = self.commands;
        let host = NodeHost::new(super::host::Parts {
            state: house.state.clone(),
            store: house.identity.clone(),
            identity: Arc::clone(&self.identity),
            ledger: self.ledger,
            commands,
            items: self.items,
            facts: self.facts.subscribe(),
            locks: house.locks.clone(),
            pauses: house.local.pauses(),
            server_time: self.server_time,
            clock: house.clock.clone(),
            renew: renew.clone(),
            load: load_told,
            disk_full: self.in_force.disk_full.subscribe(),
            beat: Arc::clone(&beat),
            server,
            conditions: self.conditions,
            in_use: self.in_use,
        });
        let facts = FactsReader {
            facts: self.facts,
            wanted: self.refresh_facts,
            interval: self.in_force.facts_interval.subscribe(),
            settings: self.in_force.all.subscribe(),
            load,
            beat,
        };
        let keeper = Keeper {
            instance,
            store: house.identity.clone(),
            current: self.identity,
            wanted: renew,
            clock: house.clock.clone(),
            dialer: Dialer::new(self.in_force.proxies.subscribe()),
        };
        (
            host,
            Started {
                commands: commands_task,
                applier: self.applier_task,
                merge: self.merge,
                extensions: self.extensions.1,
                release: self.release,
                facts,
                keeper,
            },
        )
    }
}

/// Logs as much as the options say.
async fn log_as_told(house: &House, mut level: watch::Receiver<String>) {
    loop {
        house.log_at(&level.borrow_and_update());
        if level.changed().await.is_err() {
            return std::future::pending().await; // nobody puts options into force any more
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_that_panics_ends_the_agent_with_an_error() {
        let tasks = Tasks::default();
        let (done, mut worker_end) = oneshot::channel::<Why>();
        tasks.spawn("session", Kind::Fatal, async move {
            let _never = done;
            panic!("on purpose");
        });
        let told = session_end(&mut worker_end, &tasks).await.unwrap_err();
        assert_eq!(
            muster_common::error_chain::Chain(&told).to_string(),
            "the agent cannot go on: task session panicked"
        );
    }
}
