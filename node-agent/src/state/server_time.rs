//! The control plane's clock, as far as the host has learnt it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use muster_common::clock::UnixMillis;

/// How far the control plane's clock is ahead of the host's. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServerTime(Arc<AtomicI64>);

impl ServerTime {
    /// The control plane said `theirs` when the host's clock showed `ours`.
    pub fn learn(&self, theirs: UnixMillis, ours: UnixMillis) {
        self.0.store(theirs.0.saturating_sub(ours.0), Ordering::Relaxed);
    }

    /// What the control plane's clock shows when the host's shows `ours`.
    #[must_use]
    pub fn at(&self, ours: UnixMillis) -> UnixMillis {
        UnixMillis(ours.0.saturating_add(self.0.load(Ordering::Relaxed)))
    }

    /// Milliseconds by which it is ahead.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
