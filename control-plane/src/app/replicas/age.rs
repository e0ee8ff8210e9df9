//! How long ago this process was heard by the others.

use std::time::Duration;

use muster_common::clock::Instant;

use super::Replicas;

impl Replicas {
    /// Since its last beat that was stored. `None`: there was none yet.
    #[must_use]
    pub fn beat_age(&self, now: Instant) -> Option<Duration> {
        self.state.lock().beaten.map(|(_, at)| now.saturating_duration_since(at))
    }
}
