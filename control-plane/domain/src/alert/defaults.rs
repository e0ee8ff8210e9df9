//! Rules that every fleet has: as they come, changed or turned off.

use std::time::Duration;

use muster_common::clock::UnixMillis;

use super::{Damping, Kind, Rule, Severity};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Name, kind, severity, how long before an end, for how long, for people.
type Row = (&'static str, Kind, Severity, Duration, Duration, &'static str);

#[rustfmt::skip] // one row per rule, to be read as a table
const ROWS: &[Row] = &[
    ("node-offline", Kind::NodeOffline, Severity::Critical, Duration::ZERO, Duration::ZERO,
        "Nothing was heard of a node for 2.5 heartbeat intervals."),
    ("certificate-expiry", Kind::CertificateExpiry, Severity::Critical, DAY, Duration::ZERO,
        "A node's certificate ends within a day, and was not renewed."),
    ("authority-expiry", Kind::AuthorityExpiry, Severity::Critical, Duration::from_secs(90 * 24 * 3600), Duration::ZERO,
        "The certificate authority ends within 90 days: begin its rotation."),
    ("repository-expiry", Kind::RepositoryExpiry, Severity::Critical, DAY, Duration::ZERO,
        "Metadata of the signed repository end within a day: sign them again."),
    ("item-failed", Kind::ItemFailed, Severity::Warning, Duration::ZERO, MINUTE,
        "An item failed on a host and was taken back, or broke."),
    ("item-rejected", Kind::ItemRejected, Severity::Warning, Duration::ZERO, MINUTE,
        "A host refused an item: its lock file, or the item itself."),
    ("item-stuck", Kind::ItemStuck, Severity::Warning, Duration::ZERO, HOUR,
        "An item is on its way for an hour and does not move."),
    ("drift", Kind::Drift, Severity::Warning, Duration::ZERO, Duration::from_secs(600),
        "A host differs from what it has for ten minutes."),
    ("quarantine", Kind::Quarantine, Severity::Critical, Duration::ZERO, Duration::ZERO,
        "A node is in quarantine: perhaps its host was cloned."),
    ("clock-skew", Kind::ClockSkew, Severity::Warning, Duration::ZERO, Duration::from_secs(600),
        "A host's clock is out of step for ten minutes."),
    ("disk-nearly-full", Kind::DiskNearlyFull, Severity::Warning, Duration::ZERO, Duration::from_secs(300),
        "A disk of a host is nearly full, for five minutes."),
    ("version-unsupported", Kind::VersionUnsupported, Severity::Warning, Duration::ZERO, HOUR,
        "An agent is too far behind the newest release."),
    ("rollout-stopped", Kind::RolloutStopped, Severity::Warning, Duration::ZERO, Duration::ZERO,
        "A rollout stopped by itself, or rolls back: too many nodes failed."),
    ("replica-lost", Kind::ReplicaLost, Severity::Critical, Duration::ZERO, Duration::ZERO,
        "A replica of the control plane beats no more, and did not take its leave."),
];

/// All of them, as they come.
#[must_use]
pub fn built_in() -> Vec<Rule> {
    ROWS.iter().map(rule).collect()
}

/// Whether a rule of this name is built in.
#[must_use]
pub fn is_built_in(name: &str) -> bool {
    ROWS.iter().any(|row| row.0 == name)
}

fn rule(&(name, kind, severity, threshold, hold, description): &Row) -> Rule {
    Rule {
        name: name.to_owned(),
        description: description.to_owned(),
        kind,
        selector: if kind.is_of_nodes() { "*".to_owned() } else { String::new() },
        threshold,
        hold,
        severity,
        receivers: Vec::new(),
        disabled: false,
        damping: Damping::default(),
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
        updated_by: String::new(),
        revision: 0,
    }
}
