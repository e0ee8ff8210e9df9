//! Named truths about a node.

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

/// One named truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `ClockOk`.
    pub kind: String,
    /// Whether it holds. `None`: not known.
    pub holds: Option<bool>,
    /// One CamelCase word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Since when.
    pub since: UnixMillis,
}
