//! The task of the room: takes the newest word, and sees it through.

use std::{path::PathBuf, time::Duration};

use muster_common::{drain::Drain, error_chain::Chain, generation::Offer as Judged, reason::Reason, tasks};

use super::{
    Content, ITEM, Options, failure,
    order::busy,
    record::{self, Coming, Record},
    wait::Again,
};
use crate::{
    locks::Locks,
    platform::files,
    state::{
        Cause, ItemError, ItemState, ItemVersion, Keeper, Kept, Offer, Outcome, Progress, Removal, Wish,
    },
    verbs::messages::{UpgradeOver, UpgradePending},
};

/// Between looks how far it is.
const LOOK: Duration = Duration::from_secs(1);
/// Between looks whether it is time for another try.
const IDLE: Duration = Duration::from_secs(5);

/// The room cannot begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", folder.display())]
pub struct Error {
    folder: PathBuf,
    #[source]
    source: std::io::Error,
}

/// The task.
pub struct Task {
    pub(super) options: Options,
    kept: Kept,
    pub(super) record: Option<Record>,
    /// What is wanted next.
    next: Option<Wish>,
    /// The rules under which it failed.
    rules: Locks,
    /// What failed is worth a try at once.
    is_hastened: bool,
}

impl Task {
    /// Reads what there is, and gives what others hold of the room.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub async fn open(options: Options) -> Result<(Keeper, Self), Error> {
        let folder = options.folder.clone();
        let read = move || {
            files::private_folder(&folder)?;
            Record::read(&folder)
        };
        let record = tasks::blocking(read).await;
        let record = record.map_err(|source| Error { folder: options.folder.clone(), source })?;
        // Without a word of ours the control plane says anew what it wants.
        let record = record.filter(|record| record.is_of(&options.version));
        let (keeper, kept) = Keeper::new(record.iter().map(|record| record.state.clone()).collect());
        let rules = options.locks.current();
        Ok((keeper, Self { options, kept, record, next: None, rules, is_hastened: false }))
    }

    /// Works until the process ends. What is under way then is told on by the next one.
    pub async fn run(mut self, drain: Drain) {
        let work = async {
            loop {
                Box::pin(self.turn()).await;
            }
        };
        tokio::select! {
            biased;
            () = drain.begun() => {}
            () = work => {}
        }
    }

    async fn turn(&mut self) {
        if let Some(wish) = self.kept.take() {
            self.next = Some(wish);
        }
        let rules = self.options.locks.current();
        self.is_hastened |= self.kept.take_connected() | (rules != self.rules);
        self.rules = rules;
        if let Some(record) = self.record.clone().filter(Record::is_at_work)
            && let Some(coming) = record.coming.clone()
        {
            return self.go_on(record, coming).await;
        }
        if !self.options.pauses.holds() {
            if let Some(wish) = self.next.take() {
                return self.take(wish).await;
            }
            if let Some(record) = self.due() {
                return self.keep(record).await;
            }
        }
        self.is_hastened = false;
        let is_waiting = self.next.is_some() || self.record.as_ref().is_some_and(|it| it.again.is_some());
        if is_waiting {
            let _ = tokio::time::timeout(IDLE, self.kept.changed()).await;
        } else {
            self.kept.changed().await;
        }
    }

    async fn take(&mut self, wish: Wish) {
        match wish {
            Wish::Bring(offer) => self.bring(*offer).await,
            Wish::Remove(removal) => self.remove(&removal).await,
        }
    }

    async fn bring(&mut self, offer: Offer) {
        let state = self.record.as_ref().map(|record| &record.state);
        let held = state.and_then(|state| state.attempted.as_ref().or(state.running.as_ref()));
        let judged = held.map_or(Judged::Newer, |held| {
            let (offered, at) = (offer.version.sha256, offer.version.generation);
            Judged::judge(at, offered.as_bytes(), held.generation, held.sha256.as_bytes())
        });
        match judged {
            Judged::Older => self.tell(),
            Judged::Same => match self.due() {
                Some(record) => self.keep(record).await,
                None => self.tell(),
            },
            Judged::Newer | Judged::Conflicting => self.begin(&offer).await,
        }
    }

    async fn begin(&mut self, offer: &Offer) {
        let (version, running) = (offer.version.clone(), self.running());
        let state = ItemState { running, ..self.state(version.clone()) };
        let content = match Content::decode(offer) {
            Ok(content) => content,
            Err(error) => {
                let state = ItemState { outcome: Outcome::Rejected, error: Some(error), ..state };
                return self.keep(Record { state, coming: None, again: None, agent: None }).await;
            }
        };
        if content.version == self.options.version {
            let state = ItemState { running: Some(version), outcome: Outcome::Unchanged, ..state };
            return self.keep(Record { state, coming: None, again: None, agent: None }).await;
        }
        let coming = Coming { version, content, is_ordered: false, before: None, tried: None };
        self.keep(Record { state: self.scheduled(state), coming: Some(coming), again: None, agent: None })
            .await;
    }

    /// Nothing on the host changes: the version that runs stays.
    async fn remove(&mut self, removal: &Removal) {
        let state = self.record.as_ref().map(|record| &record.state);
        let held = state.into_iter().flat_map(|state| state.attempted.iter().chain(&state.running));
        if held.map(|held| held.generation).max().is_some_and(|held| held > removal.generation) {
            return self.tell(); // an older word than what is here
        }
        let folder = self.options.folder.clone();
        if let Err(error) = tasks::blocking(move || record::forget(&folder)).await {
            tracing::error!(%error, "the record of the agent's release could not be taken away: {error}");
        }
        self.record = None;
        self.tell();
    }

    /// The record with what failed under way again, if it is time.
    fn due(&mut self) -> Option<Record> {
        let is_hastened = std::mem::take(&mut self.is_hastened); // good for one try
        let record = self.record.clone()?;
        let (again, coming) = (record.again?, record.coming?);
        if !(again.is_due(self.options.clock.now()) || is_hastened && again.is_hastened()) {
            return None;
        }
        let running = record.state.running;
        let state = ItemState { running, ..self.state(coming.version.clone()) };
        let coming = Coming { is_ordered: false, before: None, tried: Some(again), ..coming };
        Some(Record { state: self.scheduled(state), coming: Some(coming), again: None, agent: None })
    }

    /// One step of what is under way.
    async fn go_on(&mut self, record: Record, coming: Coming) {
        if coming.is_ordered {
            return self.follow(record, coming).await;
        }
        match self.order(coming.clone()).await {
            Ok(coming) => self.remember(Record { coming: Some(coming), ..record }).await,
            Err(error) => self.fail(coming, Outcome::Rejected, error).await,
        }
    }

    /// Tells how far the watchdog is, until it is over.
    async fn follow(&mut self, record: Record, coming: Coming) {
        let now = match self.options.port.look().await {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!("it cannot be seen how far the upgrade is: {}", error.message);
                return tokio::time::sleep(IDLE).await;
            }
        };
        let version = &coming.content.version;
        let is_its = |to: &str, begun: i64| to == version && Some(begun) != coming.before;
        if let Some(pending) = &now.pending {
            if !is_its(&pending.to, pending.begun_ms) {
                let error = busy(pending);
                return self.fail(coming, Outcome::Rejected, error).await;
            }
            let progress = progress(pending);
            if record.state.progress.as_ref() != Some(&progress) {
                let state = ItemState { progress: Some(progress), ..record.state.clone() };
                self.record = Some(Record { state, ..record });
                self.tell();
            }
            return tokio::time::sleep(LOOK).await;
        }
        match now.last.filter(|last| is_its(&last.to, last.begun_ms)) {
            Some(last) => self.finish(coming, last).await,
            None if *version == self.options.version => self.applied(coming).await,
            None => {
                let error =
                    failure::error(Reason::UpgradeFailed, Cause::Host, "the upgrade is gone without an end");
                self.fail(coming, Outcome::Rejected, error).await;
            }
        }
    }

    async fn finish(&mut self, coming: Coming, last: UpgradeOver) {
        let Some(failed) = last.failure else {
            if coming.content.version == self.options.version {
                return self.applied(coming).await;
            }
            let error = failure::error(
                Reason::UpgradeFailed,
                Cause::Host,
                "the version was put in place, and another one runs",
            );
            return self.fail(coming, Outcome::Rejected, error).await;
        };
        let outcome = match last.end.as_str() {
            "rolled-back" => Outcome::RolledBack,
            "failed" => Outcome::Broken,
            _ => Outcome::Rejected,
        };
        self.fail(coming, outcome, failure::of_watchdog(failed)).await;
    }

    async fn applied(&mut self, coming: Coming) {
        let version = Some(coming.version.clone());
        let state = ItemState { running: version, outcome: Outcome::Applied, ..self.state(coming.version) };
        self.keep(Record { state, coming: None, again: None, agent: None }).await;
    }

    /// It is settled if it is the version's own fault, or if nobody but a person can help.
    async fn fail(&mut self, coming: Coming, outcome: Outcome, error: ItemError) {
        tracing::warn!(reason = %error.reason, "the agent does not become {}: {}", coming.content.version, error.message);
        let is_settled = error.cause == Cause::Content || outcome == Outcome::Broken;
        let now = self.options.clock.now();
        let again = Again::after(coming.tried, outcome == Outcome::RolledBack, now);
        let running = self.running();
        let state = ItemState { running, outcome, error: Some(error), ..self.state(coming.version.clone()) };
        let (coming, again) = if is_settled { (None, None) } else { (Some(coming), Some(again)) };
        self.keep(Record { state, coming, again, agent: None }).await;
    }

    fn running(&self) -> Option<ItemVersion> {
        self.record.as_ref().and_then(|record| record.state.running.clone())
    }

    fn state(&self, attempted: ItemVersion) -> ItemState {
        ItemState {
            item: ITEM.to_owned(),
            running: None,
            attempted: Some(attempted),
            outcome: Outcome::UnderWay,
            error: None,
            changed_at: self.options.clock.now(),
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    fn scheduled(&self, state: ItemState) -> ItemState {
        let since = self.options.clock.now();
        let progress = Progress { step: "scheduled".to_owned(), percent: 0, since, message: String::new() };
        ItemState { progress: Some(progress), ..state }
    }

    pub(super) fn tell_step(&mut self, step: &str, percent: u8, message: &str) {
        let now = self.options.clock.now();
        let Some(record) = &mut self.record else { return };
        let before = record.state.progress.as_ref().filter(|before| before.step == step);
        let since = before.map_or(now, |before| before.since);
        let progress = Progress { step: step.to_owned(), percent, since, message: message.to_owned() };
        record.state.progress = Some(progress);
        self.tell();
    }

    /// Tells how it stands. Also where that is no news: it may be an answer.
    fn tell(&self) {
        self.kept.tell(self.record.iter().map(|record| record.state.clone()).collect());
    }

    /// Writes down what is so from now on, and tells it. What the disk does not take now it
    /// takes with the next change.
    async fn keep(&mut self, record: Record) {
        self.remember(record).await;
        self.tell();
    }

    async fn remember(&mut self, record: Record) {
        let record = Record { agent: Some(self.options.version.clone()), ..record };
        if let Err(error) = self.save(&record).await {
            tracing::error!(error = %Chain(&error), "the record of the agent's release could not be written");
        }
        self.record = Some(record);
    }

    pub(super) async fn save(&self, record: &Record) -> std::io::Result<()> {
        let (folder, record) = (self.options.folder.clone(), record.clone());
        tasks::blocking(move || record.save(&folder)).await
    }
}

fn progress(pending: &UpgradePending) -> Progress {
    Progress {
        step: pending.step.clone(),
        percent: u8::try_from(pending.percent.min(100)).unwrap_or(100),
        since: muster_common::clock::UnixMillis(pending.since_ms),
        message: failure::error(Reason::UpgradeFailed, Cause::Host, pending.message.as_str()).message,
    }
}
