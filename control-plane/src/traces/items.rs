//! Items on their way to hosts, in traces that somebody collects.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    generation::Generation,
    ids::NodeId,
    trace::{Context, SpanId},
};
use muster_domain::item::ItemName;
use parking_lot::Mutex;

use super::span::{By, Kind, Span, Told, Value, of_host};

/// Most that are waited for at once. Of more nothing is told.
const MOST: usize = 10_000;
/// Most bytes of what hosts told and what is not stored yet.
const TOLD: usize = 4 * 1024 * 1024;
/// How long something is waited for that its host may never tell.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The same, once the session of its host has ended: some changes end it, and their host is back soon.
const AWAY: Duration = Duration::from_secs(2 * 60);
/// Between looks at what is waited for in vain.
const SWEEP: Duration = Duration::from_secs(60);

/// An item of a node, at one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Whose.
    pub node: NodeId,
    /// Which.
    pub item: ItemName,
    /// At which place of the history.
    pub generation: Generation,
}

/// Those that their hosts were given.
#[derive(Debug, Default)]
pub(super) struct Items {
    waiting: Mutex<Waiting>,
    /// How many: nobody takes the lock to see that there are none.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    nodes: HashMap<NodeId, HashMap<ItemName, Open>>,
    count: usize,
    /// Bytes of what their hosts told.
    told: usize,
    swept: UnixMillis,
}

#[derive(Debug)]
pub(super) struct Open {
    at: Context,
    parent: SpanId,
    generation: Generation,
    given: UnixMillis,
    until: UnixMillis,
    /// When its host said what it did.
    done: Option<UnixMillis>,
    told: Vec<Told>,
    /// It is to go.
    removes: bool,
}

impl Items {
    pub(super) fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Where it is in its trace; the same for one that is given again before it is answered. `removes`: it
    /// is to go. `None`: too many are waited for.
    pub(super) fn given(
        &self,
        item: Item,
        asked: Context,
        removes: bool,
        now: UnixMillis,
    ) -> Option<Context> {
        let mut waiting = self.waiting.lock();
        waiting.sweep(now);
        self.count.store(waiting.count, Relaxed);
        let until = now + PATIENCE;
        let known = waiting.nodes.get_mut(&item.node).and_then(|items| items.get_mut(&item.item));
        let is_known = known.is_some();
        if let Some(known) = known.filter(|known| known.generation == item.generation) {
            known.until = until;
            return Some(known.at);
        }
        if waiting.count >= MOST && !is_known {
            return None;
        }
        let Item { node, item, generation } = item;
        // Not made out of its name: what was answered and is given once more is another part.
        let (at, parent) = (asked.at(SpanId::generate()), asked.span);
        waiting.put(
            node,
            item,
            Open { at, parent, generation, given: now, until, done: None, told: Vec::new(), removes },
        );
        self.count.store(waiting.count, Relaxed);
        Some(at)
    }

    /// What a host says of another generation than it was given is passed over. Answers how
    /// many parts of it had no room.
    pub(super) fn done(&self, item: &Item, told: Vec<Told>, now: UnixMillis) -> usize {
        let mut waiting = self.waiting.lock();
        let Waiting { nodes, told: kept, .. } = &mut *waiting;
        let known = nodes.get_mut(&item.node).and_then(|items| items.get_mut(&item.item));
        let Some(known) = known.filter(|known| known.generation == item.generation) else { return 0 };
        known.done = Some(now);
        let rest = *kept - known.bytes();
        let bytes: usize = told.iter().map(Told::bytes).sum();
        if rest + bytes > TOLD {
            return told.len();
        }
        (known.told, *kept) = (told, rest + bytes);
        0
    }

    /// The session of a node has ended: it may be another replica's, or never come back.
    pub(super) fn left(&self, node: NodeId, now: UnixMillis) {
        if let Some(items) = self.waiting.lock().nodes.get_mut(&node) {
            items.values_mut().for_each(|open| open.until = open.until.min(now + AWAY));
        }
    }

    /// One that was to go, and of which it is stored that it has.
    pub(super) fn gone(&self, node: NodeId, name: &ItemName) -> Option<(Item, Open)> {
        let mut waiting = self.waiting.lock();
        let known = waiting.nodes.get(&node)?.get(name).filter(|known| known.removes)?;
        let item = Item { node, item: name.clone(), generation: known.generation };
        let found = waiting.take(&item)?;
        self.count.store(waiting.count, Relaxed);
        Some((item, found))
    }

    /// One of which something is stored, at its generation or a newer one, is waited for no more.
    pub(super) fn stored(&self, item: &Item) -> Option<Open> {
        let mut waiting = self.waiting.lock();
        let known = waiting.nodes.get(&item.node).and_then(|items| items.get(&item.item));
        let is_it = known.is_some_and(|known| known.generation <= item.generation);
        let found = if is_it { waiting.take(item) } else { None };
        self.count.store(waiting.count, Relaxed);
        found.filter(|found| found.generation == item.generation)
    }
}

impl Waiting {
    fn put(&mut self, node: NodeId, item: ItemName, open: Open) {
        match self.nodes.entry(node).or_default().insert(item, open) {
            None => self.count += 1,
            Some(before) => self.told -= before.bytes(),
        }
    }

    fn take(&mut self, item: &Item) -> Option<Open> {
        let items = self.nodes.get_mut(&item.node)?;
        let open = items.remove(&item.item)?;
        if items.is_empty() {
            self.nodes.remove(&item.node);
        }
        self.count -= 1;
        self.told -= open.bytes();
        Some(open)
    }

    /// Forgets what is waited for in vain; looks for it now and then.
    fn sweep(&mut self, now: UnixMillis) {
        if now.since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.nodes.retain(|_, items| {
            items.retain(|_, open| now < open.until);
            !items.is_empty()
        });
        self.count = self.nodes.values().map(HashMap::len).sum();
        self.told = self.nodes.values().flat_map(HashMap::values).map(Open::bytes).sum();
    }
}

impl Open {
    fn bytes(&self) -> usize {
        self.told.iter().map(Told::bytes).sum()
    }

    /// All that is to be told of it: what its host did, and that it was stored.
    pub(super) fn spans(
        self,
        item: &Item,
        name: &str,
        outcome: &'static str,
        is_refusal: bool,
        now: UnixMillis,
    ) -> Vec<Span> {
        let by = By::Node { id: item.node, name: name.to_owned() };
        let (end_us, trace) = (now.micros(), self.at.trace);
        let node = Value::Text(item.node.to_string());
        let mut spans = vec![Span {
            by: By::Here,
            trace,
            id: self.at.span,
            parent: Some(self.parent),
            name: format!("item {}", item.item),
            kind: Kind::Producer,
            begin_us: self.given.micros(),
            end_us,
            error: if is_refusal { outcome.to_owned() } else { String::new() },
            attributes: vec![
                ("muster.node.id", node),
                ("muster.item", Value::Text(item.item.to_string())),
                ("muster.generation", Value::Text(item.generation.to_string())),
                ("muster.outcome", Value::Text(outcome.to_owned())),
            ],
        }];
        if let Some(done) = self.done {
            spans.push(Span {
                by: By::Here,
                trace,
                id: SpanId::of(&trace, &format!("{}/store", self.at.span)),
                parent: Some(self.at.span),
                name: "store report".to_owned(),
                kind: Kind::Internal,
                begin_us: done.micros(),
                end_us,
                error: String::new(),
                attributes: Vec::new(),
            });
        }
        spans.extend(of_host(&by, self.at, (self.given, now), self.told));
        spans
    }
}
