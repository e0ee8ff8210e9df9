//! The task of the room: hands each word to the worker of its extension, and tells how all
//! of them stand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use muster_common::{drain::Drain, ids::CommandId, reason::Reason, tasks};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Options, content, failure, program, record::Record, worker::Worker};
use crate::{
    platform::files,
    state::{ItemError, ItemState, Keeper, Kept, Outcome, Stories, Wish},
    verbs::Depots,
};

/// Extensions that a host may ever have heard of while its agent runs. More are refused.
const MOST: usize = 256;

/// The room cannot begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", folder.display())]
pub struct Error {
    folder: PathBuf,
    #[source]
    source: std::io::Error,
}

/// How programs of this host reach the room. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// The task.
pub struct Task {
    shared: Arc<Shared>,
    kept: Kept,
    /// At most [`MOST`].
    workers: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Programs that records know of.
    named: BTreeSet<CommandId>,
}

/// What the workers share.
pub(super) struct Shared {
    pub(super) options: Options,
    states: Mutex<BTreeMap<String, ItemState>>,
    inboxes: Mutex<BTreeMap<String, Arc<Inbox>>>,
    news: Notify,
    /// What was done for them, until it is told.
    pub(super) stories: Stories,
}

/// What waits for one worker.
#[derive(Default)]
pub(super) struct Inbox {
    wish: Mutex<Option<Wish>>,
    /// The host's administrator wants it gone.
    remove: AtomicBool,
    connected: AtomicBool,
    wake: Notify,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Task {
    /// Reads what there is, and gives what others hold of the room.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub async fn open(options: Options) -> Result<(Keeper, Handle, Self), Error> {
        let folder = options.folder.clone();
        let read = move || {
            files::private_folder(&folder)?;
            Record::all(&folder)
        };
        let records = tasks::blocking(read).await;
        let records = records.map_err(|source| Error { folder: options.folder.clone(), source })?;
        let named = records.iter().flat_map(|(_, record)| record.units()).collect();
        let states = records.iter().map(|(name, record)| (name.clone(), record.state.clone())).collect();
        let states: BTreeMap<String, ItemState> = states;
        let (keeper, kept) = Keeper::new(states.values().cloned().collect());
        let shared = Arc::new(Shared {
            options,
            states: Mutex::new(states),
            inboxes: Mutex::default(),
            news: Notify::default(),
            stories: kept.stories(),
        });
        let workers = FuturesUnordered::default();
        let mut task = Self { shared: Arc::clone(&shared), kept, workers, named };
        for (name, record) in records {
            task.employ(name, Some(record));
        }
        Ok((keeper, Handle(shared), task))
    }

    /// Works until the process ends. What is under way then is taken up by the next one.
    pub async fn run(mut self, drain: Drain) {
        // Before any worker starts something new; who asks for the agent does not wait for it.
        let named = std::mem::take(&mut self.named);
        tokio::select! {
            biased;
            () = drain.begun() => return,
            () = program::end_unnamed(&self.shared.options.depots, &named) => {}
        }
        loop {
            while let Some(wish) = self.kept.take() {
                self.hand_over(wish);
            }
            if self.kept.take_connected() {
                for inbox in self.shared.inboxes.lock().values() {
                    inbox.connected.store(true, Ordering::Release);
                    inbox.wake.notify_one();
                }
            }
            tokio::select! {
                biased;
                () = drain.begun() => return,
                () = self.kept.changed() => {}
                () = self.shared.news.notified() => {
                    let states = self.shared.states.lock().values().cloned().collect();
                    self.kept.tell(states);
                }
                Some(()) = self.workers.next() => {} // none ends by itself
            }
        }
    }

    fn hand_over(&mut self, wish: Wish) {
        let Some(name) = content::name(wish.item()).map(str::to_owned) else {
            tracing::warn!(item = wish.item(), "{:?} is no extension that a host can have", wish.item());
            return;
        };
        let known = self.shared.inboxes.lock().get(&name).cloned();
        let inbox = match known {
            Some(inbox) => inbox,
            None if self.workers.len() >= MOST => return self.turn_away(&name, wish),
            None => self.employ(name, None),
        };
        *inbox.wish.lock() = Some(wish);
        inbox.wake.notify_one();
    }

    /// One that there is no room for.
    fn turn_away(&self, name: &str, wish: Wish) {
        let state = match wish {
            Wish::Remove(_) => None,
            Wish::Bring(offer) => Some(ItemState {
                item: offer.item,
                running: None,
                attempted: Some(offer.version),
                outcome: Outcome::Rejected,
                error: Some(failure::host(
                    Reason::QuotaExceeded,
                    format!("a host has at most {MOST} extensions"),
                )),
                changed_at: self.shared.options.clock.now(),
                drift: Vec::new(),
                progress: None,
                health: None,
            }),
        };
        self.shared.tell(name, state);
    }

    fn employ(&mut self, name: String, record: Option<Record>) -> Arc<Inbox> {
        let inbox = Arc::<Inbox>::default();
        self.shared.inboxes.lock().insert(name.clone(), Arc::clone(&inbox));
        let worker = Worker::new(Arc::clone(&self.shared), name, Arc::clone(&inbox), record);
        self.workers.push(Box::pin(worker.run()));
        inbox
    }
}

/// Ends what runs of all extensions. Their files stay: that is told, for somebody to see.
///
/// # Errors
/// If the folder cannot be used.
pub async fn leave(folder: &Path, depots: &Depots) -> Result<(), Error> {
    if !folder.exists() {
        return Ok(());
    }
    let from = folder.to_owned();
    let records = tasks::blocking(move || Record::all(&from)).await;
    let records = records.map_err(|source| Error { folder: folder.to_owned(), source })?;
    for (name, record) in &records {
        let journal = record.journal.as_ref().and_then(|journal| journal.trace.as_ref());
        for trace in record.program.iter().chain(journal) {
            if let Err(error) = program::end_leftover(depots, trace).await {
                tracing::warn!(name, %error, "a program of {name} may go on");
            }
        }
        // Also what was only coming may have installed something.
        if record.current.is_some() || record.coming.is_some() {
            tracing::warn!(
                name,
                "extension {name} was not uninstalled: what it installed is still on this host"
            );
        }
    }
    Ok(())
}

impl Shared {
    /// Tells how one stands; `None`: there is nothing of it. Also where that is no news: it
    /// may be an answer.
    pub(super) fn tell(&self, name: &str, state: Option<ItemState>) {
        let mut states = self.states.lock();
        match state {
            Some(state) => states.insert(name.to_owned(), state),
            None => states.remove(name),
        };
        self.news.notify_one();
    }
}

impl Inbox {
    pub(super) fn take(&self) -> Option<Wish> {
        self.wish.lock().take()
    }

    pub(super) fn take_remove(&self) -> bool {
        self.remove.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take_connected(&self) -> bool {
        self.connected.swap(false, Ordering::AcqRel)
    }

    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Handle {
    /// Takes an extension away because the host's administrator says so. `false`: there is
    /// none of that name.
    ///
    /// # Errors
    /// The lock file's word against it: its verbs would not be run, and what it installed
    /// would stay without anybody who knows of it.
    pub fn remove(&self, name: &str) -> Result<bool, String> {
        // What it knows of an earlier removal is nothing to remove.
        let is_over = |error: &ItemError| error.reason == Reason::ExtensionRemovedHere;
        let is_here =
            |state: &ItemState| state.running.is_some() || !state.error.as_ref().is_some_and(is_over);
        let there = self.0.states.lock().get(name).is_some_and(is_here);
        let inbox = self.0.inboxes.lock().get(name).cloned().filter(|_| there);
        if inbox.is_some()
            && let Some(why) = self.0.options.locks.current().refuses_removals()
        {
            return Err(why);
        }
        if let Some(inbox) = &inbox {
            inbox.remove.store(true, Ordering::Release);
            inbox.wake.notify_one();
        }
        Ok(inbox.is_some())
    }
}
