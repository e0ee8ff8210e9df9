//! The one task that changes items, one at a time, always towards the newest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use muster_common::{
    clock,
    digest::Sha256,
    drain::Drain,
    error_chain::Chain,
    reason::Reason,
    sealing::{Contents, Sealed},
};
use tokio::sync::watch;

use super::{
    Applier, Failure, drift, failure,
    fetch::Source,
    fetches::{Aim, Fetched, Fetches},
    guard::Guard,
    retries::Retries,
    secrets::Sealing,
    waits::Written,
    work::{Wanted, Work},
};
use crate::{
    locks::Locks,
    state::{Cause, ItemState, ItemStory, Offer, Pulse, Removal, Stories},
};

/// Between looks at the lock file and the clock, while something waits for its next try.
const LOOK: Duration = Duration::from_secs(1);

/// With nothing to do it turns this often.
const TURN: Duration = Duration::from_secs(60);
/// A turn takes no longer, but for hooks and for the line to prove itself.
const ROUND: Duration = Duration::from_secs(300);

/// How other rooms reach the applier. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    wanted: Arc<Wanted>,
    states: watch::Receiver<Arc<Vec<ItemState>>>,
    settings: watch::Receiver<BTreeMap<String, String>>,
    sealing: Arc<Sealing>,
    stories: Stories,
}

/// The task.
#[derive(Debug)]
pub struct Task {
    applier: Applier,
    wanted: Arc<Wanted>,
    retries: Retries,
    fetches: Fetches,
    written: Written,
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
        let sealing = Arc::clone(&applier.base.sealing);
        let (wanting, stories) = (Arc::clone(&wanted), applier.base.stories.clone());
        let handle = Handle { wanted: wanting, states: told, settings: options, sealing, stories };
        let rules = applier.rules();
        (
            handle,
            Self {
                applier,
                wanted,
                retries: Retries::default(),
                fetches: Fetches::default(),
                written: Written::default(),
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

    /// The same, telling that it gets on.
    #[must_use]
    pub fn beating(mut self, pulse: Pulse) -> Self {
        self.applier.base.pulse = pulse;
        self.applier.beat(ROUND);
        self
    }

    /// The same, with a place to fetch blobs from.
    #[must_use]
    pub fn fetching(mut self, source: Arc<dyn Source>) -> Self {
        self.fetches.fetch_from(source);
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
        self.written.keep_up(&self.applier, &self.retries).await;
        loop {
            self.applier.beat(ROUND);
            let step = async {
                if self.applier.base.pauses.holds() {
                    return self.rest().await;
                }
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

    /// In a pause nothing is brought, taken off, fetched or corrected. The newest word is
    /// kept, and what was changed on the host meanwhile is seen afterwards.
    async fn rest(&mut self) {
        let (pauses, unsaved) = (self.applier.base.pauses.clone(), self.applier.has_unsaved());
        tokio::select! {
            () = pauses.over() => {}
            () = clock::step(TURN) => {} // it comes round, however long the pause is
            () = tokio::time::sleep(LOOK), if unsaved => self.applier.save_unsaved().await,
        }
    }

    /// The newest word first; then what is to be tried again.
    fn next(&mut self) -> Option<Work> {
        if self.wanted.take_connected() {
            let now = self.now();
            // What was not confirmed keeps its waits: each try of it opens a session itself.
            let is_over = |reason, cause| {
                reason != Reason::NotConfirmed && matches!(cause, Cause::Network | Cause::ControlPlane)
            };
            self.retries.hurry(now, is_over);
        }
        self.wanted.take(|offer| self.applier.has_room(offer)).or_else(|| self.due())
    }

    /// What is to be tried again now, and is not yet being seen to. What only a session can
    /// confirm waits for one.
    fn due(&self) -> Option<Work> {
        let open = self.applier.base.line.is_open();
        let ready =
            |work: &Work, reason| !self.fetches.holds(work) && (open || reason != Reason::NotConfirmed);
        self.retries.due(self.now(), ready)
    }

    fn now(&self) -> muster_common::clock::Instant {
        self.applier.base.clock.monotonic()
    }

    async fn work_on(&mut self, work: Work) {
        if self.fetches.holds(&work) || self.fetches.holds_newer(&work) {
            return; // it is on its way, or no longer wanted
        }
        let known = self.retries.holds(&work);
        if known && self.due().as_ref() != Some(&work) {
            // Offered again, by a new session perhaps: it has its time.
            self.publish(true);
            return;
        }
        let (item, blobs) = (work.item().to_owned(), self.applier.wants(&work).await);
        if blobs.missing.is_empty() {
            self.fetches.forget(&item);
            return self.carry_out(work).await;
        }
        if !known {
            self.retries.forget(&work); // of an older word
        }
        self.applier.wish(&item, &blobs.all).await;
        self.fetches.want(item, Aim::Work(work), blobs);
    }

    async fn carry_out(&mut self, work: Work) {
        let state = match work.clone() {
            Work::Apply(offer) => Some(self.applier.apply_traced(*offer).await),
            Work::Remove(removal) => self.applier.remove_traced(removal).await,
        };
        let is_retried = state.as_ref().is_some_and(failure::is_retried_here);
        self.done(work, state, is_retried).await;
    }

    /// Notes what became of work.
    async fn done(&mut self, work: Work, state: Option<ItemState>, is_retried: bool) {
        let (known, item) = (self.retries.holds(&work), work.item().to_owned());
        if state.as_ref().is_some_and(|state| state.drift.iter().any(|drift| !drift.corrected)) {
            // A correction that waited for something may have made room for this.
            self.guard.again([(item.clone(), self.now() + drift::WAIT)].into());
        }
        let error = state.as_ref().and_then(|state| state.error.as_ref());
        match state.as_ref().zip(error) {
            Some((state, error)) if work.is_told_by(state) && is_retried => {
                self.retries.failed(work, (error.reason, error.cause), self.now());
            }
            told => {
                self.retries.forget(&work);
                if told.is_none() {
                    // Something changed on this host: there may be room now.
                    self.retries.hurry(self.now(), |reason, _| reason == Reason::PathTaken);
                }
                self.applier.tidy(&item).await;
            }
        }
        self.guard.follow(&self.applier).await;
        self.publish(!known);
        self.written.keep_up(&self.applier, &self.retries).await;
    }

    /// Blobs have come, or cannot be had now.
    async fn fetched(&mut self, fetched: Fetched) {
        let Fetched { item, aim, result } = fetched;
        match (aim, result) {
            (Aim::Work(work), Ok(())) => self.carry_out(work).await,
            (Aim::Work(work), Err(failure)) => self.not_fetched(work, failure).await,
            (Aim::Correction, result) => self.fetched_to_correct(item, result).await,
        }
    }

    async fn fetched_to_correct(&mut self, item: String, result: Result<(), Failure>) {
        self.applier.tidy(&item).await;
        let mut due = self.now();
        if let Err(failure) = result {
            self.applier.blobs_missed(&item, failure).await;
            self.publish(false);
            due += drift::WAIT;
        }
        self.guard.again([(item, due)].into());
    }

    /// Nothing on the host has changed, and it is never the version's fault.
    async fn not_fetched(&mut self, work: Work, failure: Failure) {
        let Work::Apply(offer) = &work else { return };
        let running = self.applier.running(&offer.item);
        let state = self.applier.failed(&offer.item, offer.version.clone(), running, failure).await;
        let is_retried = failure::is_unsettled(&state);
        self.done(work, Some(state), is_retried).await;
    }

    /// With nothing else to do it looks after what runs.
    async fn look_or_wait(&mut self) {
        let now = self.now();
        let items = self.guard.take(now, || self.applier.running_bundles());
        if items.is_empty() {
            return self.wait().await;
        }
        let after = self.applier.look_after(items).await;
        self.guard.again(after.again);
        for (item, blobs) in after.wants {
            if !self.fetches.is_waited_for(&item) {
                self.applier.wish(&item, &blobs.all).await;
                self.fetches.want(item, Aim::Correction, blobs);
            }
        }
        self.guard.follow(&self.applier).await;
        self.publish(false);
    }

    /// Waits for a new word, or a moment while something is to be tried again.
    async fn wait(&mut self) {
        let waits = !self.retries.is_empty() || self.applier.has_unsaved();
        let (now, pauses) = (self.now(), self.applier.base.pauses.clone());
        tokio::select! {
            biased;
            () = pauses.begun() => return,
            () = self.wanted.changed() => return,
            fetched = self.fetches.next(&self.applier) => return self.fetched(fetched).await,
            () = self.guard.wait(now) => {}
            () = clock::step(TURN) => {}
            () = tokio::time::sleep(LOOK), if waits => {}
        }
        let rules = self.applier.rules();
        if rules != self.rules {
            self.rules = rules;
            self.retries.hurry(self.now(), |_, _| true);
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
    /// A session is open: what failed on the way is worth a try at once.
    pub fn connected(&self) {
        self.wanted.connected();
    }

    /// Takes the newest word about some items.
    pub fn desire(&self, offers: Vec<Offer>, removals: Vec<Removal>) {
        self.wanted.add(offers, removals);
    }

    /// For what is sealed for this host.
    #[must_use]
    pub fn sealing_key(&self) -> &[u8] {
        self.sealing.public()
    }

    /// Opens what is sealed for this host with an item of another room.
    ///
    /// # Errors
    /// If it was not sealed for this host and this item. Whoever sealed it is to do so again.
    pub fn open_sealed(
        &self,
        item: &str,
        sha256: Sha256,
        sealed: Option<&Sealed>,
    ) -> Result<Contents, String> {
        self.sealing.open(item, sha256, sealed).map_err(|failure| failure.error.message)
    }

    /// Where each item stands, now and whenever that changes.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<Arc<Vec<ItemState>>> {
        self.states.clone()
    }

    /// What was done for items in traces that somebody collects, and was not told yet.
    #[must_use]
    pub fn stories(&self) -> Vec<ItemStory> {
        self.stories.take()
    }

    /// The agent's options that the control plane gave, now and whenever they change.
    #[must_use]
    pub fn settings(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.settings.clone()
    }
}
