//! The ports: connections, handshakes, and who was turned away.

use std::time::Duration;

use muster_common::reason::Reason;
use prometheus_client::metrics::histogram::Histogram;

use super::{
    Metrics,
    book::{
        Book, Counts, Door, DoorKeyExchange, DoorLimit, DoorOutcome, DoorReason, Gauges, Histograms, Word,
        from_zero,
    },
};

/// Of seconds that a handshake takes: from one on loopback to the limit of the door.
const HANDSHAKE: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Doors, and the limits of the calls that each takes.
const DOORS: [(&str, &[&str]); 4] = [
    ("agents", &["sessions", "workloads", "renames"]),
    ("enrollment", &["enrollments", "enrollments-at-once"]),
    ("operators", &["reads", "writes", "watches-per-caller"]),
    ("fleet-console", &["reads"]),
];
/// Limits that each door has.
const LIMITS: [&str; 20] = [
    "connections",
    "descriptors",
    "per-address",
    "per-identity",
    "silent",
    "silent-per-address",
    "half-open",
    "half-open-per-address",
    "waiting",
    "waiting-per-address",
    "hello-within",
    "turn-within",
    "handshake-within",
    "first-request-within",
    "header-list",
    "pending-resets",
    "local-resets",
    "frames",
    "ping",
    "unacknowledged-within",
];
/// Why handshakes fail, or a certificate names nobody.
const FAILURES: [&str; 6] = [
    "refused",
    "silent",
    "half-open",
    Reason::Unauthenticated.as_str(),
    Reason::WrongTrustDomain.as_str(),
    Reason::WrongKindOfCaller.as_str(),
];

#[derive(Debug)]
pub(super) struct Numbers {
    connections: Gauges<Door>,
    handshakes: Counts<DoorKeyExchange>,
    handshakes_failed: Counts<DoorReason>,
    handshake_seconds: Histograms<DoorOutcome>,
    limits_met: Counts<DoorLimit>,
    refused: Counts<Word>,
    enrollments_refused: Counts<Word>,
}

impl Numbers {
    pub(super) fn new(book: &mut Book<'_>) -> Self {
        let failures =
            DOORS.into_iter().flat_map(|(door, _)| FAILURES.map(|reason| DoorReason { door, reason }));
        let limits = DOORS.into_iter().flat_map(|(door, own)| {
            LIMITS.into_iter().chain(own.iter().copied()).map(move |limit| DoorLimit { door, limit })
        });
        let handshakes = Histograms::new_with_constructor(|| Histogram::new(HANDSHAKE));
        Self {
            connections: book.add("connections", "Open connections by door", Gauges::default()),
            handshakes: book.add("handshakes", "TLS handshakes by key exchange", Counts::default()),
            handshakes_failed: book.add(
                "handshakes_failed",
                "TLS handshakes that failed",
                from_zero(Counts::default(), failures),
            ),
            handshake_seconds: book.add(
                "handshake_seconds",
                "How long TLS handshakes took, from their turn on, by outcome",
                handshakes,
            ),
            limits_met: book.add(
                "door_limits",
                "Times that a limit of a door turned someone away, cut someone or kept someone waiting",
                from_zero(Counts::default(), limits),
            ),
            refused: book.add(
                "calls_refused",
                "Calls refused before they reached a service",
                Counts::default(),
            ),
            enrollments_refused: book.add(
                "enrollments_refused",
                "Hosts that were not made nodes",
                Counts::default(),
            ),
        }
    }
}

impl Metrics {
    /// A connection opened or closed.
    pub fn connection(&self, door: &'static str, change: i64) {
        self.0.doors.connections.get_or_create(&Door { door }).inc_by(change);
    }

    /// A handshake went well, and keys were agreed on in this way.
    pub fn handshake(&self, door: &'static str, key_exchange: &'static str) {
        self.0.doors.handshakes.get_or_create(&DoorKeyExchange { door, key_exchange }).inc();
    }

    /// A handshake failed.
    pub fn handshake_failed(&self, door: &'static str, reason: &'static str) {
        self.0.doors.handshakes_failed.get_or_create(&DoorReason { door, reason }).inc();
    }

    /// A handshake came to an end, `done` or not, so long after its turn had come.
    pub fn handshake_took(&self, door: &'static str, outcome: &'static str, took: Duration) {
        let took = took.as_secs_f64();
        self.0.doors.handshake_seconds.get_or_create(&DoorOutcome { door, outcome }).observe(took);
    }

    /// A limit of a door was met; `limit` is its name in the configuration.
    pub fn limit_met(&self, door: &'static str, limit: &'static str) {
        debug_assert!(
            LIMITS.contains(&limit) || DOORS.iter().any(|(it, own)| *it == door && own.contains(&limit)),
            "{limit} of {door} is not shown from zero on"
        );
        self.0.doors.limits_met.get_or_create(&DoorLimit { door, limit }).inc();
    }

    /// A call was refused.
    pub fn refused(&self, reason: &'static str) {
        self.0.doors.refused.get_or_create(&Word { reason }).inc();
    }

    /// A host was not made a node.
    pub fn enrollment_refused(&self, reason: &'static str) {
        self.0.doors.enrollments_refused.get_or_create(&Word { reason }).inc();
    }
}
