//! Connections that keep us waiting: for a first word, or for the rest of a
//! handshake. They hold no permit of anybody: when there are too many, the oldest
//! makes room. A client of ours answers at once, so whoever is waited for longest
//! is the one who has nothing to say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// All connections of a door that are waited for. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Waiters {
    all: Arc<Mutex<All>>,
    most: Most,
}

/// How many may be waited for, and the names of these limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) all: usize,
    pub(super) per_address: usize,
    pub(super) names: (&'static str, &'static str),
}

#[derive(Debug, Default)]
struct All {
    last: u64,
    by_number: BTreeMap<u64, (IpAddr, CancellationToken)>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

/// One of them; leaves when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    waiters: Waiters,
    number: u64,
    cut: CancellationToken,
}

impl Waiters {
    pub(super) fn new(most: Most) -> Self {
        Self { all: Arc::default(), most }
    }

    /// Enters a connection. Answers the limit for which an older one had to go.
    pub(super) fn enter(&self, address: IpAddr) -> (Waiting, Option<&'static str>) {
        let mut all = self.all.lock();
        let of_address = all.by_address.get(&address).map_or(0, BTreeSet::len);
        let (name, name_per_address) = self.most.names;
        let (oldest, limit) = if of_address >= self.most.per_address {
            (all.by_address.get(&address).and_then(|numbers| numbers.first().copied()), name_per_address)
        } else if all.by_number.len() >= self.most.all {
            (all.by_number.keys().next().copied(), name)
        } else {
            (None, "")
        };
        if let Some(cut) = oldest.and_then(|oldest| all.leave(oldest)) {
            cut.cancel();
        }
        all.last += 1;
        let (number, cut) = (all.last, CancellationToken::new());
        all.by_number.insert(number, (address, cut.clone()));
        all.by_address.entry(address).or_default().insert(number);
        drop(all);
        (Waiting { waiters: self.clone(), number, cut }, oldest.map(|_| limit))
    }
}

impl All {
    fn leave(&mut self, number: u64) -> Option<CancellationToken> {
        let (address, cut) = self.by_number.remove(&number)?;
        if let Some(numbers) = self.by_address.get_mut(&address) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(cut)
    }
}

impl Waiting {
    /// Waits until a newer one needs the room.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiters.all.lock().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_first_of_its_own_address() {
        let most = Most { all: 3, per_address: 2, names: ("silent", "silent-per-address") };
        let (silent, a, b) = (Waiters::new(most), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (first, none) = silent.enter(a);
        assert_eq!(none, None);
        let (second, third) = (silent.enter(b).0, silent.enter(a).0);
        let (fourth, limit) = silent.enter(a);
        assert_eq!(limit, Some("silent-per-address"));
        assert!(first.cut.is_cancelled() && !second.cut.is_cancelled() && !third.cut.is_cancelled());
        drop(third);
        let (fifth, limit) = silent.enter(b);
        assert_eq!(limit, None, "one has spoken");
        let (_sixth, limit) = silent.enter(IpAddr::from([10, 0, 0, 3]));
        assert_eq!(limit, Some("silent"));
        assert!(second.cut.is_cancelled() && !fourth.cut.is_cancelled() && !fifth.cut.is_cancelled());
    }
}
