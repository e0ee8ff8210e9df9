//! What is remembered of the control plane.

use muster_common::generation::Generation;
use serde::{Deserialize, Serialize};

/// What the host remembers of its control plane between sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memo {
    /// Last history seen; 0: none.
    pub epoch: u64,
    /// How people call this node.
    pub display_name: String,
    /// The newest generation that it was told: what a control plane that was restored from a
    /// backup may not know any more.
    #[serde(default)]
    pub newest: Generation,
    /// By how much the control plane's clock was last ahead of the host's.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
}

/// A clock that moved by less than this is not news.
const CLOCK_MOVED_MS: u64 = 1_000;

impl Memo {
    /// The control plane's clock is ahead by this much.
    pub fn heard_clock(&mut self, ahead_ms: i64) {
        let known = self.clock_ahead_ms.is_some_and(|known| known.abs_diff(ahead_ms) < CLOCK_MOVED_MS);
        if !known {
            self.clock_ahead_ms = Some(ahead_ms);
        }
    }
}
