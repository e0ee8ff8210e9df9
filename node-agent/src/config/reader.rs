//! The options of the configuration file as they are now: an edit counts without a
//! restart. A file that cannot be used changes nothing.

use std::{collections::BTreeMap, sync::Arc};

use muster_common::error_chain::Chain;
use parking_lot::Mutex;

use super::{Config, Error, warn_of_readers};
use crate::watched::Watched;

/// Follows the file that a configuration was read from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Mutex<Cached>>);

#[derive(Debug)]
struct Cached {
    /// As it was read last; what needs a restart, as the process began with it.
    config: Config,
    file: Watched,
    /// Why the options are those of an earlier file.
    error: Option<String>,
    /// How often it was read.
    version: u64,
}

impl Reader {
    /// Begins with what was read.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut file = Watched::through_links(config.path.clone());
        // It may have been edited since; but that none is there is no fault.
        if !file.is_there() {
            file.is_news();
        }
        let mut cached = Cached { config, file, error: None, version: 0 };
        cached.refresh();
        Self(Arc::new(Mutex::new(cached)))
    }

    /// The options of now.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut cached = self.0.lock();
        cached.refresh();
        cached.config.settings.clone()
    }

    /// Another number once the options may be others.
    #[must_use]
    pub fn version(&self) -> u64 {
        let mut cached = self.0.lock();
        cached.refresh();
        cached.version
    }
}

impl Cached {
    fn refresh(&mut self) {
        if !self.file.is_news() {
            return;
        }
        self.version += 1;
        match Config::load(Some(&self.config.path)) {
            Ok(config) => self.take(config),
            Err(error) => self.stay(&error),
        }
    }

    fn stay(&mut self, error: &Error) {
        if matches!(error, Error::Read { .. }) {
            self.file.again();
        }
        let error = Chain(error).to_string();
        if self.error.as_ref() != Some(&error) {
            tracing::error!(error, "the options stay as they are: {error}");
        }
        self.error = Some(error);
    }

    fn take(&mut self, config: Config) {
        let rest = Config { settings: config.settings.clone(), ..self.config.clone() };
        if rest != config {
            tracing::warn!(
                "what {} says besides its settings counts from the next start",
                config.path.display()
            );
        }
        if self.error.take().is_some() {
            tracing::info!("{} can be used again", config.path.display());
        }
        self.config.settings = config.settings;
        warn_of_readers(&self.config.path, self.config.settings.get("proxy.url").map(String::as_str));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_counts_and_a_file_that_cannot_be_used_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node-agent.toml");
        let write = |text: &str| {
            std::fs::write(folder.path().join("new"), text).unwrap();
            std::fs::rename(folder.path().join("new"), &path).unwrap();
        };
        write("[settings]\nlog-level = \"warn\"\n");
        let reader = Reader::new(Config::load(Some(&path)).unwrap());
        let error = || reader.0.lock().error.clone();
        let level = || reader.settings().get("log-level").cloned();
        assert_eq!((level().as_deref(), error()), (Some("warn"), None));
        for (wrong, why) in [
            ("[settings]\nlog-level = \"loud\"\n", "must be one of"),
            ("[settings]\nproxy.url = \"https://u:hunter2@p\"\n", "must begin with http://"),
            ("[settings]\nproxy.url = \"http://u:hunter2@p\n", "not a valid configuration"),
            ("settings = \"http://u:hunter2@p\"\n", "not a valid configuration"),
            ("colour = 1\n", "unknown field"),
        ] {
            write(wrong);
            assert_eq!(level().as_deref(), Some("warn"), "{wrong}");
            let error = error().expect(wrong);
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(level().as_deref(), Some("warn"), "an editor may be about to write it anew");
        assert!(error().unwrap().contains("cannot read"));
        write("state-dir = \"/elsewhere\"\n[settings]\nproxy.url = \"http://p:1\"\n");
        assert_eq!((level(), error()), (None, None));
        assert_eq!(reader.settings()["proxy.url"], "http://p:1");
        assert_eq!(reader.0.lock().config.state_dir, Config::default().state_dir, "until the next start");
    }

    #[test]
    fn an_edit_before_the_first_look_counts_and_a_fault_in_reading_passes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node-agent.toml");
        std::fs::write(&path, "[settings]\nlog-level = \"warn\"\n").unwrap();
        let config = Config::load(Some(&path)).unwrap();
        std::fs::write(&path, "[settings]\nlog-level = \"debug\"\n").unwrap();
        let reader = Reader::new(config);
        assert_eq!(reader.settings()["log-level"], "debug");
        let source = std::io::Error::from(rustix::io::Errno::MFILE);
        reader.0.lock().stay(&Error::Read { path, source });
        assert_eq!(reader.settings()["log-level"], "debug");
        assert!(reader.0.lock().error.is_none());
    }
}
