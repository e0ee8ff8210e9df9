//! The one task that changes items, one at a time, always towards the newest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use muster_common::{drain::Drain, error_chain::Chain, reason::Reason};
use tokio::sync::watch;

use super::{
    Applier, failure,
    guard::Guard,
    retries::Retries,
    work::{Wanted, Work},
};
use crate::{
    locks::Locks,
    state::{ItemState, Offer, Removal},
};

/// Between looks at the lock file and the clock, while something waits for its next try.
const LOOK: Duration = Duration::from_secs(1);

/// How other rooms reach the applier. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    wanted: Arc<Wanted>,
    states: watch::Receiver<Arc<Vec<ItemState>>>,
    settings: watch::Receiver<BTreeMap<String, String>>,
    sealing_key: Arc<[u8]>,
}

/// The task.
#[derive(Debug)]
pub struct Task {
    applier: Applier,
    wanted: Arc<Wanted>,
    retries: Retries,
    guard: Guard,
    /// The rules under which the retries failed.
    rules: Locks,
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
        let sealing_key = applier.sealing_key().into();
        let handle = Handle { wanted: Arc::clone(&wanted), states: told, settings: options, sealing_key };
        let rules = applier.rules();
        (
            handle,
            Self {
                applier,
                wanted,
                retries: Retries::default(),
                guard: Guard::new(),
                rules,
                states,
                settings,
            },
        )
    }

    /// The same, looking through all files for drift this often.
    #[must_use]
    pub fn sweeping(mut self, interval: watch::Receiver<Duration>) -> Self {
        self.guard.sweep_every(interval);
        self
    }

    /// Works until the process ends. What it then leaves unfinished, the next process undoes,
    /// and this one undoes first what an earlier one left.
    pub async fn run(mut self, drain: Drain) {
        tokio::select! {
            biased;
            () = drain.begun() => return,
            settled = self.applier.settle() => {
                if let Err(error) = settled {
                    // Tried again before the next change.
                    tracing::error!(error = %Chain(&error), "could not settle what an earlier agent left unfinished");
                }
            }
        }
        self.applier.sweep_secrets().await;
        self.publish(false);
        self.guard.follow(&self.applier).await;
        loop {
            let step = async {
                match self.next() {
                    Some(work) => self.work_on(work).await,
                    None => self.look_or_wait().await,
                }
            };
            tokio::select! {
                biased;
                () = drain.begun() => return,
                () = step => {}
            }
        }
    }

    /// The newest word first; then what is to be tried again.
    fn next(&self) -> Option<Work> {
        self.wanted.take(|offer| self.applier.has_room(offer)).or_else(|| self.retries.due(self.now()))
    }

    fn now(&self) -> muster_common::clock::Instant {
        self.applier.base.clock.monotonic()
    }

    async fn work_on(&mut self, work: Work) {
        let known = self.retries.holds(&work);
        if known && self.retries.due(self.now()).as_ref() != Some(&work) {
            // Offered again, by a new session perhaps: it has its time.
            self.publish(true);
            return;
        }
        let state = match work.clone() {
            Work::Apply(offer) => Some(self.applier.apply(*offer).await),
            Work::Remove(removal) => self.applier.remove(removal).await,
        };
        let error = state.as_ref().and_then(|state| state.error.as_ref());
        match state.as_ref().zip(error) {
            Some((state, error)) if work.is_told_by(state) && failure::is_retried_here(state) => {
                self.retries.failed(work, error.reason, self.now());
            }
            told => {
                self.retries.forget(&work);
                if told.is_none() {
                    // Something changed on this host: there may be room now.
                    self.retries.hurry(self.now(), |reason| reason == Reason::PathTaken);
                }
            }
        }
        self.guard.follow(&self.applier).await;
        self.publish(!known);
    }

    /// With nothing else to do it looks after what runs.
    async fn look_or_wait(&mut self) {
        let now = self.now();
        let items = self.guard.take(now, || self.applier.running_bundles());
        if items.is_empty() {
            return self.wait().await;
        }
        let again = self.applier.look_after(items).await;
        self.guard.again(again);
        self.guard.follow(&self.applier).await;
        self.publish(false);
    }

    /// Waits for a new word, or a moment while something is to be tried again.
    async fn wait(&mut self) {
        let waits = !self.retries.is_empty() || self.applier.has_unsaved();
        let now = self.now();
        tokio::select! {
            biased;
            () = self.wanted.changed() => return,
            () = self.guard.wait(now) => {}
            () = tokio::time::sleep(LOOK), if waits => {}
        }
        let rules = self.applier.rules();
        if rules != self.rules {
            self.rules = rules;
            self.retries.hurry(self.now(), |_| true);
        }
        self.applier.save_unsaved().await;
    }

    /// Tells where the items stand. `always`: also where nothing changed, as an answer.
    fn publish(&self, always: bool) {
        let states = self.applier.states();
        self.states.send_if_modified(|known| {
            let news = always || **known != states;
            *known = Arc::new(states);
            news
        });
        let settings = self.applier.settings();
        self.settings.send_if_modified(|known| {
            let news = *known != settings;
            *known = settings;
            news
        });
    }
}

impl Handle {
    /// Takes the newest word about some items.
    pub fn desire(&self, offers: Vec<Offer>, removals: Vec<Removal>) {
        self.wanted.add(offers, removals);
    }

    /// For what is sealed for this host.
    #[must_use]
    pub fn sealing_key(&self) -> &[u8] {
        &self.sealing_key
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
