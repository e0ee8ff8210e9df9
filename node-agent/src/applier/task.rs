//! The one task that changes items, one at a time, always towards the newest.

use std::{collections::BTreeMap, sync::Arc};

use muster_common::{drain::Drain, generation::Generation};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Applier;
use crate::state::{ItemState, Offer, Removal};

/// How other rooms reach the applier. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    wanted: Arc<Wanted>,
    states: watch::Receiver<Arc<Vec<ItemState>>>,
    settings: watch::Receiver<BTreeMap<String, String>>,
}

/// The newest word about each item; an older one is of no use to anyone.
#[derive(Debug, Default)]
struct Wanted {
    work: Mutex<BTreeMap<String, Work>>,
    wake: Notify,
}

#[derive(Debug)]
enum Work {
    Apply(Box<Offer>),
    Remove(Removal),
}

impl Work {
    const fn generation(&self) -> Generation {
        match self {
            Self::Apply(offer) => offer.version.generation,
            Self::Remove(removal) => removal.generation,
        }
    }
}

/// The task.
#[derive(Debug)]
pub struct Task {
    applier: Applier,
    wanted: Arc<Wanted>,
    states: watch::Sender<Arc<Vec<ItemState>>>,
    settings: watch::Sender<BTreeMap<String, String>>,
}

impl Task {
    /// A task over an opened applier, and what others hold of it.
    #[must_use]
    pub fn new(applier: Applier) -> (Handle, Self) {
        let wanted = Arc::<Wanted>::default();
        let (states, told) = watch::channel(Arc::new(applier.states()));
        let (settings, options) = watch::channel(applier.settings());
        let handle = Handle { wanted: Arc::clone(&wanted), states: told, settings: options };
        (handle, Self { applier, wanted, states, settings })
    }

    /// Works until the process ends. What it then leaves unfinished, the next process undoes.
    pub async fn run(mut self, drain: Drain) {
        loop {
            let next = self.wanted.work.lock().pop_first();
            let Some((_, work)) = next else {
                tokio::select! {
                    biased;
                    () = drain.begun() => return,
                    () = self.wanted.wake.notified() => continue,
                }
            };
            tokio::select! {
                biased;
                () = drain.begun() => return,
                () = work_on(&mut self.applier, work) => {}
            }
            self.states.send_replace(Arc::new(self.applier.states()));
            let settings = self.applier.settings();
            self.settings.send_if_modified(|known| {
                let news = *known != settings;
                *known = settings;
                news
            });
        }
    }
}

async fn work_on(applier: &mut Applier, work: Work) {
    match work {
        Work::Apply(offer) => drop(applier.apply(*offer).await),
        Work::Remove(removal) => drop(applier.remove(removal).await),
    }
}

impl Handle {
    /// Takes the newest word about some items.
    pub fn desire(&self, offers: Vec<Offer>, removals: Vec<Removal>) {
        let offers = offers.into_iter().map(|offer| (offer.item.clone(), Work::Apply(Box::new(offer))));
        let removals = removals.into_iter().map(|removal| (removal.item.clone(), Work::Remove(removal)));
        let mut wanted = self.wanted.work.lock();
        for (item, work) in offers.chain(removals) {
            let newer = wanted.get(&item).is_none_or(|known| known.generation() <= work.generation());
            if newer {
                wanted.insert(item, work);
            }
        }
        self.wanted.wake.notify_one();
    }

    /// Where each item stands, now and whenever that changes.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<Arc<Vec<ItemState>>> {
        self.states.clone()
    }

    /// The agent's options that the control plane gave, now and whenever they change.
    #[must_use]
    pub fn settings(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.settings.clone()
    }
}
