//! The agent's configuration file. A leaf: plain values, each with a default.

mod reader;
mod upgrade;

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use muster_common::{settings, telemetry::Format};
pub use reader::Reader;
use serde::Deserialize;
pub use upgrade::Upgrade;

use crate::redaction;

/// Where the file is looked for.
pub const DEFAULT_PATH: &str = "/etc/muster/node-agent.toml";

/// Where the agent keeps what it knows, unless the file says another place.
const STATE_DIR: &str = "/var/lib/muster/node-agent";

/// How the status file is called.
const STATUS: &str = "status.json";
/// Where programs of the host look for the agent.
const RUN_DIR: &str = "/run/muster";

/// The file. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where the agent keeps its identity, its ledger and its items. Since 0.1.
    pub state_dir: PathBuf,
    /// The host's own rules. Since 0.1.
    pub locks_file: PathBuf,
    /// The root metadata of the signed repository that this host trusts: only root may write
    /// it. Without the file, no extension and no release is taken. Since 0.1.
    pub artifacts_root: PathBuf,
    /// How log lines look. Since 0.1.
    pub log_format: Format,
    /// Where programs of this host reach the agent. Without: `/run/muster/agent.sock`, or
    /// `agent.sock` in the state directory where that cannot be had, and where the state
    /// directory is another one than the default. The status file lies beside it. Since 0.1.
    pub socket: Option<PathBuf>,
    /// Options of the agent that this host decides; they win over the control plane's. An
    /// edit of them counts within seconds, all else with the next start. Since 0.1.
    #[serde(deserialize_with = "settings::from_tables")]
    pub settings: BTreeMap<String, String>,
    /// How long another version of the agent is watched that the control plane brings. Since 0.1.
    pub upgrade: Upgrade,
    /// Where this was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from(STATE_DIR),
            locks_file: PathBuf::from("/etc/muster/locks.toml"),
            artifacts_root: PathBuf::from("/etc/muster/root.json"),
            log_format: Format::Text,
            socket: None,
            settings: BTreeMap::new(),
            upgrade: Upgrade::default(),
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

impl Error {
    /// Whether this user alone cannot use it.
    #[must_use]
    pub fn is_about_rights(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
    }
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

    /// As `read`, and of a file that is no valid configuration what its lines say one by one
    /// about where things are; with what is wrong with it. For who must go on all the same.
    ///
    /// # Errors
    /// If there is no file to read.
    pub fn salvage(path: Option<&Path>) -> Result<(Self, Option<Error>), Error> {
        match Self::read(path) {
            Err(error @ Error::Parse { .. }) => {
                let path = path.unwrap_or(Path::new(DEFAULT_PATH)).to_owned();
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                Ok((Self { path, ..salvaged(&text) }, Some(error)))
            }
            read => read.map(|config| (config, None)),
        }
    }

    /// Checks the options.
    ///
    /// # Errors
    /// The first that cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let fault = |source| Error::Setting { path: self.path.clone(), source };
        self.settings.iter().try_for_each(|(key, value)| settings::check(key, value)).map_err(fault)
    }

    /// Where the socket may be: the first that can be had is.
    #[must_use]
    pub fn sockets(&self) -> Vec<PathBuf> {
        match &self.socket {
            Some(socket) => vec![socket.clone()],
            None => self.run_dirs().into_iter().map(|folder| folder.join("agent.sock")).collect(),
        }
    }

    /// Where the status file may be: beside the socket, or in the state directory while an
    /// agent has none.
    #[must_use]
    pub fn status_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.sockets().iter().map(|path| beside(path)).collect();
        files.push(self.state_dir.join(STATUS));
        files.dedup();
        files
    }

    /// One agent has the host's own place; any other keeps to its state directory.
    fn run_dirs(&self) -> Vec<PathBuf> {
        let own = Some(self.state_dir.clone());
        let of_host = (self.state_dir == Path::new(STATE_DIR)).then(|| PathBuf::from(RUN_DIR));
        of_host.into_iter().chain(own).collect()
    }
}

/// Of a text that is no configuration: each line before the first table that is good by itself.
fn salvaged(text: &str) -> Config {
    let lines = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    let mut found = Config::default();
    for line in lines.filter_map(|line| toml::from_str::<Config>(line).ok()) {
        let default = Config::default();
        let other = |path: PathBuf, default: &Path| (path != default).then_some(path);
        found.state_dir = other(line.state_dir, &default.state_dir).unwrap_or(found.state_dir);
        found.locks_file = other(line.locks_file, &default.locks_file).unwrap_or(found.locks_file);
        found.socket = line.socket.or(found.socket);
    }
    found
}

/// What is wrong with a file. The parser shows the line, and it may have a password.
fn told(error: &toml::de::Error) -> String {
    redaction::redact(error.to_string().trim_end())
}

/// Warns if a file names a proxy with its password, and everybody on the host may read it.
pub fn warn_of_readers(file: &Path, proxy_url: Option<&str>) {
    let is_secret = matches!(proxy_url.map(settings::ProxyUrl::parse), Some(Ok(url)) if url.is_secret());
    if is_secret && std::fs::metadata(file).is_ok_and(|found| found.mode() & 0o004 != 0) {
        let file = file.display();
        tracing::warn!("{file} has the password of a proxy, and every user of this host can read it");
    }
}

/// The status file of an agent that listens there.
#[must_use]
pub fn beside(socket: &Path) -> PathBuf {
    socket.with_file_name(STATUS)
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
    fn only_the_agent_of_the_host_listens_where_programs_look() {
        let sockets = |text: &str| load(text).unwrap().sockets();
        let default = ["/run/muster/agent.sock", "/var/lib/muster/node-agent/agent.sock"];
        assert_eq!(sockets(""), default.map(PathBuf::from));
        assert_eq!(sockets("state-dir = \"/srv/a\"\n"), [PathBuf::from("/srv/a/agent.sock")]);
        let named = load("socket = \"/srv/b/c.sock\"\n").unwrap();
        assert_eq!(named.sockets(), [PathBuf::from("/srv/b/c.sock")]);
        let files = ["/srv/b/status.json", "/var/lib/muster/node-agent/status.json"];
        assert_eq!(named.status_files(), files.map(PathBuf::from));
        let files = ["/run/muster/status.json", "/var/lib/muster/node-agent/status.json"];
        assert_eq!(load("").unwrap().status_files(), files.map(PathBuf::from));
    }

    #[test]
    fn of_a_file_that_is_no_configuration_it_is_still_known_where_things_are() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let salvage = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            Config::salvage(Some(file.path())).unwrap()
        };
        let text = "state-dir = \"/srv/a\"\ncolour = 1\nsocket = \"/srv/b.sock\"\nlocks-file = \"/srv/c\n[settings]\n\
                    state-dir = \"/srv/d\"\n";
        let (config, error) = salvage(text);
        assert!(matches!(error, Some(Error::Parse { .. })));
        let expected = Config {
            state_dir: "/srv/a".into(),
            socket: Some("/srv/b.sock".into()),
            path: file.path().to_owned(),
            ..Config::default()
        };
        assert_eq!(config, expected);
        assert!(salvage("state-dir = \"/srv/a\"\n").1.is_none());
        assert!(Config::salvage(Some(Path::new("/nonexistent.toml"))).is_err());
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        assert!(matches!(Config::load(Some(Path::new("/nonexistent.toml"))), Err(Error::Read { .. })));
    }
}
