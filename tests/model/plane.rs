//! A control plane without its process: the real use-cases on a real store, and real
//! sessions. It dies, comes back, and is set back to a backup.

use std::{
    fs,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::Stream as _;
use muster_common::{
    clock::{Clock, UnixMillis},
    ids::{CommandId, NodeId, OperationId},
};
use muster_control_plane::{
    api,
    app::{Actor, App, operations::Wish},
    session::{
        frames::Caller,
        line::Line,
        reactor::{Ports, Reactor},
    },
};
use muster_domain::{
    access::{Permission, Scope},
    command::{Command, Output},
    node::LedgerMark,
    page::Page,
};
use muster_store::{ReadCommands as _, Store};
use tokio::runtime::Runtime;

use crate::{
    begin::{BEGINNING, app_on, options},
    way::{Arriving, Stretch},
};

/// When all stories begin.
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// Hosts of a story.
pub(crate) const HOSTS: usize = 3;

/// The control plane.
pub(crate) struct Plane {
    runtime: Runtime,
    folder: PathBuf,
    pub(crate) clock: Clock,
    /// How far it is from the right time, in milliseconds.
    wrong: i64,
    /// Rises with each restore, as a restore is to raise it.
    epoch: u64,
    app: Option<App>,
    sessions: Vec<Option<Session>>,
    backups: usize,
}

/// The control plane's end of a stream.
struct Session {
    stretch: Stretch,
    reactor: Reactor<Arriving>,
}

/// A copy of the store.
#[derive(Debug, Clone)]
pub(crate) struct Backup(PathBuf);

impl Plane {
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        fs::copy(BEGINNING.path().join("muster.db"), folder.join("muster.db")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sessions = (0..HOSTS).map(|_| None).collect();
        let mut plane = Self {
            runtime,
            folder,
            clock: Clock::test(NOW),
            wrong: 0,
            epoch: 1,
            app: None,
            sessions,
            backups: 0,
        };
        plane.start();
        plane
    }

    /// Starts it, as its process would.
    pub(crate) fn start(&mut self) {
        let store = Store::open(&options(&self.folder)).unwrap();
        let app = self.runtime.block_on(async {
            let app = app_on(store, &self.folder, self.clock.clone(), self.epoch).await;
            app.load().await.unwrap();
            app
        });
        self.app = Some(app);
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.app.is_some()
    }

    /// It dies where it is; so do all its streams.
    pub(crate) fn die(&mut self) {
        self.sessions.iter_mut().filter_map(Option::take).for_each(|session| session.stretch.cut(true));
        let Some(app) = self.app.take() else { return };
        self.runtime.block_on(app.store.clone().close()).unwrap();
    }

    /// Somebody sets its clock.
    pub(crate) fn set_wrong(&mut self, millis: i64) {
        if let Clock::Test(at) = &self.clock {
            at.fetch_add(millis - self.wrong, std::sync::atomic::Ordering::Relaxed);
        }
        self.wrong = millis;
    }

    /// Keeps what is stored now.
    pub(crate) fn backup(&mut self) -> Backup {
        self.backups += 1;
        let kept = self.folder.join(format!("backup-{}", self.backups));
        fs::create_dir_all(&kept).unwrap();
        for name in ["muster.db", "muster.db-wal"] {
            let _ = fs::copy(self.folder.join(name), kept.join(name));
        }
        Backup(kept)
    }

    /// Puts a backup in the place of the store, as another history.
    pub(crate) fn restore(&mut self, from: &Backup) {
        self.die();
        for name in ["muster.db", "muster.db-wal", "muster.db-shm"] {
            let _ = fs::remove_file(self.folder.join(name));
            let _ = fs::copy(from.0.join(name), self.folder.join(name));
        }
        self.epoch += 1;
        self.start();
    }

    /// Does something with the use-cases, if they are there.
    fn with<T>(&self, work: impl AsyncFnOnce(&App) -> T) -> Option<T> {
        let app = self.app.as_ref()?;
        Some(self.runtime.block_on(work(app)))
    }

    /// As an operator: starts an operation. Answers its id, unless it cannot be any more: a
    /// repeated wish may want what was to be in the past.
    pub(crate) fn order(&self, wish: Wish) -> Option<OperationId> {
        let started = self.with(async |app| following(app, app.start_operation(&actor(), wish)).await)?;
        started.ok().map(|(operation, _)| operation.id)
    }

    /// As an operator: cancels an operation, if it is there.
    pub(crate) fn cancel(&self, id: OperationId) {
        self.with(async |app| {
            let _ = following(app, app.cancel_operation(&actor(), id, String::new(), false)).await;
        });
    }

    /// One turn of one of its workers.
    pub(crate) fn work(&self, which: Work) {
        self.with(async |app| match which {
            Work::Follow => app.follow().await.unwrap(),
            Work::HandOut => app.hand_out().await.unwrap(),
            Work::Record => app.record().await.unwrap(),
            Work::Expire => drop(app.expire_commands().await.unwrap()),
            Work::GiveUp => drop(app.give_up_commands().await.unwrap()),
        });
    }

    /// A stream from a host; an older one of its is still there until it is told.
    pub(crate) fn accept(&mut self, host: usize, stretch: Stretch) {
        let Some(app) = &self.app else { return stretch.cut(true) };
        let _entered = self.runtime.enter();
        let caller = Caller {
            node: node_id(host),
            serial: "1".to_owned(),
            remote: ([127, 0, 0, 1], 1).into(),
            key_exchange: "X25519",
            line: Line::default(),
            is_unsure: false,
        };
        let ports = Ports { inbox: Arc::new(app.clone()), desk: Arc::new(app.clone()) };
        let reactor = Reactor::new(caller, Arriving(stretch.clone()), ports);
        self.sessions[host] = Some(Session { stretch, reactor });
    }

    /// Reads what has arrived from a host, and says what there is to say.
    pub(crate) fn read(&mut self, host: usize) {
        let _entered = self.runtime.enter();
        let Some(session) = &mut self.sessions[host] else { return };
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut session.reactor).poll_next(&mut context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let message = api::session_outbound(frame);
                    if !session.stretch.is_cut() {
                        session.stretch.under().down.push_back(message);
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => {
                    session.stretch.cut(true);
                    self.sessions[host] = None;
                    return;
                }
                // It reads so many messages in one go.
                Poll::Pending if session.stretch.is_read() => return,
                Poll::Pending => {}
            }
        }
    }

    /// All commands of these operations, as they are stored.
    pub(crate) fn commands(&self, operations: &[OperationId]) -> Option<Vec<Command>> {
        let operations = operations.to_vec();
        self.with(async |app| {
            let list = move |tx: &mut muster_store::ReadTx<'_>| {
                let page = Page { size: 1000, after: None };
                let rows = operations.iter().map(|id| Ok(tx.command_list(*id, &page)?.rows));
                let rows: Result<Vec<_>, muster_store::Error> = rows.collect();
                Ok::<_, muster_store::Error>(rows?.into_iter().flatten().collect())
            };
            app.store.read(list).await.unwrap()
        })
    }

    /// Output of a command, as it is stored.
    pub(crate) fn output(&self, id: CommandId) -> Vec<Output> {
        let read = self.with(async |app| {
            let list = move |tx: &mut muster_store::ReadTx<'_>| tx.output_list(id, 0, 10_000);
            app.store.read(list).await.unwrap()
        });
        read.unwrap_or_default()
    }

    /// How far the ledger of a host was when it was last heard of, as memory has it.
    pub(crate) fn mark(&self, host: usize) -> Option<LedgerMark> {
        self.app.as_ref()?.fleet.with(node_id(host), |entry| entry.node.ledger)?
    }
}

/// A worker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Follow,
    HandOut,
    Record,
    Expire,
    GiveUp,
}

/// Memory follows the store meanwhile: a write is answered only then.
async fn following<T>(app: &App, write: impl Future<Output = T>) -> T {
    let mut committed = app.store.committed();
    let follow = async {
        loop {
            app.follow().await.unwrap();
            committed.changed().await.unwrap();
        }
    };
    tokio::select! {
        biased;
        done = write => done,
        () = follow => unreachable!(),
    }
}

pub(crate) fn node_id(host: usize) -> NodeId {
    NodeId::from_u128(host as u128 + 1)
}

fn actor() -> Actor {
    Actor {
        principal: "operator/alice".to_owned(),
        scope: Scope::whole("operator/alice", Permission::Read),
        remote_address: String::new(),
        trace_id: String::new(),
        traced: None,
    }
}
