//! `[authority]`: an authority of your own.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

/// Files of an authority that is not ours: cert-manager, step-ca, Vault or people
/// write them anew, and they are taken as the next slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Authority {
    /// Issuing certificate first, root last. Empty: none.
    pub chain: PathBuf,
    /// Of the issuing certificate.
    pub key: PathBuf,
    /// How often they are looked at.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
}

impl Default for Authority {
    fn default() -> Self {
        Self { chain: PathBuf::new(), key: PathBuf::new(), every: Duration::from_secs(30) }
    }
}

impl Authority {
    /// Both files, if there are any.
    #[must_use]
    pub fn files(&self) -> Option<(&PathBuf, &PathBuf)> {
        (!self.chain.as_os_str().is_empty()).then_some((&self.chain, &self.key))
    }

    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 3] {
        use super::template::{quoted, span};
        [
            (
                "chain",
                quoted(self.chain.display()),
                "PEM file of your own authority: its issuing certificate first, its root last. Empty: the authority that init made. When the file changes, it becomes the next slot; `ca activate` puts it to work.",
            ),
            ("key", quoted(self.key.display()), "PEM file with the key of that issuing certificate."),
            ("every", span(self.every), "How often the files are looked at. 1s to 1 day."),
        ]
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.chain.as_os_str().is_empty() != self.key.as_os_str().is_empty() {
            problems.push("authority.chain and authority.key go together".to_owned());
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&self.every) {
            problems.push("authority.every must be from 1s to 1 day".to_owned());
        }
        problems
    }
}
