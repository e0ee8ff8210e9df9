//! Pieces of desired state, and where each stands on a host.

use std::{fmt, str::FromStr};

use muster_common::{clock::UnixMillis, digest::Sha256, generation::Generation, reason::Reason};
use serde::{Deserialize, Serialize};

use crate::effective::REMOVAL;

/// Items that a node may tell of.
pub const MAX_ITEMS: usize = 256;
/// Paths that a node may tell to have drifted, of one item.
pub const MAX_DRIFT: usize = 8;
/// Items that a node can be told to have. Half: those it gives up and those it
/// gets may be on it at the same time.
pub const MAX_WANTED: usize = MAX_ITEMS / 2;

/// Which piece: `settings`, `release/agent`, `bundle/NAME` or `extension/NAME`. In this order they
/// come first where a node cannot have all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ItemName {
    /// The agent's own options.
    Settings,
    /// The agent's own version.
    Release,
    /// A set of files.
    Bundle(String),
    /// A program that the agent keeps.
    Extension(String),
}

/// The text names no item of a kind this release knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an item: \"settings\", \"release/agent\", \"bundle/NAME\" or \"extension/NAME\"")]
pub struct InvalidItem(String);

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("settings"),
            Self::Release => f.write_str("release/agent"),
            Self::Bundle(name) => write!(f, "bundle/{name}"),
            Self::Extension(name) => write!(f, "extension/{name}"),
        }
    }
}

impl FromStr for ItemName {
    type Err = InvalidItem;
    fn from_str(text: &str) -> Result<Self, InvalidItem> {
        match text.split_once('/') {
            None if text == "settings" => Ok(Self::Settings),
            Some(("release", "agent")) => Ok(Self::Release),
            Some(("bundle", name)) if is_resource_name(name) => Ok(Self::Bundle(name.to_owned())),
            Some(("extension", name)) if is_resource_name(name) => Ok(Self::Extension(name.to_owned())),
            _ => Err(InvalidItem(text.chars().take(128).collect())),
        }
    }
}

impl TryFrom<String> for ItemName {
    type Error = InvalidItem;
    fn try_from(text: String) -> Result<Self, InvalidItem> {
        text.parse()
    }
}

impl From<ItemName> for String {
    fn from(name: ItemName) -> Self {
        name.to_string()
    }
}

impl ItemName {
    /// The capability that an agent must have to know items of this kind.
    #[must_use]
    pub const fn capability(&self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Release => "release-v1",
            Self::Bundle(_) => "bundle",
            Self::Extension(_) => "extensions-v1",
        }
    }

    /// Whether two versions are the same thing to have. A release is what its number says: with
    /// files for one more kind of host it has other bytes, and is no other release.
    #[must_use]
    pub fn is_same(&self, a: &ItemVersion, b: &ItemVersion) -> bool {
        match self {
            Self::Release if !a.is_removal() && !b.is_removal() => a.version == b.version,
            Self::Release | Self::Settings | Self::Bundle(_) | Self::Extension(_) => a.sha256 == b.sha256,
        }
    }

    /// Whether of several that are assigned the strongest decides alone. Options come from all.
    #[must_use]
    pub const fn has_one_giver(&self) -> bool {
        !matches!(self, Self::Settings)
    }
}

/// Whether a bundle, profile or assignment can have this name:
/// `[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`.
#[must_use]
pub fn is_resource_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// One version of one item, as offered or as held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemVersion {
    /// Place in the history.
    pub generation: Generation,
    /// For people.
    pub version: String,
    /// Of the payload.
    pub sha256: Sha256,
}

impl ItemVersion {
    /// The end of an item, in the place of a version.
    #[must_use]
    pub const fn removal(generation: Generation) -> Self {
        Self { generation, version: String::new(), sha256: REMOVAL }
    }

    /// Whether nothing of the item is to be there.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        self.sha256 == REMOVAL
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Running is attempted.
    Applied,
    /// The host already had exactly this.
    Unchanged,
    /// Tried, failed, returned to running.
    RolledBack,
    /// Refused before anything changed.
    Rejected,
    /// Failed, and the way back failed too.
    Broken,
    /// Taken from the host.
    Removed,
}

impl Outcome {
    /// Whether the host said no.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::RolledBack | Self::Rejected | Self::Broken)
    }
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The item itself.
    Content,
    /// This host.
    Host,
    /// The way between.
    Network,
    /// Us.
    ControlPlane,
}

/// An error as the host saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    /// Stable. `None`: one this release does not know.
    pub reason: Option<Reason>,
    /// Whose fault. `None`: not said.
    pub cause: Option<Cause>,
    /// For people, at most 1 KiB.
    pub message: String,
    /// Last part of a hook's output, at most 4 KiB, as text.
    pub output: String,
}

/// Where one item stands on one host, as the host said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemState {
    /// Which.
    pub item: ItemName,
    /// On the host now. `None`: nothing of it.
    pub running: Option<ItemVersion>,
    /// The newest the host has tried.
    pub attempted: Option<ItemVersion>,
    /// Of attempted.
    pub outcome: Option<Outcome>,
    /// Of attempted, when it failed.
    pub error: Option<ItemError>,
    /// Of the host's clock.
    pub changed_at: UnixMillis,
    /// Where the host differs from what runs, and what it corrected: at most
    /// [`MAX_DRIFT`], one for each path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// Where the host is with what it attempts, while there is no outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Of what runs, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// A step on the way to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Stable, such as `downloading`; at most 32 bytes.
    pub step: String,
    /// Of the step, 0 to 100.
    pub percent: u8,
    /// When it began, by the host's clock.
    pub since: UnixMillis,
    /// For people, at most 1 KiB.
    pub message: String,
}

/// Whether what runs is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// It is.
    pub healthy: bool,
    /// For people, at most 1 KiB.
    pub message: String,
    /// Since when, by the host's clock.
    pub since: UnixMillis,
}

/// A path at which a host was found to be other than a bundle says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Where on the host.
    pub path: String,
    /// What differs, for people.
    pub what: String,
    /// SHA-256 of the content that the bundle has. `None`: none.
    pub before: Option<Sha256>,
    /// SHA-256 of the content that was found. `None`: none.
    pub after: Option<Sha256>,
    /// Unified diff, at most 4 KiB; empty where the host tells none.
    pub diff: String,
    /// When it was noticed, by the host's clock.
    pub noticed_at: UnixMillis,
    /// The host is again as the bundle says.
    pub corrected: bool,
    /// Why the last correction failed; at most 1 KiB.
    pub error: String,
}

impl ItemState {
    /// Whether the host has what it should have. Of a release that is no longer assigned nothing is
    /// asked: no agent can take itself away.
    #[must_use]
    pub fn has(&self, wanted: &ItemVersion) -> bool {
        match &self.running {
            _ if wanted.is_removal() && self.item == ItemName::Release => true,
            Some(running) => self.item.is_same(running, wanted),
            None => wanted.is_removal(),
        }
    }

    /// Whether the host is on its way to this, at its generation or a newer one, and
    /// has not said what became of it: whatever runs meanwhile is not the end of it.
    #[must_use]
    pub fn is_in_flight(&self, wanted: &ItemVersion) -> bool {
        self.is_under_way() && self.attempts(wanted)
    }

    /// Whether the host is on its way to something, and has not said what became of it.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.outcome.is_none() && self.progress.is_some()
    }

    fn attempts(&self, wanted: &ItemVersion) -> bool {
        let is_it = |it: &ItemVersion| self.item.is_same(it, wanted) && it.generation >= wanted.generation;
        self.attempted.as_ref().is_some_and(is_it)
    }

    /// Whether the last attempt came to nothing.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.outcome.is_some_and(Outcome::is_refusal)
    }

    /// Whether what runs says that it is not well.
    #[must_use]
    pub fn is_unhealthy(&self) -> bool {
        self.health.as_ref().is_some_and(|health| !health.healthy)
    }

    /// Whether the host differs now from what it runs.
    #[must_use]
    pub fn has_drifted(&self) -> bool {
        self.drift.iter().any(|drift| !drift.corrected)
    }

    /// Whether the host goes on trying what it attempted: it failed, and not for
    /// what the item itself is. A host that is broken waits for a person, unless what broke
    /// is an extension, and for the host's sake: that begins anew by itself.
    #[must_use]
    pub fn is_retried(&self) -> bool {
        let cause = self.error.as_ref().and_then(|error| error.cause);
        match self.outcome {
            Some(Outcome::Rejected | Outcome::RolledBack) => {
                matches!(cause, Some(Cause::Host | Cause::Network | Cause::ControlPlane))
            }
            Some(Outcome::Broken) => {
                matches!(self.item, ItemName::Extension(_)) && cause == Some(Cause::Host)
            }
            Some(Outcome::Applied | Outcome::Unchanged | Outcome::Removed) | None => false,
        }
    }

    /// Whether the host has refused this, at its generation or a newer
    /// one, for what it is: only another word about it can change that.
    #[must_use]
    pub fn has_settled_against(&self, wanted: &ItemVersion) -> bool {
        self.has_refused(wanted) && !self.is_retried()
    }

    /// Whether the host has refused this, at its generation or a newer one, for
    /// whatever cause.
    #[must_use]
    pub fn has_refused(&self, wanted: &ItemVersion) -> bool {
        self.is_refused() && self.attempts(wanted)
    }
}
