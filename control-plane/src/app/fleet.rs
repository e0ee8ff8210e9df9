//! Every node, in memory: what the store has, and what only the living know
//! (last heartbeat, load, session). No heartbeat reads the store.

mod capabilities;
mod found;
mod live;
mod merge;
mod removed;
mod seldom;
mod ticket;

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use muster_common::{
    clock::UnixMillis,
    digest::{Sha256, state_hash},
    generation::Generation,
    ids::{NodeId, SessionId},
    reason::Reason,
};
use muster_domain::{
    facts::{Facts, Kinds, Known},
    item::{ItemName, ItemState, MAX_ITEMS},
    labels::{Place, Roster},
    liveness::Tracker,
    node::Node,
    sighting::{Kept, Sightings},
};
use parking_lot::{Mutex, MutexGuard, RwLock};

pub use live::{Holder, Live};
pub use seldom::Seldom;
pub use ticket::{News, OpenTicket};

use super::events::Noted;

/// All nodes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Fleet(Arc<Inner>);

#[derive(Default)]
struct Inner {
    nodes: RwLock<BTreeMap<NodeId, Arc<Mutex<Entry>>>>,
    kinds: Mutex<Kinds>,
    roster: RwLock<Roster>,
    capabilities: Mutex<capabilities::Sets>,
    removed: RwLock<removed::Removed>,
}

/// One node. What few nodes have of it is in [`Seldom`], and reads as part of this.
pub struct Entry {
    /// As stored; what nodes report is here before it is there.
    pub node: Node,
    /// Whether we hear it.
    pub tracker: Tracker,
    seldom: Option<Box<Seldom>>,
    /// Where it stands in the roster, as long as it is a node.
    place: Option<Place>,
    /// The store's revision at which it was read last.
    as_of: u64,
}

/// Facts as a node told them.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldFacts {
    /// All of them.
    pub facts: Facts,
    /// Hash of them as the agent encoded them.
    pub sha256: Vec<u8>,
}

/// Why items that a node tells of are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemsRefused {
    /// More than anyone keeps.
    #[error("a node has at most {MAX_ITEMS} items")]
    TooMany,
    /// It tells of other ones more quickly than they are stored.
    #[error("too many changes of items wait to be stored")]
    TooFast,
}

impl ItemsRefused {
    /// The stable reason.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::TooMany => Reason::MessageInvalid,
            Self::TooFast => Reason::Overloaded,
        }
    }
}

/// Nodes that are visited in one go.
const AT_A_TIME: usize = 256;
/// Changes of items that may wait to be stored.
const MAX_DIRTY_ITEMS: usize = 4 * MAX_ITEMS;

/// How the store is to be told who holds a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// As it is, unless another replica holds the node by now.
    Again,
    /// A session began here: whoever held the node before, holds it no more.
    Anew,
}

/// What of a node is newer in memory than in the store.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Dirty {
    /// State of hearing.
    pub liveness: bool,
    /// How far its ledger is.
    pub ledger: bool,
    /// Its facts.
    pub facts: bool,
    /// Its certificate: the next became the current one.
    pub certificate: bool,
    /// The trust bundle that it acknowledged.
    pub trust_bundle: bool,
    /// Who holds it, or what its session says.
    pub session: Option<Claim>,
    /// Items that changed, gone ones included.
    pub items: Vec<ItemName>,
    /// What happened to it, to be told with the rest.
    pub noted: Vec<Noted>,
    /// Acknowledge item reports up to this once stored; 0: none.
    pub items_seq: u64,
    /// In the recorder's queue.
    pub queued: bool,
}

impl Entry {
    /// A node as stored, not heard by this process.
    #[must_use]
    pub fn new(node: Node, tracker: Tracker) -> Self {
        Self { node, tracker, seldom: None, place: None, as_of: 0 }
    }

    /// A person let it out of quarantine; as this process alone, if one was named. The
    /// session of another one is the node's no more.
    fn released(&mut self, kept: Option<Box<Kept>>) {
        self.turned_away = Sightings::default();
        match &kept {
            Some(kept) => self.sightings.keep(kept.instance),
            None => self.sightings = Sightings::default(),
        }
        self.live
            .take_if(|live| kept.as_ref().is_some_and(|it| it.excludes(Some(live.instance), &live.serial)));
        self.node.kept = kept;
    }

    /// Whether this session is the node's.
    #[must_use]
    pub fn is_live(&self, session: SessionId) -> bool {
        self.live.as_ref().is_some_and(|live| live.session == session)
    }

    /// Hash over what the node says it runs.
    #[must_use]
    pub fn state_hash(&self) -> Sha256 {
        let running = self.node.items.iter().filter_map(|state| Some((state, state.running.as_ref()?)));
        let mut rows: Vec<(String, Generation, Sha256)> =
            running.map(|(state, it)| (state.item.to_string(), it.generation, it.sha256)).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        state_hash(rows.iter().map(|(name, generation, sha256)| (name.as_str(), *generation, *sha256)))
    }

    /// What the node last said of an item.
    #[must_use]
    pub fn reported(&self, item: &ItemName) -> Option<&ItemState> {
        self.node.items.iter().find(|state| state.item == *item)
    }

    /// The hash of the newest facts it told, stored or not.
    #[must_use]
    pub fn facts_sha256(&self) -> &[u8] {
        self.told.as_ref().map_or(&self.node.facts_sha256[..], |told| &told.sha256)
    }

    /// Takes what the node says of some items, or of all.
    ///
    /// # Errors
    /// If there would be too many; nothing is taken then.
    pub fn take_items(
        &mut self,
        states: Vec<ItemState>,
        complete: bool,
        now: UnixMillis,
    ) -> Result<(), ItemsRefused> {
        let others = |known: &&ItemState| !complete && !states.iter().any(|new| new.item == known.item);
        if states.len() > MAX_ITEMS
            || states.len() + self.node.items.iter().filter(others).count() > MAX_ITEMS
        {
            return Err(ItemsRefused::TooMany);
        }
        if self.dirty.items.len() > MAX_DIRTY_ITEMS {
            return Err(ItemsRefused::TooFast);
        }
        let mut changed = Vec::new();
        if complete {
            let gone = |state: &ItemState| !states.iter().any(|new| new.item == state.item);
            let gone: Vec<ItemState> = self.node.items.extract_if(.., |state| gone(state)).collect();
            gone.iter().for_each(|state| self.note_item(Some(state), None));
            changed.extend(gone.into_iter().map(|state| state.item));
        }
        let is_new = |state: &&ItemState| self.reported(&state.item).is_none();
        let new = states.iter().filter(is_new).count();
        self.node.items.reserve_exact(new);
        for state in states {
            self.note_progress(&state, now);
            let before = match self.node.items.iter_mut().find(|old| old.item == state.item) {
                Some(old) if *old == state => continue,
                Some(old) => Some(std::mem::replace(old, state.clone())),
                None => {
                    self.node.items.push(state.clone());
                    None
                }
            };
            self.note_item(before.as_ref(), Some(&state));
            changed.push(state.item);
        }
        self.node.items.retain(|it| it.running.is_some() || it.progress.is_some() || it.is_refused());
        self.node.items.sort_by(|a, b| a.item.cmp(&b.item));
        for item in changed {
            if !self.dirty.items.contains(&item) {
                self.dirty.items.push(item);
            }
        }
        Ok(())
    }

    /// Only what moves is progress: the same word again, in another session, is not.
    fn note_progress(&mut self, state: &ItemState, now: UnixMillis) {
        if state.progress.is_none() {
            self.progressed.remove(&state.item);
            return;
        }
        let is_same = self.reported(&state.item).is_some_and(|old| old.progress == state.progress);
        if !is_same || !self.progressed.contains_key(&state.item) {
            self.progressed.insert(state.item.clone(), now);
        }
    }
}

impl Fleet {
    /// Makes the map of nodes as small as it can be. One that was filled in the order of its keys has
    /// leaves that are half empty.
    pub fn pack(&self) {
        let mut nodes = self.0.nodes.write();
        *nodes = std::mem::take(&mut *nodes).into_iter().collect();
    }

    /// A node, if it exists.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<Arc<Mutex<Entry>>> {
        self.0.nodes.read().get(&id).cloned()
    }

    /// Looks at or changes one node.
    pub fn with<T>(&self, id: NodeId, look: impl FnOnce(MutexGuard<'_, Entry>) -> T) -> Option<T> {
        self.get(id).map(|entry| look(entry.lock()))
    }

    /// Adds a node, or puts what was stored anew into the one that is there. `as_of`: the
    /// store's revision at which it was read; of two readings the newer one counts.
    pub fn put(&self, node: Node, as_of: u64, tracker: impl FnOnce(&Node) -> Tracker) {
        let node = self.packed(node);
        if let Some(entry) = self.get(node.id) {
            let mut entry = entry.lock();
            if entry.as_of <= as_of {
                entry.as_of = as_of;
                self.merge(&mut entry, node);
            }
            return;
        }
        let (id, tracker) = (node.id, tracker(&node));
        let mut nodes = self.0.nodes.write();
        // It may have been read before it was removed.
        if !self.was_removed(id) {
            let new = || {
                let place = self.0.roster.write().enter(id, &node.labels, &node.facts);
                Entry { as_of, place: Some(place), ..Entry::new(node, tracker) }
            };
            nodes.entry(id).or_insert_with(|| Arc::new(Mutex::new(new())));
        }
    }

    /// A node as memory keeps it: without leaves, with what is the same on other hosts
    /// there once, and no room for what may come.
    #[must_use]
    pub fn packed(&self, node: Node) -> Node {
        let (facts, certificate) = (self.shared(node.facts), node.certificate.without_leaves());
        let mut node = Node { facts, certificate, ..node };
        node.display_name.shrink_to_fit();
        node.enrolled_key_sha256 = None;
        node.items.shrink_to_fit();
        node
    }

    /// The same facts, with what is the same on other hosts in memory once.
    #[must_use]
    pub fn shared(&self, facts: Known) -> Known {
        self.0.kinds.lock().shared(facts)
    }

    /// Takes a node out for ever. It is known that it was one until then, when its certificates are over.
    pub fn remove(&self, id: NodeId, until: UnixMillis, now: UnixMillis) -> Option<Arc<Mutex<Entry>>> {
        self.0.removed.write().add(id, until, now);
        let entry = self.0.nodes.write().remove(&id);
        // Not under the lock of all: whoever holds the entry's may ask for that.
        entry.inspect(|entry| self.strike(&mut entry.lock()))
    }

    /// Whether this once was a node, of which somebody may still have a certificate.
    #[must_use]
    pub fn was_removed(&self, id: NodeId) -> bool {
        self.0.removed.read().has(id)
    }

    /// Ids, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.0.nodes.read().keys().copied().collect()
    }

    /// Every node that is there all the time of the call, in order of ids.
    pub fn for_each(&self, mut visit: impl FnMut(MutexGuard<'_, Entry>)) {
        let mut after = Bound::Unbounded;
        while let Some(last) = self.visit_some(after, &mut visit) {
            after = Bound::Excluded(last);
        }
    }

    /// The same, and others get their turn between some of them and the next.
    pub async fn visit(&self, mut visit: impl FnMut(MutexGuard<'_, Entry>)) {
        let mut after = Bound::Unbounded;
        while let Some(last) = self.visit_some(after, &mut visit) {
            after = Bound::Excluded(last);
            tokio::task::yield_now().await;
        }
    }

    /// Some at a time: what was just cloned is still near when it is visited. Answers the last one; `None`:
    /// there was no more.
    fn visit_some(
        &self,
        after: Bound<NodeId>,
        visit: &mut impl FnMut(MutexGuard<'_, Entry>),
    ) -> Option<NodeId> {
        let some: Vec<(NodeId, Arc<Mutex<Entry>>)> = {
            let nodes = self.0.nodes.read();
            let next = nodes.range((after, Bound::Unbounded)).take(AT_A_TIME);
            next.map(|(id, entry)| (*id, Arc::clone(entry))).collect()
        };
        some.iter().for_each(|(_, entry)| visit(entry.lock()));
        some.last().map(|(last, _)| *last)
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.nodes.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
