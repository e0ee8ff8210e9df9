//! "Nodes matched by this selector get this item at this version."

mod staged;

use std::fmt;

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

pub use staged::{Staged, Touch};

use crate::item::ItemName;

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Name.
    pub name: String,
    /// As written; parsed by whoever matches.
    pub selector: String,
    /// The nodes that whoever made it may deploy to: it reaches only those. A
    /// written `Reach`.
    pub scope: String,
    /// What its nodes get; see `staged` for those that get something else.
    pub target: Target,
    /// What rollouts have made of it.
    pub staged: Staged,
    /// Higher wins.
    pub priority: i32,
    /// First write.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// By whom.
    pub updated_by: String,
    /// Revision of the last write; the etag, and part of the generation of what it gives.
    pub revision: u64,
}

/// What an assignment gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A fixed version of a bundle.
    Bundle {
        /// Name.
        name: String,
        /// Version.
        version: u64,
    },
    /// A settings profile, as it is now and will be.
    Settings {
        /// Name.
        profile: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle { name, version } => write!(f, "version {version} of bundle {name:?}"),
            Self::Settings { profile } => write!(f, "settings profile {profile:?}"),
        }
    }
}

impl Target {
    /// The item its nodes get.
    #[must_use]
    pub fn item(&self) -> ItemName {
        match self {
            Self::Bundle { name, .. } => ItemName::Bundle(name.clone()),
            Self::Settings { .. } => ItemName::Settings,
        }
    }
}
