//! The few questions on which database engines differ; everything else is one
//! SQL text for all.

/// One engine's answers.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Begins a transaction that will write.
    pub(crate) begin_write: &'static str,
    /// Begins a transaction that reads one consistent state.
    pub(crate) begin_read: &'static str,
    /// Reads the revision row, so that no other writer can take it before this
    /// transaction ends.
    pub(crate) take_feed: &'static str,
    /// Answers whether the table of migrations is there: one row or none.
    pub(crate) has_schema: &'static str,
    /// Numbered from 1, in order: name and statements.
    pub(crate) migrations: &'static [(&'static str, &'static str)],
}

/// SQLite: a writer holds the whole database from its begin, so reading the
/// revision row is taking it.
pub(crate) static SQLITE: Dialect = Dialect {
    begin_write: "BEGIN IMMEDIATE",
    begin_read: "BEGIN",
    take_feed: "SELECT revision, audit_place FROM feed",
    has_schema: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'",
    migrations: &[
        ("start", include_str!("../migrations/sqlite/0001_start.sql")),
        ("ended-operations", include_str!("../migrations/sqlite/0002_ended_operations.sql")),
        ("audit-checkpoints", include_str!("../migrations/sqlite/0003_audit_checkpoints.sql")),
        ("identity", include_str!("../migrations/sqlite/0004_identity.sql")),
        ("own-since", include_str!("../migrations/sqlite/0005_own_since.sql")),
        ("rollouts", include_str!("../migrations/sqlite/0006_rollouts.sql")),
        ("blobs", include_str!("../migrations/sqlite/0007_blobs.sql")),
        ("secrets", include_str!("../migrations/sqlite/0008_secrets.sql")),
        ("profile-versions", include_str!("../migrations/sqlite/0009_profile_versions.sql")),
        ("groups", include_str!("../migrations/sqlite/0010_groups.sql")),
        ("lanes", include_str!("../migrations/sqlite/0011_lanes.sql")),
        ("output-limits", include_str!("../migrations/sqlite/0012_output_limits.sql")),
        ("schedules", include_str!("../migrations/sqlite/0013_schedules.sql")),
        ("pacing", include_str!("../migrations/sqlite/0014_pacing.sql")),
        ("command-results", include_str!("../migrations/sqlite/0015_command_results.sql")),
        ("workload-issuers", include_str!("../migrations/sqlite/0016_workload_issuers.sql")),
        ("artifacts", include_str!("../migrations/sqlite/0017_artifacts.sql")),
        ("requested-labels", include_str!("../migrations/sqlite/0018_requested_labels.sql")),
        ("histories", include_str!("../migrations/sqlite/0019_histories.sql")),
    ],
};
