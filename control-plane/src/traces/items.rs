//! Items on their way to hosts, in traces that somebody collects.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use muster_common::{
    clock::UnixMillis,
    generation::Generation,
    ids::NodeId,
    trace::{Context, SpanId},
};
use muster_domain::item::ItemName;
use parking_lot::Mutex;

use super::{
    PATIENCE, micros,
    span::{By, Kind, Span, Told, Value, of_host},
};

/// Most that are waited for at once. Of more nothing is told.
const MOST: usize = 10_000;

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
    open: Mutex<HashMap<(NodeId, ItemName), Open>>,
    /// How many: nobody takes the lock to see that there are none.
    count: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Open {
    at: Context,
    parent: SpanId,
    generation: Generation,
    given: UnixMillis,
    /// When its host said what it did.
    done: Option<UnixMillis>,
    told: Vec<Told>,
}

impl Items {
    pub(super) fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Where it is in its trace; the same for one that is given again. `None`: too many are.
    pub(super) fn given(&self, item: Item, asked: Context, now: UnixMillis) -> Option<Context> {
        let mut open = self.open.lock();
        let key = (item.node, item.item);
        if let Some(known) = open.get(&key).filter(|known| known.generation == item.generation) {
            return Some(known.at);
        }
        if open.len() >= MOST && !open.contains_key(&key) {
            open.retain(|_, it| now.since(it.given) < PATIENCE);
            if open.len() >= MOST {
                return None;
            }
        }
        let name = format!("item/{}/{}/{}", key.0, key.1, item.generation);
        let at = asked.at(SpanId::of(&asked.trace, &name));
        let (parent, generation) = (asked.span, item.generation);
        open.insert(key, Open { at, parent, generation, given: now, done: None, told: Vec::new() });
        self.count.store(open.len(), Relaxed);
        Some(at)
    }

    /// What a host says of another generation than it was given is passed over.
    pub(super) fn done(&self, item: &Item, told: Vec<Told>, now: UnixMillis) {
        let mut open = self.open.lock();
        let known = open.get_mut(&(item.node, item.item.clone()));
        if let Some(known) = known.filter(|known| known.generation == item.generation) {
            (known.done, known.told) = (Some(now), told);
        }
    }

    /// One of which something is stored, at its generation or a newer one, is waited for no more.
    pub(super) fn stored(&self, item: &Item) -> Option<Open> {
        let mut open = self.open.lock();
        let key = (item.node, item.item.clone());
        let is_it = open.get(&key).is_some_and(|known| known.generation <= item.generation);
        let found = if is_it { open.remove(&key) } else { None };
        self.count.store(open.len(), Relaxed);
        found.filter(|found| found.generation == item.generation)
    }
}

impl Open {
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
        let (end_us, trace) = (micros(now), self.at.trace);
        let node = Value::Text(item.node.to_string());
        let mut spans = vec![Span {
            by: By::Here,
            trace,
            id: self.at.span,
            parent: Some(self.parent),
            name: format!("item {}", item.item),
            kind: Kind::Producer,
            begin_us: micros(self.given),
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
                begin_us: micros(done),
                end_us,
                error: String::new(),
                attributes: Vec::new(),
            });
        }
        spans.extend(of_host(&by, self.at, self.told));
        spans
    }
}
