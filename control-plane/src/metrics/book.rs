//! How numbers are registered, and the forms that they have.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

pub(super) type Count = Counter<u64, AtomicU64>;
pub(super) type Seconds = Counter<f64, AtomicU64>;
pub(super) type Level = Gauge<f64, AtomicU64>;
pub(super) type Counts<L> = Family<L, Count>;
pub(super) type Gauges<L> = Family<L, Gauge>;
pub(super) type Histograms<L> = Family<L, Histogram>;

/// A number that there can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// As it stands in `# TYPE`.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
}

/// Where numbers are registered.
pub(super) struct Book<'a> {
    registry: &'a mut Registry,
    registered: &'a mut Vec<Registered>,
}

impl<'a> Book<'a> {
    pub(super) const fn new(registry: &'a mut Registry, registered: &'a mut Vec<Registered>) -> Self {
        Self { registry, registered }
    }

    /// Registers a number, and gives it back.
    pub(super) fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.put(name, help, metric.clone());
        metric
    }

    /// Registers a number that does not change.
    pub(super) fn put(&mut self, name: &str, help: &str, metric: impl Metric) {
        let kind = metric.metric_type().as_str().to_owned();
        self.registered.push(Registered { name: format!("muster_{name}"), kind });
        self.registry.register(name, help, metric);
    }
}

/// Label sets of small words.
macro_rules! labels {
    ($($name:ident { $($label:ident),+ })+) => {
        $(
            #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub(super) struct $name {
                $(pub(super) $label: &'static str,)+
            }
        )+
    };
}

labels! {
    Change { change }
    Door { door }
    DoorKeyExchange { door, key_exchange }
    DoorLimit { door, limit }
    DoorOutcome { door, outcome }
    DoorReason { door, reason }
    How { how }
    Kind { kind }
    Lane { lane }
    Outcome { outcome }
    Phase { phase }
    Queue { queue }
    Role { role }
    StateReason { state, reason }
    State { state }
    Transaction { transaction }
    What { what }
    Why { why }
    Word { reason }
    Worker { worker }
}

/// Of an order: kinds come from the store, which has those that this program knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindOnly {
    pub(super) kind: String,
}

/// Of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindState {
    pub(super) kind: String,
    pub(super) state: &'static str,
}

/// Of an order that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindStateReason {
    pub(super) kind: String,
    pub(super) state: &'static str,
    pub(super) reason: &'static str,
}

/// Shows these of a family from the start, as zero: a counter that begins with its first one
/// has no step that a rate or an alert could see.
pub(super) fn from_zero<L: EncodeLabelSet + Clone + Eq + std::hash::Hash>(
    family: Counts<L>,
    labels: impl IntoIterator<Item = L>,
) -> Counts<L> {
    labels.into_iter().for_each(|labels| drop(family.get_or_create(&labels)));
    family
}

/// A gauge shows a count.
pub(super) fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
