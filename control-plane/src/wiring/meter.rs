//! What the store tells of itself becomes numbers.

use std::{sync::Arc, time::Duration};

use muster_store::{Batch, Meter, Store, Transaction};

use crate::metrics::Metrics;

struct Numbers(Metrics);

/// Has the store say how long it takes.
pub(super) fn measure(store: &Store, metrics: &Metrics) {
    store.measure(Arc::new(Numbers(metrics.clone())));
}

impl Meter for Numbers {
    fn took(&self, transaction: Transaction, took: Duration) {
        self.0.transaction_took(transaction.word(), took);
    }

    fn committed(&self, batch: Batch) {
        self.0.committed(batch.writes, batch.audit_entries, batch.took);
    }

    fn failed(&self, writes: u64) {
        self.0.writes_failed(writes);
    }
}
