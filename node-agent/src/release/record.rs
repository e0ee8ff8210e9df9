//! What is known of the item, durably. The version that comes next reads it, too, and after
//! the way back the one before: fields are only added, optional.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{content::Content, wait::Again};
use crate::{
    platform::files,
    state::{ItemState, ItemVersion},
};

/// The item on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) state: ItemState,
    /// What is under way, or is to be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) coming: Option<Coming>,
    /// When it is tried again. None: what is coming is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) again: Option<Again>,
    /// Which version of the agent wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) agent: Option<String>,
}

/// A version that is being brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Coming {
    pub(super) version: ItemVersion,
    pub(super) content: Content,
    /// The word was, or may have been, given to the watchdog.
    #[serde(default)]
    pub(super) is_ordered: bool,
    /// When the upgrade began that was the last before it: a later one is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<i64>,
    /// The wait before this try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tried: Option<Again>,
}

impl Record {
    /// Something is under way.
    pub(super) const fn is_at_work(&self) -> bool {
        self.coming.is_some() && self.again.is_none()
    }

    /// Whether it tells of this version of the agent. If another one came by hand, or by the host's
    /// package manager, what was settled is so no more.
    pub(super) fn is_of(&self, agent: &str) -> bool {
        self.is_at_work() || self.agent.as_deref().is_none_or(|wrote| wrote == agent)
    }

    /// What there is. One that is damaged is set aside: the control plane offers it anew.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let path = path(folder);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                tracing::error!(%error, "the record of the agent's release was damaged and set aside: {error}");
                fs::rename(&path, path.with_extension("damaged"))?;
                Ok(None)
            }
        }
    }

    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        files::write_atomically(&path(folder), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}

pub(super) fn forget(folder: &Path) -> io::Result<()> {
    match fs::remove_file(path(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => files::sync_folder(folder),
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("agent.json")
}
