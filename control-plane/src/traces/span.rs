//! Parts of traces.

use std::{collections::HashSet, time::Duration};

use muster_common::{
    clock::UnixMillis,
    ids::NodeId,
    trace::{Context, OF_ORDER, SpanId, TraceId},
};

/// How far the clock of a host may be off, for its traces: what is told of a time further away
/// from its order is brought that near.
const OFF: Duration = Duration::from_secs(3600);

/// A part of a trace that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Whose.
    pub by: By,
    /// Of which trace.
    pub trace: TraceId,
    /// Which.
    pub id: SpanId,
    /// Below what.
    pub parent: Option<SpanId>,
    /// What was done, in few different words.
    pub name: String,
    /// For whom.
    pub kind: Kind,
    /// Unix time.
    pub begin_us: i64,
    /// Unix time.
    pub end_us: i64,
    /// Why it failed; empty: it did not.
    pub error: String,
    /// More about it.
    pub attributes: Vec<Attribute>,
}

/// A name and a value.
pub type Attribute = (&'static str, Value);

/// More about a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A word.
    Text(String),
    /// A number.
    Number(i64),
    /// A part of another trace that has to do with this one; not an attribute, but a link.
    Link(Context),
}

/// Whose a part is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum By {
    /// Of this process.
    Here,
    /// Of the agent of a node.
    Node {
        /// Which.
        id: NodeId,
        /// As people call it.
        name: String,
    },
}

/// For whom a part was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For a caller.
    Server,
    /// For this process itself.
    Internal,
    /// For others, who do it when they can.
    Producer,
    /// For whoever ordered it.
    Consumer,
}

/// A part as a host tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// What was done.
    pub name: String,
    /// As the host counts them.
    pub id: Vec<u8>,
    /// Another one of the same order; empty: the order.
    pub parent: Vec<u8>,
    /// Unix time, by the host's clock.
    pub begin_us: i64,
    /// Unix time, by the host's clock.
    pub end_us: i64,
    /// Why it failed, one stable word; empty: it did not.
    pub error: &'static str,
}

impl Told {
    /// What it takes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.id.len() + self.parent.len()
    }
}

/// The parts that a host tells of one order, which lived from one time to another. Their ids are
/// made anew out of the host's own, so that none can be that of a part of others. What names no
/// part before it hangs below the order.
pub(super) fn of_host(
    by: &By,
    below: Context,
    (from, to): (UnixMillis, UnixMillis),
    told: Vec<Told>,
) -> Vec<Span> {
    let (first, last) = ((from - OFF).micros(), (to.max(from) + OFF).micros());
    let id = |given: &[u8]| below.part_of_host(given);
    let (mut known, mut spans) = (HashSet::new(), Vec::new());
    for it in told.into_iter().take(OF_ORDER) {
        let parent = if known.contains(&it.parent) { id(&it.parent) } else { below.span };
        if !known.insert(it.id.clone()) {
            continue; // a part has one id
        }
        spans.push(Span {
            by: by.clone(),
            trace: below.trace,
            id: id(&it.id),
            parent: Some(parent),
            name: it.name,
            kind: if spans.is_empty() { Kind::Consumer } else { Kind::Internal },
            begin_us: it.begin_us.clamp(first, last),
            end_us: it.end_us.max(it.begin_us).clamp(first, last),
            error: it.error.to_owned(),
            attributes: Vec::new(),
        });
    }
    spans
}
