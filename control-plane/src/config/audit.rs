//! `[audit]`.

use std::time::Duration;

use serde::Deserialize;

/// How often the audit is signed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Audit {
    /// After this many entries.
    pub checkpoint_every_entries: u64,
    /// After this long, if there is at least one.
    #[serde(with = "humantime_serde")]
    pub checkpoint_every: Duration,
}

impl Default for Audit {
    fn default() -> Self {
        Self { checkpoint_every_entries: 1000, checkpoint_every: Duration::from_secs(10 * 60) }
    }
}

impl Audit {
    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 2] {
        [
            (
                "checkpoint-every-entries",
                self.checkpoint_every_entries.to_string(),
                "The newest entry is signed after this many. 1 to 1000000.",
            ),
            (
                "checkpoint-every",
                super::template::span(self.checkpoint_every),
                "And after this long, if there is a new one. 1s to 1 day.",
            ),
        ]
    }

    pub(super) fn problem(&self) -> Option<String> {
        let entries = self.checkpoint_every_entries;
        (!(1..=1_000_000).contains(&entries))
            .then(|| format!("audit.checkpoint-every-entries is {entries}; it must be from 1 to 1000000"))
    }
}
