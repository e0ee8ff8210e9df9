//! The store, what waits for it, how far memory follows it, and who else serves it.

use std::time::Duration;

use prometheus_client::metrics::{gauge::Gauge, histogram::Histogram};

use super::{
    Metrics,
    book::{Book, Count, Counts, Gauges, Histograms, Lane, Level, Queue, Transaction, from_zero, whole},
};

/// Of seconds that a transaction takes: from one in memory to one that waits for a failover.
const TRANSACTION: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0];

/// Queues that can be full, and lanes that can be shed.
const QUEUES: [&str; 4] = ["recorder", "recorder-node", "output-credit", "denials"];
const LANES: [&str; 5] = ["brake", "control", "reports", "artifacts", "enrollment"];

#[derive(Debug)]
pub(super) struct Numbers {
    queues_full: Counts<Queue>,
    queued: Gauges<Queue>,
    shed: Counts<Lane>,
    writes_waiting: Gauges<Lane>,
    behind: Level,
    transactions: Histograms<Transaction>,
    commits: Histogram,
    writes: Count,
    writes_failed: Count,
    feed_revisions: Gauge,
    feed_seconds: Level,
    replicas: Gauge,
    leads: Gauge,
    beat_age: Level,
    replicas_behind: Gauge,
}

impl Numbers {
    pub(super) fn new(book: &mut Book<'_>) -> Self {
        let transactions = Histograms::new_with_constructor(|| Histogram::new(TRANSACTION));
        Self {
            queues_full: book.add(
                "queue_full",
                "Times that a queue had no room",
                from_zero(Counts::default(), QUEUES.map(|queue| Queue { queue })),
            ),
            queued: book.add("queue_depth", "What waits in a queue", Gauges::default()),
            shed: book.add(
                "shed",
                "Work turned away or put off by lane",
                from_zero(Counts::default(), LANES.map(|lane| Lane { lane })),
            ),
            writes_waiting: book.add(
                "writes_waiting",
                "Writes that wait for the store, by lane",
                Gauges::default(),
            ),
            behind: book.add(
                "writes_behind_seconds",
                "How long the oldest write has waited that waits for the store",
                Level::default(),
            ),
            transactions: book.add(
                "store_transaction_seconds",
                "How long transactions took, from when they were handed in",
                transactions,
            ),
            commits: book.add(
                "store_commit_seconds",
                "How long commits took, with all writes that share one",
                Histogram::new(TRANSACTION),
            ),
            writes: book.add("store_writes", "Writes that were committed", Count::default()),
            writes_failed: book.add(
                "store_writes_failed",
                "Writes that the store could not take",
                Count::default(),
            ),
            feed_revisions: book.add(
                "feed_behind_revisions",
                "Revisions that are stored and not in memory",
                Gauge::default(),
            ),
            feed_seconds: book.add(
                "feed_behind_seconds",
                "Since memory was last seen to be level with the store",
                Level::default(),
            ),
            replicas: book.add("replicas", "Control planes that serve the store", Gauge::default()),
            leads: book.add("replica_leads", "Whether this one does what one does for all", Gauge::default()),
            beat_age: book.add(
                "replica_beat_age_seconds",
                "Since the last beat of this one that was stored",
                Level::default(),
            ),
            replicas_behind: book.add(
                "replicas_behind_revisions",
                "How far the slowest control plane is behind this one",
                Gauge::default(),
            ),
        }
    }
}

impl Metrics {
    /// A queue had no room.
    pub fn queue_full(&self, queue: &'static str) {
        self.0.store.queues_full.get_or_create(&Queue { queue }).inc();
    }

    /// So much waits in a queue.
    pub fn queued(&self, queue: &'static str, depth: usize) {
        self.0.store.queued.get_or_create(&Queue { queue }).set(whole(depth));
    }

    /// Work of a lane was turned away, or put off.
    pub fn shed(&self, lane: &'static str) {
        self.0.store.shed.get_or_create(&Lane { lane }).inc();
    }

    /// So many writes of a lane wait.
    pub fn writes_waiting(&self, lane: &'static str, count: usize) {
        self.0.store.writes_waiting.get_or_create(&Lane { lane }).set(whole(count));
    }

    /// How long the oldest write waits.
    pub fn store_behind(&self, behind: Duration) {
        self.0.store.behind.set(behind.as_secs_f64());
    }

    /// A transaction of a kind was answered so long after it was handed in.
    pub fn transaction_took(&self, transaction: &'static str, took: Duration) {
        let took = took.as_secs_f64();
        self.0.store.transactions.get_or_create(&Transaction { transaction }).observe(took);
    }

    /// So many writes were committed together, with so many entries of the audit.
    pub fn committed(&self, writes: u64, audit_entries: u64, took: Duration) {
        self.0.store.commits.observe(took.as_secs_f64());
        self.0.store.writes.inc_by(writes);
        self.audited(audit_entries);
    }

    /// The store could not take so many writes.
    pub fn writes_failed(&self, count: u64) {
        self.0.store.writes_failed.inc_by(count);
    }

    /// How far memory is behind the store, and since when it has not been seen to be level.
    pub fn feed_behind(&self, revisions: u64, since: Duration) {
        self.0.store.feed_revisions.set(i64::try_from(revisions).unwrap_or(i64::MAX));
        self.0.store.feed_seconds.set(since.as_secs_f64());
    }

    /// Who serves the store: how many, whether this one leads, how old its beat is, and how many
    /// revisions the slowest is behind.
    pub fn replicas(&self, count: usize, leads: bool, beat_age: Duration, behind: u64) {
        self.0.store.replicas.set(whole(count));
        self.0.store.leads.set(i64::from(leads));
        self.0.store.beat_age.set(beat_age.as_secs_f64());
        self.0.store.replicas_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
    }
}
