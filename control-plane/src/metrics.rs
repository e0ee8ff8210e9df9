//! Numbers for Prometheus. A leaf: small words as labels, no ids, no domain types.
//!
//! One file per subject, each with its numbers and the calls by which the others take them.
//! `docs/metrics.md` has every one of them; a test holds the page and the registry together.

mod book;
mod doors;
mod orders;
mod process;
mod sessions;
mod store;
mod upkeep;

use std::sync::Arc;

use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};

use book::Book;
pub use book::Registered;
pub use orders::{CHANGES_SHOWN, Standings};

/// All numbers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    registered: Vec<Registered>,
    sessions: sessions::Numbers,
    doors: doors::Numbers,
    store: store::Numbers,
    orders: orders::Numbers,
    upkeep: upkeep::Numbers,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let mut registered = process::register(&mut registry);
        let mut book = Book::new(registry.sub_registry_with_prefix("muster"), &mut registered);
        let version = Info::new(vec![("version", muster_common::build_info::version())]);
        book.put("build", "What this process is", version);
        let (sessions, doors) = (sessions::Numbers::new(&mut book), doors::Numbers::new(&mut book));
        let (store, orders) = (store::Numbers::new(&mut book), orders::Numbers::new(&mut book));
        let upkeep = upkeep::Numbers::new(&mut book);
        Self(Arc::new(Inner { registry, registered, sessions, doors, store, orders, upkeep }))
    }
}

impl Metrics {
    /// All of it in OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    /// Every number that there can be; `encode` leaves out families that nothing was counted of.
    #[must_use]
    pub fn registered(&self) -> &[Registered] {
        &self.0.registered
    }
}

#[cfg(test)]
mod tests;
