//! Who is connected. One session per node; a newer one fences the older.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::task::AtomicWaker;
use muster_common::{
    ids::{CommandId, NodeId, SessionId},
    reason::Reason,
};
use parking_lot::Mutex;

use super::{
    frames::{CommandAck, Refusal},
    line::Line,
    ports::{End, Hints},
};

const SHARDS: usize = 64;

/// All live sessions of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shards: Vec<Mutex<HashMap<NodeId, Handle>>>,
    hasher: RandomState,
    count: AtomicUsize,
}

/// One live session, as others hold it.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Session>);

#[derive(Debug)]
struct Session {
    id: SessionId,
    node: NodeId,
    hints: Mutex<Hints>,
    waker: AtomicWaker,
    line: Line,
}

impl Default for Hub {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self(Arc::new(Inner { shards, hasher: RandomState::new(), count: AtomicUsize::new(0) }))
    }
}

impl Hub {
    /// Makes this the session of its node; the older one, if any, is told that
    /// it was fenced.
    pub fn register(&self, handle: &Handle) {
        let older = self.shard(handle.node()).lock().insert(handle.node(), handle.clone());
        match older {
            Some(older) => older.end(End::Refuse(Refusal::new(
                Reason::Fenced,
                format!("session {} of node {} took over", handle.id(), handle.node()),
            ))),
            None => {
                self.0.count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes a session away, unless a newer one has its place. Answers whether it was the node's.
    pub fn unregister(&self, handle: &Handle) -> bool {
        let mut shard = self.shard(handle.node()).lock();
        let ours = shard.get(&handle.node()).is_some_and(|live| live.id() == handle.id());
        if ours {
            shard.remove(&handle.node());
            self.0.count.fetch_sub(1, Ordering::Relaxed);
        }
        ours
    }

    /// The live session of a node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<Handle> {
        self.shard(node).lock().get(&node).cloned()
    }

    /// How many nodes are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every live session at some moment of the call.
    pub fn for_each(&self, mut visit: impl FnMut(&Handle)) {
        for shard in &self.0.shards {
            let handles: Vec<Handle> = shard.lock().values().cloned().collect();
            handles.iter().for_each(&mut visit);
        }
    }

    #[allow(clippy::cast_possible_truncation)] // only the low bits are of use
    fn shard(&self, node: NodeId) -> &Mutex<HashMap<NodeId, Handle>> {
        &self.0.shards[self.0.hasher.hash_one(node) as usize % SHARDS]
    }
}

impl Handle {
    /// A session about to say Welcome.
    #[must_use]
    pub fn new(node: NodeId, line: Line) -> Self {
        Self(Arc::new(Session {
            id: SessionId::generate(),
            node,
            hints: Mutex::default(),
            waker: AtomicWaker::new(),
            line,
        }))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.0.id
    }

    /// Whose it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Whether it goes through this connection.
    #[must_use]
    pub fn is_on(&self, line: &Line) -> bool {
        self.0.line == *line
    }

    /// Desired state may differ: look again.
    pub fn hint_desired(&self) {
        self.hint(|hints| hints.desired = true);
    }

    /// There may be orders: look again.
    pub fn hint_tickets(&self) {
        self.hint(|hints| hints.tickets = true);
    }

    /// The rhythm or the name changed: look again.
    pub fn hint_tune(&self) {
        self.hint(|hints| hints.tune = true);
    }

    /// Roots, certificate or quarantine may differ: look again.
    pub fn hint_trust(&self) {
        self.hint(|hints| hints.trust = true);
    }

    /// Every item report up to `seq` is stored.
    pub fn ack_items(&self, seq: u64) {
        self.hint(|hints| hints.ack.items_seq = hints.ack.items_seq.max(seq));
    }

    /// Every report of a command up to `ack.seq` is stored.
    pub fn ack_command(&self, ack: CommandAck) {
        self.hint(|hints| {
            match hints.ack.commands.iter_mut().find(|waiting| waiting.command == ack.command) {
                Some(waiting) => {
                    waiting.seq = waiting.seq.max(ack.seq);
                    waiting.credit = waiting.credit.saturating_add(ack.credit);
                }
                None => hints.ack.commands.push(ack),
            }
        });
    }

    /// An order has ended here without its host, which is to kill it if it runs there.
    pub fn give_up(&self, command: CommandId) {
        self.hint(|hints| {
            hints.given_up.insert(command);
        });
    }

    /// The session is to end, and soon after it the connection: a peer that is
    /// dead takes no last words. The first word counts.
    pub fn end(&self, how: End) {
        self.hint(|hints| {
            hints.end.get_or_insert(how);
        });
        self.0.line.leave();
    }

    /// Takes what is in the mailbox, and has `waker` woken for what comes.
    pub(super) fn take(&self, waker: &std::task::Waker) -> Hints {
        // First the waker, then the look: a hint between the two wakes.
        self.0.waker.register(waker);
        std::mem::take(&mut *self.0.hints.lock())
    }

    fn hint(&self, change: impl FnOnce(&mut Hints)) {
        change(&mut self.0.hints.lock());
        self.0.waker.wake();
    }
}
