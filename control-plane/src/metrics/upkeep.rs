//! What goes on by itself: workers, identities, the audit, the repository.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;

use super::{
    Metrics,
    book::{Book, Count, Counts, Gauges, Kind, Role, Seconds, What, Word, Worker, from_zero},
};

#[derive(Debug)]
pub(super) struct Numbers {
    recovered: Count,
    quarantined: Counts<Word>,
    repository_ends: Gauges<Role>,
    authority_behind: Count,
    worked: prometheus_client::metrics::family::Family<Worker, Seconds>,
    failures: Counts<Worker>,
    alerts_told: Counts<What>,
    pruned: Counts<What>,
    svids: Counts<Kind>,
    spans: Counts<What>,
    audit_entries: Count,
    audit_signed: Count,
    audit_signed_at: Gauge,
    audit_broken: Gauge,
}

impl Numbers {
    pub(super) fn new(book: &mut Book<'_>) -> Self {
        Self {
            recovered: book.add("nodes_recovered", "Nodes that recovered their identity", Count::default()),
            quarantined: book.add("nodes_quarantined", "Nodes put in quarantine", Counts::default()),
            repository_ends: book.add(
                "repository_expires_in_seconds",
                "Until the metadata of a role of the signed repository ends",
                Gauges::default(),
            ),
            authority_behind: book.add(
                "authority_behind",
                "Times that the authority's files did not fit the store",
                Count::default(),
            ),
            worked: book.add("worker_seconds", "Time that workers were at work", Default::default()),
            failures: book.add("worker_failures", "Times that a worker failed", Counts::default()),
            alerts_told: book.add(
                "alerts_told",
                "What receivers of alerts were told, or not",
                from_zero(Counts::default(), ["told", "failed", "dead"].map(|what| What { what })),
            ),
            pruned: book.add("pruned", "What was taken away because it was old", Counts::default()),
            svids: book.add("workload_svids", "Identities of programs that were issued", Counts::default()),
            spans: book.add(
                "spans",
                "Parts of traces that were exported, dropped or failed",
                Counts::default(),
            ),
            audit_entries: book.add(
                "audit_entries",
                "Entries of the audit that were written",
                Count::default(),
            ),
            audit_signed: book.add(
                "audit_checkpoints",
                "Checkpoints of the audit that were signed",
                Count::default(),
            ),
            audit_signed_at: book.add(
                "audit_signed_timestamp_seconds",
                "When the audit was last held against its signatures and signed, in Unix time",
                Gauge::default(),
            ),
            audit_broken: book.add(
                "audit_chains_broken",
                "Chains of the audit that were changed in the store",
                Gauge::default(),
            ),
        }
    }
}

impl Metrics {
    /// A node recovered its identity.
    pub fn recovered(&self) {
        self.0.upkeep.recovered.inc();
    }

    /// A node was put in quarantine.
    pub fn quarantined(&self, reason: &'static str) {
        self.0.upkeep.quarantined.get_or_create(&Word { reason }).inc();
    }

    /// Until a role of the signed repository ends; below zero: since it did.
    pub fn repository_expires_in(&self, role: &'static str, seconds: i64) {
        self.0.upkeep.repository_ends.get_or_create(&Role { role }).set(seconds);
    }

    /// The authority's files did not fit the store.
    pub fn authority_behind(&self) {
        self.0.upkeep.authority_behind.inc();
    }

    /// A worker was at work for so long.
    pub fn worked(&self, worker: &'static str, time: Duration) {
        self.0.upkeep.worked.get_or_create(&Worker { worker }).inc_by(time.as_secs_f64());
    }

    /// A worker begins: its failures are shown from zero on.
    pub fn worker_begins(&self, worker: &'static str) {
        drop(self.0.upkeep.failures.get_or_create(&Worker { worker }));
    }

    /// A worker failed, and tries again.
    pub fn worker_failed(&self, worker: &'static str) {
        self.0.upkeep.failures.get_or_create(&Worker { worker }).inc();
    }

    /// So much was told to receivers of alerts, could not be told, or is not tried any more.
    pub fn alerts_told(&self, what: &'static str, count: u64) {
        self.0.upkeep.alerts_told.get_or_create(&What { what }).inc_by(count);
    }

    /// Parts of traces were `exported`, `dropped` for want of room, or `failed`: the collector did
    /// not take them.
    pub fn spans(&self, what: &'static str, count: u64) {
        self.0.upkeep.spans.get_or_create(&What { what }).inc_by(count);
    }

    /// Old things were taken away.
    pub fn pruned(&self, what: &'static str, count: u64) {
        self.0.upkeep.pruned.get_or_create(&What { what }).inc_by(count);
    }

    /// Identities of programs were issued: `x509` or `jwt`.
    pub fn svids_issued(&self, kind: &'static str, count: usize) {
        self.0.upkeep.svids.get_or_create(&Kind { kind }).inc_by(count as u64);
    }

    /// So many entries of the audit were written.
    pub(super) fn audited(&self, entries: u64) {
        self.0.upkeep.audit_entries.inc_by(entries);
    }

    /// A chain of the audit was signed at this second.
    pub fn audit_signed(&self, at: i64) {
        self.0.upkeep.audit_signed.inc();
        self.0.upkeep.audit_signed_at.set(at);
    }

    /// A chain of the audit does not hold any more.
    pub fn audit_chain_broken(&self) {
        self.0.upkeep.audit_broken.inc();
    }
}
