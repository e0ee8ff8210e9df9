//! Numbers for Prometheus. A leaf: small words as labels, no ids, no domain types.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

type Count = Counter<u64, AtomicU64>;
type Seconds = Counter<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Door {
    door: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorReason {
    door: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorKeyExchange {
    door: &'static str,
    key_exchange: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLimit {
    door: &'static str,
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worker {
    worker: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Role {
    role: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lane {
    lane: &'static str,
}

/// All numbers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    heartbeats: Count,
    mass_losses: Count,
    sessions: Gauge,
    sessions_opened: Count,
    reports: Count,
    item_reports: Count,
    unknown: Count,
    queues_full: Family<Queue, Count>,
    shed: Family<Lane, Count>,
    store_behind: Gauge<f64, AtomicU64>,
    nodes: Family<State, Gauge>,
    connections: Family<Door, Gauge>,
    handshakes: Family<DoorKeyExchange, Count>,
    handshakes_failed: Family<DoorReason, Count>,
    limits_met: Family<DoorLimit, Count>,
    refused: Family<Word, Count>,
    recovered: Count,
    quarantined: Family<Word, Count>,
    authority_behind: Count,
    enrollments_refused: Family<Word, Count>,
    pruned: Family<What, Count>,
    worked: Family<Worker, Seconds>,
    svids: Family<Kind, Count>,
    audit_signed: Count,
    audit_broken: Gauge,
    repository_ends: Family<Role, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Inner {
            registry: Registry::with_prefix("muster"),
            heartbeats: Count::default(),
            mass_losses: Count::default(),
            sessions: Gauge::default(),
            sessions_opened: Count::default(),
            reports: Count::default(),
            item_reports: Count::default(),
            unknown: Count::default(),
            queues_full: Family::default(),
            shed: Family::default(),
            store_behind: Gauge::default(),
            nodes: Family::default(),
            connections: Family::default(),
            handshakes: Family::default(),
            handshakes_failed: Family::default(),
            limits_met: Family::default(),
            refused: Family::default(),
            recovered: Count::default(),
            quarantined: Family::default(),
            authority_behind: Count::default(),
            enrollments_refused: Family::default(),
            pruned: Family::default(),
            worked: Family::default(),
            svids: Family::default(),
            audit_signed: Count::default(),
            audit_broken: Gauge::default(),
            repository_ends: Family::default(),
        };
        register(&mut all);
        Self(Arc::new(all))
    }
}

fn register(all: &mut Inner) {
    let registry = &mut all.registry;
    let version = Info::new(vec![("version", muster_common::build_info::version())]);
    registry.register("build", "What this process is", version);
    registry.register("heartbeats", "Heartbeats taken", all.heartbeats.clone());
    registry.register("mass_losses", "Times that many nodes were lost at once", all.mass_losses.clone());
    registry.register("sessions", "Live sessions of nodes", all.sessions.clone());
    registry.register("sessions_opened", "Sessions that were opened", all.sessions_opened.clone());
    registry.register("reports_stored", "Nodes' reports that were stored", all.reports.clone());
    registry.register(
        "item_reports_stored",
        "Nodes' reports of items that were stored, and acknowledged",
        all.item_reports.clone(),
    );
    registry.register(
        "unknown_messages",
        "Messages of kinds this release does not know",
        all.unknown.clone(),
    );
    registry.register("queue_full", "Times that a queue had no room", all.queues_full.clone());
    registry.register("shed", "Work turned away or put off by lane", all.shed.clone());
    registry.register(
        "writes_behind_seconds",
        "How long the oldest write has waited that waits for the store",
        all.store_behind.clone(),
    );
    registry.register("nodes", "Nodes by liveness", all.nodes.clone());
    registry.register("connections", "Open connections by door", all.connections.clone());
    registry.register("handshakes", "TLS handshakes by key exchange", all.handshakes.clone());
    registry.register("handshakes_failed", "TLS handshakes that failed", all.handshakes_failed.clone());
    registry.register("nodes_recovered", "Nodes that recovered their identity", all.recovered.clone());
    registry.register("nodes_quarantined", "Nodes put in quarantine", all.quarantined.clone());
    registry.register(
        "repository_expires_in_seconds",
        "Until the metadata of a role of the signed repository ends",
        all.repository_ends.clone(),
    );
    registry.register(
        "authority_behind",
        "Times that the authority's files did not fit the store",
        all.authority_behind.clone(),
    );
    registry.register(
        "door_limits",
        "Times that a limit of a door turned someone away, cut someone or kept someone waiting",
        all.limits_met.clone(),
    );
    registry.register("calls_refused", "Calls refused before they reached a service", all.refused.clone());
    registry.register("worker_seconds", "Time that workers were at work", all.worked.clone());
    registry.register("pruned", "What was taken away because it was old", all.pruned.clone());
    registry.register(
        "enrollments_refused",
        "Hosts that were not made nodes",
        all.enrollments_refused.clone(),
    );
    registry.register("workload_svids", "Identities of programs that were issued", all.svids.clone());
    registry.register(
        "audit_checkpoints",
        "Checkpoints of the audit that were signed",
        all.audit_signed.clone(),
    );
    registry.register(
        "audit_chains_broken",
        "Chains of the audit that were changed in the store",
        all.audit_broken.clone(),
    );
}

impl Metrics {
    /// A heartbeat was taken.
    pub fn heartbeat(&self) {
        self.0.heartbeats.inc();
    }

    /// A session opened.
    pub fn session_opened(&self) {
        self.0.sessions_opened.inc();
        self.0.sessions.inc();
    }

    /// A session closed.
    pub fn session_closed(&self) {
        self.0.sessions.dec();
    }

    /// Reports were stored.
    pub fn reports_stored(&self, count: u64) {
        self.0.reports.inc_by(count);
    }

    /// A report of items was stored.
    pub fn item_report_stored(&self) {
        self.0.item_reports.inc();
    }

    /// A message of an unknown kind came.
    pub fn unknown_message(&self) {
        self.0.unknown.inc();
    }

    /// A queue had no room.
    pub fn queue_full(&self, queue: &'static str) {
        self.0.queues_full.get_or_create(&Queue { queue }).inc();
    }

    /// Work of a lane was turned away, or put off.
    pub fn shed(&self, lane: &'static str) {
        self.0.shed.get_or_create(&Lane { lane }).inc();
    }

    /// How long the oldest write waits.
    pub fn store_behind(&self, behind: std::time::Duration) {
        self.0.store_behind.set(behind.as_secs_f64());
    }

    /// How many nodes are in a state.
    pub fn nodes_by_liveness(&self, state: &'static str, count: usize) {
        self.0.nodes.get_or_create(&State { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Many nodes were lost at once.
    pub fn mass_loss(&self) {
        self.0.mass_losses.inc();
    }

    /// A connection opened or closed.
    pub fn connection(&self, door: &'static str, change: i64) {
        self.0.connections.get_or_create(&Door { door }).inc_by(change);
    }

    /// A handshake went well, and keys were agreed on in this way.
    pub fn handshake(&self, door: &'static str, key_exchange: &'static str) {
        self.0.handshakes.get_or_create(&DoorKeyExchange { door, key_exchange }).inc();
    }

    /// A handshake failed.
    pub fn handshake_failed(&self, door: &'static str, reason: &'static str) {
        self.0.handshakes_failed.get_or_create(&DoorReason { door, reason }).inc();
    }

    /// A limit of a door was met; `limit` is its name in the configuration.
    pub fn limit_met(&self, door: &'static str, limit: &'static str) {
        self.0.limits_met.get_or_create(&DoorLimit { door, limit }).inc();
    }

    /// A call was refused.
    pub fn refused(&self, reason: &'static str) {
        self.0.refused.get_or_create(&Word { reason }).inc();
    }

    /// A node recovered its identity.
    pub fn recovered(&self) {
        self.0.recovered.inc();
    }

    /// A node was put in quarantine.
    pub fn quarantined(&self, reason: &'static str) {
        self.0.quarantined.get_or_create(&Word { reason }).inc();
    }

    /// Until a role of the signed repository ends; below zero: since it did.
    pub fn repository_expires_in(&self, role: &'static str, seconds: i64) {
        self.0.repository_ends.get_or_create(&Role { role }).set(seconds);
    }

    /// The authority's files did not fit the store.
    pub fn authority_behind(&self) {
        self.0.authority_behind.inc();
    }

    /// Old things were taken away.
    pub fn pruned(&self, what: &'static str, count: u64) {
        self.0.pruned.get_or_create(&What { what }).inc_by(count);
    }

    /// A worker was at work for so long.
    pub fn worked(&self, worker: &'static str, time: std::time::Duration) {
        self.0.worked.get_or_create(&Worker { worker }).inc_by(time.as_secs_f64());
    }

    /// A host was not made a node.
    pub fn enrollment_refused(&self, reason: &'static str) {
        self.0.enrollments_refused.get_or_create(&Word { reason }).inc();
    }

    /// Identities of programs were issued: `x509` or `jwt`.
    pub fn svids_issued(&self, kind: &'static str, count: usize) {
        self.0.svids.get_or_create(&Kind { kind }).inc_by(count as u64);
    }

    /// A chain of the audit was signed.
    pub fn audit_signed(&self) {
        self.0.audit_signed.inc();
    }

    /// A chain of the audit does not hold any more.
    pub fn audit_chain_broken(&self) {
        self.0.audit_broken.inc();
    }

    /// All of it in OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_appear_under_their_names() {
        let metrics = Metrics::default();
        metrics.heartbeat();
        metrics.handshake_failed("agents", "timeout");
        let text = metrics.encode();
        assert!(text.contains("muster_heartbeats_total 1"), "{text}");
        assert!(
            text.contains("muster_handshakes_failed_total{door=\"agents\",reason=\"timeout\"} 1"),
            "{text}"
        );
    }
}
