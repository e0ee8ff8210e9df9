//! Sessions and what nodes say in them.

use std::time::Duration;

use prometheus_client::metrics::{gauge::Gauge, histogram::Histogram};

use super::{
    Metrics,
    book::{Book, Count, Counts, Gauges, How, State, StateReason, Why, from_zero, whole},
};

/// Of seconds that a heartbeat is late: from a jitter to an agent that is hardly there.
const LATENESS: [f64; 10] = [0.0, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Debug)]
pub(super) struct Numbers {
    heartbeats: Count,
    mass_losses: Count,
    lateness: Histogram,
    live: Gauge,
    opened: Count,
    closed: Counts<Why>,
    nodes: Gauges<State>,
    changes: Counts<StateReason>,
    false_offline: Counts<How>,
    reports: Count,
    item_reports: Count,
    unknown: Count,
}

impl Numbers {
    pub(super) fn new(book: &mut Book<'_>) -> Self {
        Self {
            heartbeats: book.add("heartbeats", "Heartbeats taken", Count::default()),
            mass_losses: book.add("mass_losses", "Times that many nodes were lost at once", Count::default()),
            lateness: book.add(
                "heartbeat_lateness_seconds",
                "How much later than an interval after the last one a heartbeat came",
                Histogram::new(LATENESS),
            ),
            live: book.add("sessions", "Live sessions of nodes", Gauge::default()),
            opened: book.add("sessions_opened", "Sessions that were opened", Count::default()),
            closed: book.add("sessions_closed", "Sessions that ended", Counts::default()),
            nodes: book.add("nodes", "Nodes by liveness", Gauges::default()),
            changes: book.add("liveness_changes", "Nodes that came into a state", Counts::default()),
            false_offline: book.add(
                "false_offline",
                "Nodes told as offline for their silence that were there",
                from_zero(Counts::default(), ["heartbeat", "session"].map(|how| How { how })),
            ),
            reports: book.add("reports_stored", "Nodes' reports that were stored", Count::default()),
            item_reports: book.add(
                "item_reports_stored",
                "Nodes' reports of items that were stored, and acknowledged",
                Count::default(),
            ),
            unknown: book.add(
                "unknown_messages",
                "Messages of kinds this release does not know",
                Count::default(),
            ),
        }
    }
}

impl Metrics {
    /// A heartbeat was taken.
    pub fn heartbeat(&self) {
        self.0.sessions.heartbeats.inc();
    }

    /// It came so much later than an interval after the one before it.
    pub fn heartbeat_late(&self, late: Duration) {
        self.0.sessions.lateness.observe(late.as_secs_f64());
    }

    /// A session opened.
    pub fn session_opened(&self) {
        self.0.sessions.opened.inc();
        self.0.sessions.live.inc();
    }

    /// A session closed; `why` is a goodbye, `lost`, or the reason for which it was ended here.
    pub fn session_closed(&self, why: &'static str) {
        self.0.sessions.closed.get_or_create(&Why { why }).inc();
        self.0.sessions.live.dec();
    }

    /// How many nodes are in a state.
    pub fn nodes_by_liveness(&self, state: &'static str, count: usize) {
        self.0.sessions.nodes.get_or_create(&State { state }).set(whole(count));
    }

    /// A node came into a state.
    pub fn liveness_changed(&self, state: &'static str, reason: &'static str) {
        self.0.sessions.changes.get_or_create(&StateReason { state, reason }).inc();
    }

    /// A node was told as offline and was there, as a `heartbeat` or a new `session` shows.
    pub fn false_offline(&self, how: &'static str) {
        self.0.sessions.false_offline.get_or_create(&How { how }).inc();
    }

    /// Many nodes were lost at once.
    pub fn mass_loss(&self) {
        self.0.sessions.mass_losses.inc();
    }

    /// Reports were stored.
    pub fn reports_stored(&self, count: u64) {
        self.0.sessions.reports.inc_by(count);
    }

    /// A report of items was stored.
    pub fn item_report_stored(&self) {
        self.0.sessions.item_reports.inc();
    }

    /// A message of an unknown kind came.
    pub fn unknown_message(&self) {
        self.0.sessions.unknown.inc();
    }
}
