//! A host: its agent's real ledger, commands and session over a folder in memory, its
//! clock, and what can happen to it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use muster_common::{
    clock::{Clock, Instant, UnixMillis},
    digest::Sha256,
    drain::Drain,
    ids::{CommandId, InstanceId},
};
use muster_node_agent::{
    commands,
    ledger::{Ledger, Shared},
    locks,
    session::{
        Changes, Host as Port, Options, Order, Stop, Worker,
        frames::{FactsReport, Introduction, OpenCommand},
    },
    state::{Condition, Facts, ItemState, Line, Load, Report, ServerTime},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{deeds::Counted, way::Network};

/// Between two tries to open a stream: whether one opens is the story's to say.
const AT_ONCE: Duration = Duration::from_millis(1);

/// One host.
pub(crate) struct Host {
    folder: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) network: Network,
    process: Option<Process>,
    disk_full: bool,
    snapshots: usize,
    /// How far the control plane's clock was ahead when it was last heard.
    ahead: Arc<Mutex<Option<i64>>>,
}

/// Its agent, as long as it lives.
struct Process {
    tasks: Vec<JoinHandle<()>>,
    ledger: Shared,
    line: Line,
    _stop: watch::Sender<Stop>,
}

/// A snapshot of the host's state directory.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot(PathBuf);

impl Host {
    pub(crate) fn new(folder: PathBuf, now: UnixMillis) -> Self {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("locks.toml"), "[commands]\nrun-script = true\n").unwrap();
        Self {
            folder,
            clock: Clock::test(now),
            network: Network::new(),
            process: None,
            disk_full: false,
            snapshots: 0,
            ahead: Arc::default(),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Starts the agent.
    #[allow(clippy::disallowed_methods)] // a test's own tasks, ended in `die`
    pub(crate) async fn start(&mut self, deeds: Arc<Counted>) {
        let mut ledger = Ledger::open(&self.ledger_folder(), self.clock.clone()).expect("a ledger");
        ledger.fill_disk(self.disk_full);
        let (ledger, server_time) = (Shared::new(ledger), ServerTime::default());
        if let Some(ahead) = *self.ahead.lock().unwrap() {
            server_time.guess(UnixMillis(self.clock.now().0 + ahead), self.clock.monotonic());
        }
        let options = commands::Options {
            scripts: self.folder.join("scripts"),
            locks: locks::Reader::new(self.folder.join("locks.toml")),
            clock: self.clock.clone(),
            server_time: server_time.clone(),
            refresh_facts: Arc::default(),
            restart: tokio_util::sync::CancellationToken::new(),
            instance: InstanceId::generate(),
            runs: None,
            hands: muster_node_agent::verbs::Hands::Here,
            rebooting: Arc::default(),
            errands: Arc::new(Alone),
            pauses: muster_node_agent::state::Pauses::default(),
            deeds: Some(deeds),
        };
        // What was left cannot be settled on a full disk: the agent does not come up then.
        let Ok((handle, task)) = commands::open(options, ledger.clone()).await else { return };
        let (line, (stop, stopped)) = (Line::default(), watch::channel(Stop::No));
        let (_, reconnect) = watch::channel((AT_ONCE, AT_ONCE));
        let options = Options {
            instance: InstanceId::generate(),
            clock: self.clock.clone(),
            reconnect,
            stop: stopped,
            line: line.clone(),
        };
        let port = Room {
            news: handle.changed(),
            commands: handle,
            ledger: ledger.clone(),
            server_time,
            clock: self.clock.clone(),
            asked: self.clock.monotonic(),
            ahead: Arc::clone(&self.ahead),
        };
        let (worker, _) = Worker::new(port, self.network.clone(), options);
        let tasks = vec![
            tokio::spawn(task.run(Drain::default())),
            tokio::spawn(async move {
                let _ = worker.run().await;
            }),
        ];
        self.process = Some(Process { tasks, ledger, line, _stop: stop });
    }

    /// The agent dies where it is.
    pub(crate) async fn die(&mut self) {
        let Some(process) = self.process.take() else { return };
        for task in process.tasks {
            task.abort();
            let _ = task.await;
        }
    }

    /// Its agent wants a session, without any more patience.
    pub(crate) fn wants_session(&self) {
        if let Some(process) = &self.process {
            process.line.ask(AT_ONCE);
        }
    }

    /// Fills its disk, or frees it.
    pub(crate) async fn fill_disk(&mut self, full: bool) {
        self.disk_full = full;
        if let Some(process) = &self.process {
            process.ledger.with(move |ledger| ledger.fill_disk(full)).await;
        }
    }

    /// Its wall clock jumps; the control plane's time, as it knows it, does not.
    pub(crate) fn jump(&self, millis: i64) {
        if let Clock::Test(at) = &self.clock {
            at.fetch_add(millis, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Keeps what is on its disk now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.snapshots += 1;
        let kept = self.folder.join(format!("snapshot-{}", self.snapshots));
        copy(&self.ledger_folder(), &kept);
        Snapshot(kept)
    }

    /// Its disk is as it was then. The agent must not run.
    pub(crate) fn revert(&self, to: &Snapshot) {
        self.lose_state();
        copy(&to.0, &self.ledger_folder());
    }

    /// Its state directory is gone. The agent must not run.
    pub(crate) fn lose_state(&self) {
        assert!(self.process.is_none(), "the agent runs");
        let _ = fs::remove_dir_all(self.ledger_folder());
    }

    /// What the ledger holds open: the reports of each command, which must have no gaps.
    pub(crate) async fn told(&self) -> Vec<(CommandId, Vec<Report>)> {
        let Some(process) = &self.process else { return Vec::new() };
        let told = |ledger: &mut Ledger| {
            let ids: Vec<CommandId> = ledger.entries().map(|entry| entry.ticket.id).collect();
            ids.into_iter().map(|id| (id, ledger.reports(id, 0, usize::MAX).expect("reports"))).collect()
        };
        process.ledger.with(told).await
    }

    fn ledger_folder(&self) -> PathBuf {
        self.folder.join("ledger")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let Ok(files) = fs::read_dir(from) else { return };
    for file in files.map(Result::unwrap) {
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

/// The host behind the session, as the agent's wiring makes it: of commands all, of the rest nothing.
struct Room {
    commands: commands::Handle,
    news: watch::Receiver<u64>,
    ledger: Shared,
    server_time: ServerTime,
    clock: Clock,
    asked: Instant,
    ahead: Arc<Mutex<Option<i64>>>,
}

impl Port for Room {
    async fn introduce(&mut self) -> Introduction {
        self.asked = self.clock.monotonic();
        self.news.mark_unchanged();
        let ledger = self.ledger.with(|ledger| ledger.mark()).await;
        Introduction {
            newest: muster_common::generation::Generation::default(),
            ledger,
            boot_id: "model".to_owned(),
            machine_fingerprint: Sha256::ZERO,
            capabilities: commands::KINDS.iter().map(|kind| (*kind).to_owned()).collect(),
            epoch: 0,
            certificate_generation: 1,
            trust_bundle_version: u64::MAX,
            sealing_public_key: Vec::new(),
            facts_sha256: Sha256::ZERO,
            items: Vec::new(),
            commands: self.commands().await,
        }
    }

    fn addresses(&self) -> Vec<String> {
        vec!["model".to_owned()]
    }

    fn beat(&mut self) -> (Load, Vec<Condition>) {
        (Load::default(), Vec::new())
    }

    fn facts(&mut self) -> FactsReport {
        FactsReport { facts: Facts::default(), sha256: Sha256::ZERO }
    }

    fn items(&mut self) -> Vec<ItemState> {
        Vec::new()
    }

    async fn commands(&mut self) -> Vec<OpenCommand> {
        self.news.mark_unchanged();
        let open = |open: commands::Open| OpenCommand {
            id: open.id,
            state: open.state,
            acked: open.acked,
            last: open.last,
        };
        self.commands.open().await.into_iter().map(open).collect()
    }

    async fn reports(&mut self, id: CommandId, after: u64, bytes: usize) -> Vec<Report> {
        self.commands.reports(id, after, bytes).await
    }

    async fn changed(&mut self) -> Changes {
        match self.news.changed().await {
            Ok(()) => Changes { commands: true, ..Changes::default() },
            Err(_) => std::future::pending().await,
        }
    }

    async fn take(&mut self, order: Order) {
        match order {
            Order::Welcome(welcome) => {
                self.commands.heard(welcome.withdrawn).await;
                let now = self.clock.monotonic();
                let theirs = self.server_time.learn(welcome.server_time, self.asked, now);
                *self.ahead.lock().unwrap() = Some(theirs.0 - self.clock.now().0);
                self.commands.limit_output(welcome.max_output_bytes);
            }
            Order::Command(ticket) => self.commands.deliver(*ticket).await,
            Order::Cancel(id, force) => self.commands.cancel(id, force).await,
            Order::Acked(id, seq) => self.commands.acked(id, seq).await,
            _ => {}
        }
    }
}

/// Nothing but scripts is ordered here, and those are counted.
#[derive(Debug)]
struct Alone;

impl commands::errands::Errands for Alone {
    fn describe(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn bring(&self, _: commands::errands::File) -> BoxFuture<'_, Result<(), commands::errands::NotBrought>> {
        std::future::pending().boxed()
    }

    fn rotate(&self) -> BoxFuture<'_, commands::errands::Rotated> {
        std::future::pending().boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), String>> {
        std::future::pending().boxed()
    }
}
