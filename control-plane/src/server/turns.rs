//! Turns at the handshake, so that those who came first are done before those
//! who came last have given up. No address can have all of them. A turn is for
//! computing: one that waits for its peer longer than a moment goes on without.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All turns of a door. Cheap to clone. Bounded by the connections.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    everyone: Arc<Semaphore>,
    addresses: Arc<Mutex<HashMap<IpAddr, Share>>>,
    per_address: usize,
}

#[derive(Debug)]
struct Share {
    turns: Arc<Semaphore>,
    users: usize,
}

/// A turn; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _everyone: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    _user: User,
}

/// Someone of an address who has a turn or waits for one.
#[derive(Debug)]
struct User {
    turns: Turns,
    address: IpAddr,
}

impl Turns {
    pub(super) fn new(all: usize, per_address: usize) -> Self {
        Self { everyone: Arc::new(Semaphore::new(all)), addresses: Arc::default(), per_address }
    }

    /// Waits for a turn, in the order of asking.
    pub(super) async fn take(&self, address: IpAddr) -> Turn {
        let (user, share) = self.enter(address);
        // First of one's own address: who waits there takes nothing from others.
        let share = owned(share).await;
        let everyone = owned(Arc::clone(&self.everyone)).await;
        Turn { _everyone: everyone, _share: share, _user: user }
    }

    fn enter(&self, address: IpAddr) -> (User, Arc<Semaphore>) {
        let mut addresses = self.addresses.lock();
        let share = addresses
            .entry(address)
            .or_insert_with(|| Share { turns: Arc::new(Semaphore::new(self.per_address)), users: 0 });
        share.users += 1;
        (User { turns: self.clone(), address }, Arc::clone(&share.turns))
    }
}

/// A permit of a semaphore that is never closed.
pub(super) async fn owned(permits: Arc<Semaphore>) -> OwnedSemaphorePermit {
    match permits.acquire_owned().await {
        Ok(permit) => permit,
        Err(_) => std::future::pending().await,
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut addresses = self.turns.addresses.lock();
        if let Some(share) = addresses.get_mut(&self.address) {
            share.users -= 1;
            if share.users == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_address_cannot_have_all_turns() {
        let (turns, a, b) = (Turns::new(3, 2), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held = (turns.take(a).await, turns.take(a).await);
        assert!(turns.take(a).now_or_never().is_none(), "its share is used up");
        let other = turns.take(b).now_or_never().expect("there is room for others");
        assert!(turns.take(b).now_or_never().is_none(), "all turns are taken");
        drop(held.0);
        assert!(turns.take(b).now_or_never().is_some());
        drop((held.1, other));
        assert!(turns.addresses.lock().is_empty(), "nothing is kept of who is gone");
    }
}
