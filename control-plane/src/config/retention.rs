//! What is kept, and how long.

use std::time::Duration;

use serde::Deserialize;

/// What is kept, and how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Retention {
    /// Newest revisions of the change feed.
    pub revisions: u64,
    /// Ended operations, with their commands and output.
    #[serde(with = "humantime_serde")]
    pub operations: Duration,
    /// Ended operations that are kept at most, the newest ones.
    pub operations_at_most: u64,
    /// What happened.
    #[serde(with = "humantime_serde")]
    pub events: Duration,
    /// Events that are kept at most, the newest ones.
    pub events_at_most: u64,
    /// What became of times that are kept of each schedule, the newest ones.
    pub schedule_fires: u32,
    /// How often to look.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            revisions: 1_000_000,
            operations: Duration::from_secs(30 * 24 * 3600),
            operations_at_most: 100_000,
            events: Duration::from_secs(30 * 24 * 3600),
            events_at_most: 500_000,
            schedule_fires: 100,
            every: Duration::from_secs(60),
        }
    }
}

impl Retention {
    /// What cannot be, each as a sentence.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.revisions < 10 {
            problems.push(format!("retention.revisions is {}; it must be at least 10", self.revisions));
        }
        if self.operations < Duration::from_secs(1) {
            problems.push("retention.operations is less than 1s".to_owned());
        }
        if self.operations_at_most < 1 {
            problems.push("retention.operations-at-most is 0; it must be at least 1".to_owned());
        }
        if self.events < Duration::from_secs(1) {
            problems.push("retention.events is less than 1s".to_owned());
        }
        if self.events_at_most < 1 {
            problems.push("retention.events-at-most is 0; it must be at least 1".to_owned());
        }
        if self.schedule_fires < 10 {
            problems.push(format!(
                "retention.schedule-fires is {}; it must be at least 10, as many as are shown",
                self.schedule_fires
            ));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&self.every) {
            problems.push("retention.every must be from 1s to 1 day".to_owned());
        }
        problems
    }
}
