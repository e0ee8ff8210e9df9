//! The sections of a lock file, and what can be wrong with what stands in them.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use muster_common::settings;
use serde::Deserialize;

use super::{
    Error, commands::Commands, extensions::Extensions, limits::Caps, upgrade::Upgrade, workload::Workload,
};

/// All sections; a profile has the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rules {
    pub(super) paths: Paths,
    pub(super) hooks: Hooks,
    pub(super) commands: Commands,
    #[serde(deserialize_with = "settings::from_tables")]
    pub(super) settings: BTreeMap<String, String>,
    pub(super) extensions: Extensions,
    pub(super) upgrade: Upgrade,
    pub(super) limits: Caps,
    pub(super) workload: Workload,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Paths {
    pub(super) allow: Vec<PathBuf>,
    pub(super) deny: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Hooks {
    pub(super) allow: bool,
}

impl Rules {
    /// Refuses what parses and cannot be meant. `path`: of the file, to tell.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        let mut roots = self.paths.allow.iter().chain(&self.paths.deny);
        if let Some(root) = roots.find(|root| !is_normal(root)) {
            return Err(Error::Root { path: path.to_owned(), root: root.clone() });
        }
        self.commands.check(path)?;
        self.workload.check(path)?;
        for (key, value) in &self.settings {
            settings::check(key, value).map_err(|source| Error::Setting { path: path.to_owned(), source })?;
        }
        Ok(())
    }
}

impl Paths {
    /// The allowed root under which a path lies, if no denied one covers it.
    pub(super) fn root_of(&self, path: &Path) -> Option<&Path> {
        let is_denied = self.deny.iter().any(|denied| path.starts_with(denied));
        let under = |root: &&PathBuf| path.starts_with(root) && path != root.as_path();
        let may = is_normal(path) && !is_denied;
        self.allow.iter().filter(|_| may).find(under).map(PathBuf::as_path)
    }

    /// The rule that refuses a path.
    pub(super) fn refusing(&self, path: &Path) -> &'static str {
        let is_denied = self.deny.iter().any(|denied| path.starts_with(denied));
        if is_denied { "paths.deny" } else { "paths.allow" }
    }
}

fn is_normal(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && (text == b"/" || text[1..].split(|byte| *byte == b'/').all(plain))
}
