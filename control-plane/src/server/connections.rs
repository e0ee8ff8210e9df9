//! Open connections, by whom, so that one of them can be cut.

use std::{collections::HashMap, sync::Arc};

use muster_common::tls::spiffe::Principal;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// All open connections with an identity. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Mutex<HashMap<Principal, Vec<Open>>>>);

#[derive(Debug)]
struct Open {
    serial: String,
    cut: CancellationToken,
    number: u64,
}

/// A place in the registry; leaves with the connection.
#[derive(Debug)]
pub struct Entry {
    registry: Registry,
    principal: Principal,
    number: u64,
    cut: CancellationToken,
}

impl Registry {
    /// Enters a connection, if its identity has fewer than `most`.
    pub fn enter(&self, principal: &Principal, serial: &str, most: usize) -> Option<Entry> {
        let mut all = self.0.lock();
        let open = all.entry(principal.clone()).or_default();
        if open.len() >= most {
            return None;
        }
        let number = open.last().map_or(0, |last| last.number + 1);
        let cut = CancellationToken::new();
        open.push(Open { serial: serial.to_owned(), cut: cut.clone(), number });
        Some(Entry { registry: self.clone(), principal: principal.clone(), number, cut })
    }

    /// Cuts all connections of a principal. Answers how many.
    pub fn cut_principal(&self, principal: &Principal) -> usize {
        let all = self.0.lock();
        let open = all.get(principal).map_or(&[][..], Vec::as_slice);
        open.iter().for_each(|open| open.cut.cancel());
        open.len()
    }

    /// Cuts all connections with a certificate. Answers how many.
    pub fn cut_serial(&self, serial: &str) -> usize {
        let all = self.0.lock();
        let found = all.values().flatten().filter(|open| open.serial == serial);
        found.inspect(|open| open.cut.cancel()).count()
    }
}

impl Entry {
    /// Waits until this connection is to be cut.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut all = self.registry.0.lock();
        if let Some(open) = all.get_mut(&self.principal) {
            open.retain(|open| open.number != self.number);
            if open.is_empty() {
                all.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cut_reaches_exactly_the_connections_it_names() {
        let (registry, a, b) =
            (Registry::default(), Principal::Operator("a".to_owned()), Principal::Operator("b".to_owned()));
        let (first, second) = (registry.enter(&a, "01", 2).unwrap(), registry.enter(&a, "02", 2).unwrap());
        let other = registry.enter(&b, "03", 2).unwrap();
        assert!(registry.enter(&a, "04", 2).is_none(), "over the bound");
        assert_eq!(registry.cut_serial("02"), 1);
        second.cut().await;
        assert!(!first.cut.is_cancelled());
        assert_eq!(registry.cut_principal(&a), 2);
        first.cut().await;
        assert!(!other.cut.is_cancelled());
        drop((first, second));
        assert!(registry.enter(&a, "05", 1).is_some(), "places are given back");
    }
}
