//! What is known of each extension, durably: a file each, old or new after any crash.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_common::{clock::UnixMillis, digest::Sha256, ids::CommandId};
use serde::{Deserialize, Serialize};

use super::{content::Version, machine::Step};
use crate::{
    platform::{files, process::Mark},
    state::{ItemError, ItemState, ItemVersion},
};

/// One extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) state: ItemState,
    /// The last good version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<Version>,
    /// What is being brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) coming: Option<Version>,
    /// It is to go, by this word. Without one it is the host's own wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) removal: Option<Removal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) journal: Option<Journal>,
    /// The program that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) program: Option<Trace>,
    /// The boot of the host in which that program has done its work and ended; or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) done_in: String,
    /// The host's administrator has taken it away: these contents do not come again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) removed_here: Vec<Sha256>,
    /// Packages lie there that nothing needs any more: they are to go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) untidy: bool,
}

/// Who wants it to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Removal {
    ControlPlane(ItemVersion),
    Host,
}

/// The step that is under way, written before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) step: Step,
    pub(super) began: UnixMillis,
    /// By then it is over, one way or the other.
    pub(super) until: UnixMillis,
    /// How often it was begun: a step that ends the agent again and again is given up.
    pub(super) tries: u32,
    /// What was started for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<Trace>,
    /// Why it leads back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<ItemError>,
}

/// How a later agent knows a program that this one started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Trace {
    Unit(CommandId),
    Child(Mark),
}

impl Record {
    pub(super) fn new(state: ItemState) -> Self {
        Self {
            state,
            current: None,
            coming: None,
            removal: None,
            journal: None,
            program: None,
            done_in: String::new(),
            removed_here: Vec::new(),
            untidy: false,
        }
    }

    /// The units that it knows of.
    pub(super) fn units(&self) -> impl Iterator<Item = CommandId> {
        let journal = self.journal.as_ref().and_then(|journal| journal.trace.as_ref());
        self.program.iter().chain(journal).filter_map(|trace| match trace {
            Trace::Unit(id) => Some(*id),
            Trace::Child(_) => None,
        })
    }

    /// All that there are. One that is damaged is set aside: the others go on.
    pub(super) fn all(folder: &Path) -> io::Result<Vec<(String, Self)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
            let Some(name) = name.map(str::to_owned) else { continue };
            match serde_json::from_slice(&fs::read(&path)?) {
                Ok(record) => all.push((name, record)),
                Err(error) => {
                    tracing::error!(name, %error, "the record of extension {name} was damaged and set aside");
                    fs::rename(&path, path.with_extension("damaged"))?;
                }
            }
        }
        Ok(all)
    }

    pub(super) fn save(&self, folder: &Path, name: &str) -> io::Result<()> {
        files::write_atomically(&path(folder, name), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}

pub(super) fn forget(folder: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(path(folder, name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => files::sync_folder(folder),
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}
