//! The few questions on which database engines differ; everything else is one
//! SQL text for all.

/// One engine's answers.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Reads the revision row, so that no other writer can take it before this
    /// transaction ends.
    pub(crate) take_feed: &'static str,
    /// Answers whether the table of migrations is there: one row or none.
    pub(crate) has_schema: &'static str,
    /// Takes away what processes left of themselves that ended long ago; run when a store is opened.
    pub(crate) tidy: Option<&'static str>,
    /// In the order of their numbers.
    pub(crate) migrations: &'static [Migration],
}

/// One step of the schema. Both engines have the same steps under the same
/// numbers; those that were there before an engine was are one step of it.
#[derive(Debug)]
pub(crate) struct Migration {
    /// Which schema the database has after it.
    pub(crate) number: u64,
    /// What it is called.
    pub(crate) name: &'static str,
    /// Its statements.
    pub(crate) sql: &'static str,
}

/// Migrations of one engine: number, name, file.
macro_rules! migrations {
    ($folder:literal: $($number:literal $name:literal $file:literal,)*) => {
        &[$(Migration {
            number: $number,
            name: $name,
            sql: include_str!(concat!("../migrations/", $folder, "/", $file)),
        }),*]
    };
}

/// SQLite: a writer holds the whole database from its begin, so reading the
/// revision row is taking it.
pub(crate) static SQLITE: Dialect = Dialect {
    take_feed: "SELECT revision, audit_place FROM feed",
    has_schema: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'",
    tidy: None,
    migrations: migrations! { "sqlite":
        1 "start" "0001_start.sql",
        2 "ended-operations" "0002_ended_operations.sql",
        3 "audit-checkpoints" "0003_audit_checkpoints.sql",
        4 "identity" "0004_identity.sql",
        5 "own-since" "0005_own_since.sql",
        6 "rollouts" "0006_rollouts.sql",
        7 "blobs" "0007_blobs.sql",
        8 "secrets" "0008_secrets.sql",
        9 "profile-versions" "0009_profile_versions.sql",
        10 "groups" "0010_groups.sql",
        11 "lanes" "0011_lanes.sql",
        12 "output-limits" "0012_output_limits.sql",
        13 "schedules" "0013_schedules.sql",
        14 "pacing" "0014_pacing.sql",
        15 "command-results" "0015_command_results.sql",
        16 "workload-issuers" "0016_workload_issuers.sql",
        17 "artifacts" "0017_artifacts.sql",
        18 "requested-labels" "0018_requested_labels.sql",
        19 "histories" "0019_histories.sql",
        20 "replicas" "0020_replicas.sql",
        21 "issuer-keys" "0021_issuer_keys.sql",
        22 "alerts" "0022_alerts.sql",
        23 "traces" "0023_traces.sql",
        24 "events" "0024_events.sql",
        25 "schedule-traces" "0025_schedule_traces.sql",
        26 "authority-keys" "0026_authority_keys.sql",
        27 "alert-indexes" "0027_alert_indexes.sql",
    },
};

/// PostgreSQL: writers of all replicas wait for each other at the revision row.
pub(crate) static POSTGRES: Dialect = Dialect {
    take_feed: "SELECT revision, audit_place FROM feed FOR UPDATE",
    // `migrations` is a name that others use, too: ours says whose it is.
    has_schema: "SELECT 1 FROM pg_catalog.pg_class AS found \
                 JOIN pg_catalog.pg_namespace AS place ON place.oid = found.relnamespace \
                 WHERE place.nspname = current_schema() AND found.relname = 'migrations' \
                 AND pg_catalog.obj_description(found.oid, 'pg_class') = 'Muster'",
    // Nobody asks for the last batch of a writer that was lost a day ago.
    tidy: Some("DELETE FROM store_writers WHERE at < now() - interval '1 day'"),
    migrations: migrations! { "postgres":
        18 "start" "0018_start.sql",
        19 "histories" "0019_histories.sql",
        20 "replicas" "0020_replicas.sql",
        21 "issuer-keys" "0021_issuer_keys.sql",
        22 "alerts" "0022_alerts.sql",
        23 "traces" "0023_traces.sql",
        24 "events" "0024_events.sql",
        25 "schedule-traces" "0025_schedule_traces.sql",
        26 "authority-keys" "0026_authority_keys.sql",
        27 "alert-indexes" "0027_alert_indexes.sql",
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_march_together() {
        let numbers = |dialect: &Dialect| {
            dialect.migrations.iter().map(|step| (step.number, step.name)).collect::<Vec<_>>()
        };
        let (sqlite, postgres) = (numbers(&SQLITE), numbers(&POSTGRES));
        assert!(sqlite.iter().map(|(number, _)| *number).eq(1..=sqlite.len() as u64));
        let (start, later) = postgres.split_first().unwrap();
        assert_eq!(
            later,
            &sqlite[usize::try_from(start.0).unwrap()..],
            "a migration of one engine has no counterpart in the other"
        );
    }
}
