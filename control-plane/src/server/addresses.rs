//! How many connections each address has.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Places of all addresses. Cheap to clone. Bounded by the connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// A place, if the address has fewer than `most`.
    pub(super) fn enter(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut all = self.0.lock();
        let count = all.entry(address).or_default();
        (*count < most).then(|| {
            *count += 1;
            Place { addresses: self.clone(), address }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.addresses.0.lock();
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}
