//! Whether the control plane hears a node.

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

/// State of hearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Enrolled, no session yet.
    NeverSeen,
    /// Heard within its interval.
    Online,
    /// One interval missed.
    Late,
    /// Silent for 2.5 intervals, or its stream closed and did not come back.
    Offline,
    /// The control plane itself was away.
    Unknown,
    /// Offline, and its certificate has run out.
    Expired,
    /// Connected, told why, gets nothing.
    Quarantined,
}

/// A state with its story; as stored and as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Which.
    pub state: State,
    /// Since when.
    pub since: UnixMillis,
    /// One stable CamelCase word: `HeartbeatMissed`.
    pub reason: String,
}
