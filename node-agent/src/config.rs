//! The agent's configuration file. A leaf: plain values, each with a default.

mod reader;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use muster_common::{settings, telemetry::Format};
pub use reader::Reader;
use serde::Deserialize;

use crate::redaction;

/// Where the file is looked for.
pub const DEFAULT_PATH: &str = "/etc/muster/node-agent.toml";

/// The file. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where the agent keeps its identity, its ledger and its items. Since 0.1.
    pub state_dir: PathBuf,
    /// The host's own rules. Since 0.1.
    pub locks_file: PathBuf,
    /// How log lines look. Since 0.1.
    pub log_format: Format,
    /// Options of the agent that this host decides; they win over the control plane's. An
    /// edit of them counts within seconds, all else with the next start. Since 0.1.
    #[serde(deserialize_with = "settings::from_tables")]
    pub settings: BTreeMap<String, String>,
    /// Where this was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/muster/node-agent"),
            locks_file: PathBuf::from("/etc/muster/locks.toml"),
            log_format: Format::Text,
            settings: BTreeMap::new(),
            path: PathBuf::from(DEFAULT_PATH),
        }
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or has keys that do not exist.
    #[error("{} is not a valid configuration: {why}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why, without what may be a credential.
        why: String,
    },
    /// An option of the agent that cannot be.
    #[error("{} cannot be used", path.display())]
    Setting {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: settings::Invalid,
    },
}

impl Config {
    /// Reads a file. `None`: the default one, which need not exist.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let config = Self::read(path)?;
        config.check()?;
        Ok(config)
    }

    /// As `load`, but options may be what cannot be.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn read(path: Option<&Path>) -> Result<Self, Error> {
        let found = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match std::fs::read_to_string(found) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
                return Ok(Self::default());
            }
            Err(source) => return Err(Error::Read { path: found.to_owned(), source }),
        };
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| Error::Parse { path: found.to_owned(), why: told(&error) })?;
        config.path = found.to_owned();
        Ok(config)
    }

    /// Checks the options.
    ///
    /// # Errors
    /// The first that cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let fault = |source| Error::Setting { path: self.path.clone(), source };
        self.settings.iter().try_for_each(|(key, value)| settings::check(key, value)).map_err(fault)
    }
}

/// What is wrong with a file. The parser shows the line, and it may have a password.
fn told(error: &toml::de::Error) -> String {
    redaction::redact(error.to_string().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()))
    }

    #[test]
    fn every_key_has_a_default() {
        let loaded = load("").unwrap();
        assert_eq!(loaded, Config { path: loaded.path.clone(), ..Config::default() });
    }

    #[test]
    fn unknown_keys_and_impossible_options_are_told() {
        assert!(matches!(load("state-dirs = \"/x\"\n"), Err(Error::Parse { .. })));
        assert!(matches!(load("[settings]\ncolour = \"red\"\n"), Err(Error::Setting { .. })));
        assert!(matches!(load("[settings]\nlog-level = \"loud\"\n"), Err(Error::Setting { .. })));
        assert!(load("[settings]\nlog-level = \"debug\"\n").is_ok());
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        assert!(matches!(Config::load(Some(Path::new("/nonexistent.toml"))), Err(Error::Read { .. })));
    }
}
