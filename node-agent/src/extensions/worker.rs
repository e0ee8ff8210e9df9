//! One extension: takes the newest word about it, and sees it through.

use std::{sync::Arc, time::Duration};

use muster_common::{
    backoff::Backoff, clock::Instant, digest::Sha256, error_chain::Chain, generation::Offer as Judged,
    reason::Reason, tasks, trace,
};

use super::{
    content::Version,
    failure,
    machine::Step,
    program::{self, Program},
    record::{self, Journal, Record, Removal},
    supervise::Life,
    task::{Inbox, Shared},
};
use crate::{
    depot::Package,
    locks::{Act, Locks, Name},
    state::{Cause, ItemError, ItemState, ItemStory, ItemVersion, Offer, Outcome, Story, Wish},
};

/// The first wait after a failure of the host's is at most this, and none is longer than that.
const WAITS: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(600));

/// Of one extension.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    pub(super) inbox: Arc<Inbox>,
    /// `None`: there is nothing of it.
    pub(super) record: Option<Record>,
    /// What runs of it.
    pub(super) program: Option<Program>,
    pub(super) life: Life,
    pub(super) retry: Option<Retry>,
    /// The rules under which it failed.
    pub(super) rules: Locks,
    /// What is done for the version that is being brought.
    pub(super) story: Story,
    /// Where the step that is under way is in its trace.
    pub(super) place: Option<trace::Context>,
}

/// A word that is to be tried again.
pub(super) struct Retry {
    wish: Wish,
    backoff: Backoff,
    due: Instant,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, name: String, inbox: Arc<Inbox>, record: Option<Record>) -> Self {
        let rules = shared.options.locks.current();
        let (program, retry, life) = (None, None, Life::default());
        let (story, place) = (Story::default(), None);
        Self { shared, name, inbox, record, program, life, retry, rules, story, place }
    }

    /// Works as long as the process does.
    pub(super) async fn run(mut self) {
        self.adopt().await;
        if self.record.as_ref().is_some_and(|record| record.journal.is_none()) {
            self.tidy().await;
        }
        loop {
            if self.record.as_ref().is_some_and(|record| record.journal.is_some()) {
                Box::pin(self.step()).await;
                continue;
            }
            if !self.shared.options.pauses.holds() {
                if self.inbox.take_remove() {
                    self.go(Removal::Host).await;
                    continue;
                }
                if let Some(wish) = self.inbox.take() {
                    // Newer than what waits for another try.
                    self.retry = None;
                    self.take(wish).await;
                    continue;
                }
                if let Some(wish) = self.due() {
                    self.take(wish).await;
                    continue;
                }
            }
            self.look_after().await;
        }
    }

    /// The program that an earlier agent left is followed, or ended.
    async fn adopt(&mut self) {
        let depots = self.shared.options.depots.clone();
        let Some(record) = self.record.as_mut() else { return };
        let Some(trace) = record.program.clone() else { return };
        // In the middle of a story it is what the story has to do with: none is left.
        if record.journal.is_none() {
            self.program = Program::adopt(&depots, &trace).await;
        }
        if self.program.is_none() {
            match program::end_leftover(&depots, &trace).await {
                Ok(()) => record.program = None,
                // It stays in the record: no other is started beside it.
                Err(error) => {
                    tracing::warn!(%error, name = self.name, "a program of {} may go on", self.name);
                }
            }
        }
    }

    async fn take(&mut self, wish: Wish) {
        match wish {
            Wish::Bring(offer) => self.bring(*offer).await,
            Wish::Remove(removal) => {
                let name = || format!("remove {}", removal.item);
                self.story = Story::of(&removal.traceparent, name, &self.shared.options.clock);
                let generation = removal.generation;
                let version = ItemVersion { generation, version: String::new(), sha256: Sha256::ZERO };
                self.go(Removal::ControlPlane(version)).await;
            }
        }
    }

    async fn bring(&mut self, offer: Offer) {
        if self.already(&offer.version) {
            self.retry = None;
            return self.tell();
        }
        let removed = self.record.as_ref().map(|record| record.removed_here.as_slice()).unwrap_or_default();
        let judged = if removed.contains(&offer.version.sha256) {
            Err(failure::removed_here())
        } else {
            self.judge(&offer)
        };
        match judged {
            Ok(version) => self.begin(offer, version).await,
            Err(error) => self.refuse(Wish::Bring(Box::new(offer.clone())), offer.version, error).await,
        }
    }

    /// Whether an offer needs no work, because it is here, or was tried and is settled.
    fn already(&self, offered: &ItemVersion) -> bool {
        let state = self.record.as_ref().map(|record| &record.state);
        let Some(held) = state.and_then(|state| state.attempted.as_ref().or(state.running.as_ref())) else {
            return false;
        };
        let judged = Judged::judge(
            offered.generation,
            offered.sha256.as_bytes(),
            held.generation,
            held.sha256.as_bytes(),
        );
        let error = state.and_then(|state| state.error.as_ref());
        match judged {
            Judged::Older => true,
            Judged::Same => !error.is_some_and(failure::is_retried),
            Judged::Newer | Judged::Conflicting => false,
        }
    }

    fn judge(&self, offer: &Offer) -> Result<Version, ItemError> {
        let open = &self.shared.options.open;
        let contents = open(&offer.item, offer.version.sha256, offer.sealed.as_ref());
        let contents =
            contents.map_err(|why| failure::error(Reason::ProtectedUnreadable, Cause::ControlPlane, why))?;
        let version = Version::decode(&self.name, offer, &contents)?;
        match self.refuses(&version.package, Act::Bring) {
            Some(why) => Err(failure::denied(why)),
            None => Ok(version),
        }
    }

    fn refuses(&self, package: &Package, act: Act) -> Option<String> {
        let text = format!("{}/{}", package.publisher, package.kind);
        match Name::parse(&text) {
            Some(name) => self.shared.options.locks.current().refuses_extension(&name, act),
            None => Some(format!("{text:?} is no extension that a lock file could name")),
        }
    }

    async fn begin(&mut self, offer: Offer, version: Version) {
        self.story = self.story_of(&offer);
        let mut record = self.record.clone().unwrap_or_else(|| Record::new(self.state(None)));
        let running = record.state.running.clone();
        // What is broken does not run, whatever it was.
        if record.current.as_ref().filter(|_| running.is_some()).is_some_and(|current| {
            current.is_package_of(&version)
                && (&current.settings, &current.protected, current.limits)
                    == (&version.settings, &version.protected, version.limits)
        }) {
            // The same under another number.
            self.retry = None;
            let state = ItemState {
                running: Some(offer.version.clone()),
                outcome: Outcome::Unchanged,
                health: record.state.health.clone(),
                ..self.state(Some(offer.version))
            };
            record.current = record.current.map(|current| Version { version: version.version, ..current });
            record.state = state;
            self.end_story(record.state.attempted.as_ref(), "");
            return self.keep(record).await;
        }
        let current = record.current.as_ref().filter(|_| running.is_some());
        let is_here = current.is_some_and(|current| current.is_package_of(&version));
        let health = record.state.health.clone();
        record.state = ItemState { running, health, ..self.state(Some(offer.version.clone())) };
        record.state.outcome = Outcome::UnderWay;
        record.removed_here.clear();
        record.coming = Some(version);
        // What runs is unpacked: nothing of it is to come.
        let first = if is_here { Step::Unpacking } else { Step::Fetching };
        record.journal = Some(Journal::new(first, None));
        self.remember(Wish::Bring(Box::new(offer)));
        self.keep(record).await;
    }

    /// All of it is to go.
    async fn go(&mut self, removal: Removal) {
        let Some(mut record) = self.record.clone() else { return self.tell() };
        if let Removal::ControlPlane(version) = &removal {
            let state = &record.state;
            let newest = state.attempted.iter().chain(&state.running).map(|held| held.generation).max();
            if newest.is_some_and(|held| held > version.generation) {
                self.retry = None;
                return self.tell(); // an older word than what is here
            }
            record.state.attempted = Some(version.clone());
        }
        let Some(current) = record.current.clone() else {
            if removal == Removal::Host && !record.removed_here.is_empty() {
                return self.tell(); // it has gone already, and what is known of that stays
            }
            return self.clear(record).await;
        };
        if let Some(why) = self.refuses(&current.package, Act::Remove) {
            let Removal::ControlPlane(version) = &removal else {
                tracing::warn!(name = self.name, why, "{} was not taken off this host: {why}", self.name);
                return self.tell();
            };
            let (item, generation) = (record.state.item.clone(), version.generation);
            let traceparent = String::new(); // tried again, it is no part of what was asked
            let wish = Wish::Remove(crate::state::Removal { item, generation, traceparent });
            let error = failure::denied(why);
            self.end_story(Some(version), error.reason.as_str());
            return self.refuse(wish, version.clone(), error).await;
        }
        record.state.outcome = Outcome::UnderWay;
        record.state.error = None;
        record.removal = Some(removal);
        record.journal = Some(Journal::new(Step::Disabling, None));
        self.keep(record).await;
    }

    /// Nothing of it was ever enabled here, or it was undone: what lies here of it goes.
    async fn clear(&mut self, mut record: Record) {
        let cleared = self.shared.options.depots.clear(&self.name).await;
        let word = cleared.as_ref().err().map_or("", |error| failure::of_depot(error).reason.as_str());
        self.end_story(record.state.attempted.as_ref(), word);
        let Err(error) = cleared else { return self.forget().await };
        record.state.outcome = Outcome::Broken;
        record.state.error = Some(failure::of_depot(&error));
        record.state.changed_at = self.shared.options.clock.now();
        self.retry = None;
        self.keep(record).await;
    }

    /// Nothing on the host has changed.
    async fn refuse(&mut self, wish: Wish, version: ItemVersion, error: ItemError) {
        let mut record = self.record.clone().unwrap_or_else(|| Record::new(self.state(None)));
        let (running, health) = (record.state.running.clone(), record.state.health.clone());
        tracing::warn!(name = self.name, reason = %error.reason, "{} was refused: {}", record.state.item, error.message);
        let is_retried = failure::is_retried(&error);
        if let Wish::Bring(offer) = &wish {
            self.story = self.story_of(offer);
            self.end_story(Some(&version), error.reason.as_str());
        }
        let state = ItemState { running, health, error: Some(error), ..self.state(Some(version)) };
        record.state = ItemState { outcome: Outcome::Rejected, ..state };
        self.remember(wish);
        self.again(is_retried);
        self.keep(record).await;
    }

    fn story_of(&self, offer: &Offer) -> Story {
        Story::of(&offer.traceparent, || format!("apply {}", offer.item), &self.shared.options.clock)
    }

    /// What was done for a version is over, and is told with what is told of it next.
    pub(super) fn end_story(&mut self, version: Option<&ItemVersion>, error: &str) {
        let spans = std::mem::take(&mut self.story).end(error);
        let Some(generation) = version.map(|version| version.generation) else { return };
        let item = format!("{}{}", super::PREFIX, self.name);
        self.shared.stories.add(ItemStory { item, generation, spans });
    }

    /// What is to be tried again if it fails for the host's sake.
    pub(super) fn remember(&mut self, wish: Wish) {
        let now = self.shared.options.clock.monotonic();
        let known = self.retry.take().filter(|retry| retry.wish.generation() == wish.generation());
        let backoff = known.map_or_else(|| Backoff::new(WAITS.0, WAITS.1), |retry| retry.backoff);
        self.retry = Some(Retry { wish, backoff, due: now + WAITS.1 });
    }

    /// What was remembered is tried again after a while, or never.
    pub(super) fn again(&mut self, is_retried: bool) {
        let now = self.shared.options.clock.monotonic();
        self.retry = self.retry.take().filter(|_| is_retried);
        if let Some(retry) = &mut self.retry {
            retry.due = now + retry.backoff.next_wait();
        }
    }

    fn due(&mut self) -> Option<Wish> {
        let rules = self.shared.options.locks.current();
        let is_over = self.inbox.take_connected() | (rules != self.rules);
        self.rules = rules;
        let now = self.shared.options.clock.monotonic();
        let retry = self.retry.as_ref().filter(|retry| is_over || retry.due <= now)?;
        Some(retry.wish.clone())
    }

    pub(super) fn state(&self, attempted: Option<ItemVersion>) -> ItemState {
        ItemState {
            item: format!("{}{}", super::PREFIX, self.name),
            running: None,
            attempted,
            outcome: Outcome::UnderWay,
            error: None,
            changed_at: self.shared.options.clock.now(),
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    pub(super) fn tell(&self) {
        self.shared.tell(&self.name, self.record.as_ref().map(|record| record.state.clone()));
    }

    /// Writes down what is so from now on, and tells it. What the disk does not take now it
    /// takes with the next change.
    pub(super) async fn keep(&mut self, record: Record) {
        if let Err(error) = self.save(&record).await {
            tracing::error!(name = self.name, error = %Chain(&error), "the record of {} could not be written", self.name);
        }
        self.record = Some(record);
        self.tell();
    }

    pub(super) async fn save(&self, record: &Record) -> std::io::Result<()> {
        let (folder, name, record) = (self.shared.options.folder.clone(), self.name.clone(), record.clone());
        tasks::blocking(move || record.save(&folder, &name)).await
    }

    /// There is nothing of it any more.
    pub(super) async fn forget(&mut self) {
        let (folder, name) = (self.shared.options.folder.clone(), self.name.clone());
        if let Err(error) = tasks::blocking(move || record::forget(&folder, &name)).await {
            tracing::error!(name = self.name, %error, "the record of {} could not be taken away", self.name);
        }
        self.record = None;
        self.retry = None;
        self.tell();
    }
}
