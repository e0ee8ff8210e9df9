//! Connections that have not said a word. They hold no permit of anybody: when
//! there are too many, the oldest makes room. A client of ours speaks at once,
//! so whoever is silent longest is the one who has nothing to say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// All silent connections of a door. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Silent {
    all: Arc<Mutex<All>>,
    most: usize,
    per_address: usize,
}

#[derive(Debug, Default)]
struct All {
    last: u64,
    by_number: BTreeMap<u64, (IpAddr, CancellationToken)>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

/// One of them; leaves when it speaks, or is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    silent: Silent,
    number: u64,
    cut: CancellationToken,
}

impl Silent {
    pub(super) fn new(most: usize, per_address: usize) -> Self {
        Self { all: Arc::default(), most, per_address }
    }

    /// Enters a connection. Answers the limit for which an older one had to go.
    pub(super) fn enter(&self, address: IpAddr) -> (Waiting, Option<&'static str>) {
        let mut all = self.all.lock();
        let of_address = all.by_address.get(&address).map_or(0, BTreeSet::len);
        let (oldest, limit) = if of_address >= self.per_address {
            (all.by_address.get(&address).and_then(|numbers| numbers.first().copied()), "silent-per-address")
        } else if all.by_number.len() >= self.most {
            (all.by_number.keys().next().copied(), "silent")
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
        (Waiting { silent: self.clone(), number, cut }, oldest.map(|_| limit))
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
        self.silent.all.lock().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_silent_connection_makes_room_first_of_its_own_address() {
        let (silent, a, b) = (Silent::new(3, 2), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
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
