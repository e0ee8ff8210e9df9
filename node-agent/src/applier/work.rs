//! What is wanted of the applier: the newest word about each item.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use muster_common::{digest::Sha256, generation::Generation};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::state::{ItemState, Offer, Removal};

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    Apply(Box<Offer>),
    Remove(Removal),
}

/// The newest word about each item; an older one is of no use to anyone.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    work: Mutex<BTreeMap<String, Work>>,
    /// A session has been opened since somebody asked.
    connected: AtomicBool,
    wake: Notify,
}

impl Work {
    pub(super) fn item(&self) -> &str {
        match self {
            Self::Apply(offer) => &offer.item,
            Self::Remove(removal) => &removal.item,
        }
    }

    /// Its place in the history and its content; nothing for a removal.
    pub(super) fn aim(&self) -> (Generation, Sha256) {
        match self {
            Self::Apply(offer) => (offer.version.generation, offer.version.sha256),
            Self::Remove(removal) => (removal.generation, Sha256::ZERO),
        }
    }

    /// Whether a state tells what became of this very work.
    pub(super) fn is_told_by(&self, state: &ItemState) -> bool {
        state.attempted.as_ref().is_some_and(|it| (it.generation, it.sha256) == self.aim())
    }
}

impl Wanted {
    pub(super) fn add(&self, offers: Vec<Offer>, removals: Vec<Removal>) {
        let offers = offers.into_iter().map(|offer| Work::Apply(Box::new(offer)));
        let mut wanted = self.work.lock();
        for work in offers.chain(removals.into_iter().map(Work::Remove)) {
            let newer = wanted.get(work.item()).is_none_or(|known| known.aim().0 <= work.aim().0);
            if newer {
                wanted.insert(work.item().to_owned(), work);
            }
        }
        self.wake.notify_one();
    }

    /// The next to do: first what makes room, then what has room. A file that
    /// moves from one bundle to another would otherwise be refused on the way.
    pub(super) fn take(&self, has_room: impl Fn(&Offer) -> bool) -> Option<Work> {
        let mut wanted = self.work.lock();
        let rank = |work: &Work| match work {
            Work::Remove(_) => 0,
            Work::Apply(offer) if has_room(offer) => 1,
            Work::Apply(_) => 2,
        };
        let item = wanted.iter().min_by_key(|(_, work)| rank(work)).map(|(item, _)| item.clone())?;
        wanted.remove(&item)
    }

    /// The control plane is there again.
    pub(super) fn connected(&self) {
        self.connected.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether the control plane has been there again since this was asked last.
    pub(super) fn take_connected(&self) -> bool {
        self.connected.swap(false, Ordering::AcqRel)
    }

    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }
}
