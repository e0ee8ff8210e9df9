//! Turns at the handshake, so that those who came first are done before those
//! who came last have given up. No address can have all of them, and they begin at a
//! rate that leaves the cores to those who are in. A turn is for computing: one that
//! waits for its peer longer than a moment goes on without.
//!
//! Who waits stands in a line with an end. Whoever finds it full is told so at
//! once, by the end of its connection: it costs nobody anything, and another replica
//! may have room.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use muster_common::clock::Clock;
use muster_domain::herd::Slots;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::limits::Limits;

/// All turns of a door. Cheap to clone. Bounded by the connections.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    everyone: Arc<Semaphore>,
    line: Arc<Mutex<Line>>,
    most: Most,
    clock: Clock,
}

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// At once.
    pub(super) all: usize,
    /// Of them for one address.
    pub(super) per_address: usize,
    /// Who may wait for one.
    pub(super) waiting: usize,
    /// Of them from one address.
    pub(super) waiting_per_address: usize,
    /// That begin in a second.
    pub(super) per_second: u32,
}

impl Most {
    pub(super) const fn of(limits: &Limits) -> Self {
        Self {
            all: limits.handshakes,
            per_address: limits.handshakes_per_address,
            waiting: limits.waiting,
            waiting_per_address: limits.waiting_per_address,
            per_second: limits.handshakes_per_second,
        }
    }
}

#[derive(Debug)]
struct Line {
    waiting: usize,
    addresses: HashMap<IpAddr, Share>,
    slots: Slots,
}

#[derive(Debug)]
struct Share {
    turns: Arc<Semaphore>,
    users: usize,
    waiting: usize,
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
    waits: bool,
}

impl Turns {
    pub(super) fn new(most: Most, clock: Clock) -> Self {
        // A tenth of a second's worth at once: a door at rest lets a few in without a wait.
        let slots = Slots::new(most.per_second, most.per_second / 10);
        let line = Line { waiting: 0, addresses: HashMap::new(), slots };
        Self { everyone: Arc::new(Semaphore::new(most.all)), line: Arc::new(Mutex::new(line)), most, clock }
    }

    /// Waits for a turn, in the order of asking.
    ///
    /// # Errors
    /// The name of the limit, if too many wait, or it would not come `within` this time.
    pub(super) async fn take(&self, address: IpAddr, within: Duration) -> Result<Turn, &'static str> {
        const LATE: &str = "turn-within";
        let until = self.clock.monotonic() + within;
        let (mut user, share) = self.enter(address)?;
        let both = async {
            // First of one's own address: who waits there takes nothing from others.
            (owned(share).await, owned(Arc::clone(&self.everyone)).await)
        };
        let (share, everyone) = timeout(within, both).await.map_err(|_| LATE)?;
        // A place that comes too late is not taken: nobody would use it, and all behind would wait for it.
        let now = self.clock.monotonic();
        let wait = self.line.lock().slots.take(now, until - now).ok_or(LATE)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        user.has_turn();
        Ok(Turn { _everyone: everyone, _share: share, _user: user })
    }

    fn enter(&self, address: IpAddr) -> Result<(User, Arc<Semaphore>), &'static str> {
        let mut line = self.line.lock();
        let of_address = line.addresses.get(&address).map_or(0, |share| share.waiting);
        if of_address >= self.most.waiting_per_address {
            return Err("waiting-per-address");
        }
        if line.waiting >= self.most.waiting {
            return Err("waiting");
        }
        line.waiting += 1;
        let turns = || Arc::new(Semaphore::new(self.most.per_address));
        let share =
            line.addresses.entry(address).or_insert_with(|| Share { turns: turns(), users: 0, waiting: 0 });
        share.users += 1;
        share.waiting += 1;
        Ok((User { turns: self.clone(), address, waits: true }, Arc::clone(&share.turns)))
    }
}

impl Line {
    fn waits_no_more(&mut self, address: IpAddr) {
        self.waiting -= 1;
        if let Some(share) = self.addresses.get_mut(&address) {
            share.waiting -= 1;
        }
    }
}

impl User {
    fn has_turn(&mut self) {
        self.waits = false;
        self.turns.line.lock().waits_no_more(self.address);
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
        let mut line = self.turns.line.lock();
        if self.waits {
            line.waits_no_more(self.address);
        }
        if let Some(share) = line.addresses.get_mut(&self.address) {
            share.users -= 1;
            if share.users == 0 {
                line.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const WITHIN: Duration = Duration::from_secs(10);

    fn turns(all: usize, per_address: usize) -> Turns {
        let most = Most { all, per_address, waiting: 3, waiting_per_address: 2, per_second: 1000 };
        Turns::new(most, Clock::System)
    }

    #[tokio::test]
    async fn one_address_cannot_have_all_turns() {
        let turns = turns(3, 2);
        let held = (turns.take(A, WITHIN).await.unwrap(), turns.take(A, WITHIN).await.unwrap());
        assert!(turns.take(A, WITHIN).now_or_never().is_none(), "its share is used up");
        let other = turns.take(B, WITHIN).now_or_never().expect("there is room for others");
        assert!(turns.take(B, WITHIN).now_or_never().is_none(), "all turns are taken");
        drop(held.0);
        assert!(turns.take(B, WITHIN).now_or_never().is_some());
        drop((held.1, other));
        assert!(turns.line.lock().addresses.is_empty(), "nothing is kept of who is gone");
    }

    #[tokio::test]
    async fn the_line_has_an_end_for_each_address_and_for_all() {
        let turns = turns(1, 1);
        let held = turns.take(A, WITHIN).await.unwrap();
        let mut waiting = [A, A, B].map(|address| Box::pin(turns.take(address, WITHIN)));
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        assert_eq!(turns.take(A, WITHIN).await.unwrap_err(), "waiting-per-address");
        assert_eq!(turns.take(B, WITHIN).await.unwrap_err(), "waiting");
        drop((held, waiting));
        assert_eq!(turns.line.lock().waiting, 0, "who gave up stands in nobody's way");
        assert!(turns.take(B, WITHIN).now_or_never().is_some_and(|turn| turn.is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_come_too_late_takes_no_place_from_others() {
        let most =
            Most { all: 100, per_address: 100, waiting: 100, waiting_per_address: 100, per_second: 10 };
        let turns = Turns::new(most, Clock::System);
        let start = Clock::System.monotonic();
        turns.take(A, WITHIN).await.unwrap();
        for _ in 0..50 {
            assert_eq!(turns.take(A, Duration::from_millis(50)).await.unwrap_err(), "turn-within");
        }
        turns.take(B, WITHIN).await.unwrap();
        let took = Clock::System.monotonic() - start;
        assert!(took < Duration::from_millis(200), "the next place is a tenth of a second away: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_begin_at_their_rate() {
        let most =
            Most { all: 100, per_address: 100, waiting: 100, waiting_per_address: 100, per_second: 20 };
        let turns = Turns::new(most, Clock::System);
        let start = Clock::System.monotonic();
        for _ in 0..22 {
            turns.take(A, WITHIN).await.unwrap();
        }
        let took = Clock::System.monotonic() - start;
        let second = Duration::from_secs(1);
        assert!(
            (second..second + Duration::from_millis(50)).contains(&took),
            "two at once, then 20 a second: {took:?}"
        );
    }
}
