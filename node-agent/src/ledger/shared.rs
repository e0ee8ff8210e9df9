//! The ledger for several tasks. It flushes to disk, so nobody holds it on a
//! thread that drives others.

use std::sync::Arc;

use muster_common::tasks;
use parking_lot::Mutex;

use super::Ledger;

/// A ledger in many hands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    /// Shares a ledger.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self(Arc::new(Mutex::new(ledger)))
    }

    /// Works with the ledger on a thread where waiting for the disk harms nobody.
    ///
    /// # Panics
    /// If the work panics.
    pub async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Ledger) -> T + Send + 'static) -> T {
        let ledger = Arc::clone(&self.0);
        tasks::blocking(move || work(&mut ledger.lock())).await
    }
}
