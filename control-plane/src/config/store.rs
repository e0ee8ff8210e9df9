//! `[store]`.

use std::{fs, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::template::{quoted, span};

/// The password of the database's user, for those who keep no file of it.
const PASSWORD: &str = "MUSTER_STORE_PASSWORD";

/// Where what is known is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Store {
    /// `sqlite:PATH` or `postgres://USER@HOST:PORT/DATABASE`; empty: SQLite in the state directory.
    pub url: String,
    /// File with the password of the database's user; empty: the environment has it, or none is needed.
    pub password_file: PathBuf,
    /// Connections that read for callers.
    pub readers: usize,
    /// How long to wait for another process that writes.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// How long a server may take over one statement.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// How long writes wait for a server that was lost.
    #[serde(with = "humantime_serde")]
    pub failover_within: Duration,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: String::new(),
            password_file: PathBuf::new(),
            readers: 2,
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            failover_within: Duration::from_secs(20),
        }
    }
}

impl Store {
    /// The password of the database's user. `None`: none was given.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn password(&self) -> std::io::Result<Option<String>> {
        if self.password_file.as_os_str().is_empty() {
            return Ok(std::env::var(PASSWORD).ok());
        }
        let text = fs::read_to_string(&self.password_file)?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 6] {
        [
            (
                "url",
                quoted(&self.url),
                "sqlite:PATH, or postgres://USER@HOST:PORT/DATABASE?sslrootcert=FILE. Empty: muster.db in state-dir.",
            ),
            (
                "password-file",
                quoted(self.password_file.display()),
                "File with the password of the database's user. Empty: MUSTER_STORE_PASSWORD in the environment, if any.",
            ),
            ("readers", self.readers.to_string(), "Connections that read for callers. 1 to 64."),
            (
                "lock-timeout",
                span(self.lock_timeout),
                "How long a write waits for another process that writes. 100ms to 1 minute.",
            ),
            (
                "statement-timeout",
                span(self.statement_timeout),
                "How long a server may take over one statement. 1s to 10 minutes.",
            ),
            (
                "failover-within",
                span(self.failover_within),
                "How long writes wait for a server that was lost, before they are refused. At most 2 minutes.",
            ),
        ]
    }

    /// What cannot be, each as a sentence.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=64).contains(&self.readers) {
            problems.push(format!("store.readers is {}; it must be from 1 to 64", self.readers));
        }
        let second = Duration::from_secs(1);
        for (key, value, least, most) in [
            ("lock-timeout", self.lock_timeout, second / 10, second * 60),
            ("statement-timeout", self.statement_timeout, second, second * 600),
            ("failover-within", self.failover_within, Duration::ZERO, second * 120),
        ] {
            if !(least..=most).contains(&value) {
                let format = humantime::format_duration;
                problems.push(format!(
                    "store.{key} is {}; it must be from {} to {}",
                    format(value),
                    format(least),
                    format(most)
                ));
            }
        }
        problems
    }
}
