//! All rooms that keep items, as one: each gets the words about its own kind, and what they
//! tell is told as one list.

use std::sync::Arc;

use futures_util::future::select_all;
use muster_common::drain::Drain;
use tokio::sync::watch;

use crate::{
    applier,
    state::{ItemState, ItemStory, Keeper, Offer, Removal, Wish},
};

/// The rooms, as the session has them.
pub(super) struct Items {
    applier: applier::Handle,
    others: Vec<(&'static str, Keeper)>,
    states: watch::Receiver<Arc<Vec<ItemState>>>,
}

/// Who puts the lists together.
pub(super) struct Merge {
    parts: Vec<watch::Receiver<Arc<Vec<ItemState>>>>,
    whole: watch::Sender<Arc<Vec<ItemState>>>,
}

impl Items {
    /// The applier, and the rooms for items whose names begin so.
    pub(super) fn new(applier: applier::Handle, others: Vec<(&'static str, Keeper)>) -> (Self, Merge) {
        let mut parts = vec![applier.states()];
        parts.extend(others.iter().map(|(_, keeper)| keeper.states()));
        let (whole, states) = watch::channel(Arc::new(merged(&mut parts)));
        (Self { applier, others, states }, Merge { parts, whole })
    }

    /// Takes the newest word about some items.
    pub(super) fn desire(&self, offers: Vec<Offer>, removals: Vec<Removal>) {
        let (mut to_bring, mut to_remove) = (Vec::new(), Vec::new());
        for offer in offers {
            match self.keeper(&offer.item) {
                Some(keeper) => keeper.wish(Wish::Bring(Box::new(offer))),
                None => to_bring.push(offer),
            }
        }
        for removal in removals {
            match self.keeper(&removal.item) {
                Some(keeper) => keeper.wish(Wish::Remove(removal)),
                None => to_remove.push(removal),
            }
        }
        if !to_bring.is_empty() || !to_remove.is_empty() {
            self.applier.desire(to_bring, to_remove);
        }
    }

    /// A session is open.
    pub(super) fn connected(&self) {
        self.applier.connected();
        for (_, keeper) in &self.others {
            keeper.connected();
        }
    }

    pub(super) fn states(&self) -> watch::Receiver<Arc<Vec<ItemState>>> {
        self.states.clone()
    }

    /// What was done for items and is to be told, once.
    pub(super) fn stories(&self) -> Vec<ItemStory> {
        let mut stories = self.applier.stories();
        stories.extend(self.others.iter().flat_map(|(_, keeper)| keeper.stories()));
        stories
    }

    pub(super) fn sealing_key(&self) -> &[u8] {
        self.applier.sealing_key()
    }

    fn keeper(&self, item: &str) -> Option<&Keeper> {
        self.others.iter().find(|(prefix, _)| item.starts_with(prefix)).map(|(_, keeper)| keeper)
    }
}

impl Merge {
    /// Until the process ends. Whatever a room tells is told on, also where it is no news:
    /// it may be an answer.
    pub(super) async fn run(mut self, drain: Drain) {
        loop {
            let changes = self.parts.iter_mut().map(|part| Box::pin(part.changed()));
            let changed = tokio::select! {
                biased;
                () = drain.begun() => return,
                (changed, ..) = select_all(changes) => changed,
            };
            if changed.is_err() {
                return drain.begun().await; // a room has ended, and the process ends with it
            }
            self.whole.send_replace(Arc::new(merged(&mut self.parts)));
        }
    }
}

fn merged(parts: &mut [watch::Receiver<Arc<Vec<ItemState>>>]) -> Vec<ItemState> {
    let mut all: Vec<ItemState> =
        parts.iter_mut().flat_map(|part| part.borrow_and_update().to_vec()).collect();
    all.sort_by(|one, other| one.item.cmp(&other.item));
    all
}
