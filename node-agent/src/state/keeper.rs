//! How a room that keeps items of one kind is told of them, and tells how they stand.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use muster_common::generation::Generation;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{ItemState, ItemStory, Offer, Removal, Stories};

/// The newest word about one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// It is to be on the host.
    Bring(Box<Offer>),
    /// It is to go.
    Remove(Removal),
}

/// A room that keeps items, as others hold it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
    states: watch::Receiver<Arc<Vec<ItemState>>>,
}

/// The other end, which the room itself holds.
#[derive(Debug)]
pub struct Kept {
    shared: Arc<Shared>,
    states: watch::Sender<Arc<Vec<ItemState>>>,
}

#[derive(Debug, Default)]
struct Shared {
    wishes: Mutex<BTreeMap<String, Wish>>,
    /// A session was opened since somebody asked.
    connected: AtomicBool,
    wake: Notify,
    stories: Stories,
}

impl Wish {
    /// About which item.
    #[must_use]
    pub fn item(&self) -> &str {
        match self {
            Self::Bring(offer) => &offer.item,
            Self::Remove(removal) => &removal.item,
        }
    }

    /// Its place in the control plane's history.
    #[must_use]
    pub fn generation(&self) -> Generation {
        match self {
            Self::Bring(offer) => offer.version.generation,
            Self::Remove(removal) => removal.generation,
        }
    }
}

impl Keeper {
    /// Both ends. `states`: how the items stand that the room has from before.
    #[must_use]
    pub fn new(states: Vec<ItemState>) -> (Self, Kept) {
        let shared = Arc::<Shared>::default();
        let (states, told) = watch::channel(Arc::new(states));
        (Self { shared: Arc::clone(&shared), states: told }, Kept { shared, states })
    }

    /// Takes the newest word about an item. An older one than what waits is none.
    pub fn wish(&self, wish: Wish) {
        let mut wishes = self.shared.wishes.lock();
        if wishes.get(wish.item()).is_none_or(|known| known.generation() <= wish.generation()) {
            wishes.insert(wish.item().to_owned(), wish);
        }
        self.shared.wake.notify_one();
    }

    /// A session is open: what failed on the way is worth a try at once.
    pub fn connected(&self) {
        self.shared.connected.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }

    /// What was done for items and was not told yet.
    #[must_use]
    pub fn stories(&self) -> Vec<ItemStory> {
        self.shared.stories.take()
    }

    /// How each item stands, now and whenever that changes.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<Arc<Vec<ItemState>>> {
        self.states.clone()
    }
}

impl Kept {
    /// A word that waits, if there is one. Nobody gets it again.
    #[must_use]
    pub fn take(&self) -> Option<Wish> {
        self.shared.wishes.lock().pop_first().map(|(_, wish)| wish)
    }

    /// Whether a session was opened since this was asked last.
    #[must_use]
    pub fn take_connected(&self) -> bool {
        self.shared.connected.swap(false, Ordering::AcqRel)
    }

    /// Waits until there is something to take. It may be over without anything: look again.
    pub async fn changed(&self) {
        self.shared.wake.notified().await;
    }

    /// Where it is kept what was done for items, until it is told.
    #[must_use]
    pub fn stories(&self) -> Stories {
        self.shared.stories.clone()
    }

    /// Tells how all items stand, sorted by name. Also where nothing changed, as an answer.
    pub fn tell(&self, states: Vec<ItemState>) {
        self.states.send_replace(Arc::new(states));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(item: &str, number: u64) -> Wish {
        let (generation, traceparent) = (Generation::new(1, number), String::new());
        Wish::Remove(Removal { item: item.to_owned(), generation, traceparent })
    }

    #[tokio::test]
    async fn only_the_newest_word_about_an_item_waits() {
        let (keeper, kept) = Keeper::new(Vec::new());
        for number in [1, 3, 2] {
            keeper.wish(removal("a/1", number));
        }
        keeper.connected();
        kept.changed().await;
        assert_eq!(kept.take(), Some(removal("a/1", 3)));
        assert_eq!(kept.take(), None);
        assert!(kept.take_connected() && !kept.take_connected());
    }
}
