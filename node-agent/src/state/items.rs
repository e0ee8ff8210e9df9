//! Desired state: what is offered, and what became of it.

use muster_common::{
    clock::UnixMillis, digest::Sha256, generation::Generation, reason::Reason, sealing::Sealed,
};
use serde::{Deserialize, Serialize};

/// One version of one item, as offered or as held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemVersion {
    /// Its place in the control plane's history.
    pub generation: Generation,
    /// For people.
    pub version: String,
    /// Of the payload bytes.
    pub sha256: Sha256,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Not known yet: the host is at it.
    UnderWay,
    /// It runs.
    Applied,
    /// The host already had exactly this.
    Unchanged,
    /// Tried, failed, and returned to what ran before.
    RolledBack,
    /// Refused before anything on the host changed.
    Rejected,
    /// Failed, and the way back failed too.
    Broken,
    /// Taken off the host.
    Removed,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The item's own bytes, paths or hooks.
    Content,
    /// This host: disk full, permission, lock file.
    Host,
    /// The way to the control plane.
    Network,
    /// The control plane.
    ControlPlane,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    /// Stable reason.
    pub reason: Reason,
    /// Whose fault.
    pub cause: Cause,
    /// For people; at most 1 KiB.
    pub message: String,
    /// Last part of a hook's output; at most 4 KiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<u8>,
}

/// Where one item stands on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemState {
    /// `settings`, `bundle/NAME`.
    pub item: String,
    /// What is on the host. `None`: nothing of it.
    pub running: Option<ItemVersion>,
    /// The newest the host has tried.
    pub attempted: Option<ItemVersion>,
    /// Of `attempted`.
    pub outcome: Outcome,
    /// Of `attempted`, when it failed.
    pub error: Option<ItemError>,
    /// When the outcome was known, by the host's clock.
    pub changed_at: UnixMillis,
    /// Where the host differs from what runs, and what was corrected: one for each path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// Where the host is with what it attempts, while that is under way.
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

/// A path at which the host was found to be other than a bundle says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Where.
    pub path: String,
    /// What differs, for people.
    pub what: String,
    /// Of the content that the bundle has. `None`: none.
    pub before: Option<Sha256>,
    /// Of the content that was found. `None`: none.
    pub after: Option<Sha256>,
    /// From the bundle to what was found; at most 4 KiB.
    pub diff: String,
    /// By the host's clock.
    pub noticed_at: UnixMillis,
    /// It is again as the bundle says.
    pub corrected: bool,
    /// Why the last correction failed; at most 1 KiB.
    pub error: String,
}

/// A version to be brought onto the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// `settings`, `bundle/NAME`.
    pub item: String,
    /// Which version.
    pub version: ItemVersion,
    /// Its bytes, opaque until their hash was checked.
    pub payload: Vec<u8>,
    /// Its protected contents, for this host alone.
    pub sealed: Option<Sealed>,
    /// Its place in a trace of which the parts are to be told; empty: nobody collects them.
    pub traceparent: String,
}

/// An item to be taken off the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// `settings`, `bundle/NAME`.
    pub item: String,
    /// Newer than what it removes.
    pub generation: Generation,
    /// Its place in a trace; empty: nobody collects that.
    pub traceparent: String,
}
