//! A story, step by step, each written down before it begins.

use std::{io, sync::Arc, time::Duration};

use muster_common::{clock::UnixMillis, crash, reason::Reason};

use super::{
    content::Version,
    failure,
    machine::{End, Ended, Former, Next, Of, Step},
    program,
    record::{Journal, Record, Removal, Trace},
    worker::Worker,
};
use crate::state::{self, Cause, Health, ItemError, ItemState, Outcome, Progress, Wish};

/// A step that ended the agent so often is given up.
const MOST_TRIES: u32 = 3;
const FETCHES: Duration = Duration::from_secs(3600);
const UNPACKS: Duration = Duration::from_secs(900);
/// Beside the time of a verb: to configure, to start it, to end it, to read its status.
const SLACK: Duration = Duration::from_secs(120);

impl Journal {
    pub(super) const fn new(step: Step, failure: Option<ItemError>) -> Self {
        let (began, until) = (UnixMillis(0), UnixMillis(0));
        Self { step, began, until, tries: 0, trace: None, failure }
    }
}

impl Record {
    fn former(&self) -> Former {
        match (&self.current, &self.coming) {
            (None, _) => Former::None,
            (Some(current), Some(coming)) if current.is_package_of(coming) => Former::Settings,
            (Some(_), _) => Former::Package,
        }
    }

    /// The version that a step is about.
    pub(super) fn version(&self, of: Of) -> Option<&Version> {
        match of {
            Of::New => self.coming.as_ref(),
            Of::Former => self.current.as_ref(),
        }
    }
}

impl Worker {
    /// Takes the step that the journal names, and writes down what follows.
    pub(super) async fn step(&mut self) {
        let Some(mut record) = self.record.clone() else { return };
        let Some(mut journal) = record.journal.take() else { return };
        let left = self.end_left(journal.trace.take()).await;
        let alone = left.as_ref().map_or(Ok(()), |(_, error)| Err(failure::of_depot(error)));
        journal.trace = left.map(|(trace, _)| trace);
        let (step, limit, now) = (journal.step, self.limit(journal.step), self.shared.options.clock.now());
        journal.tries = journal.tries.saturating_add(1);
        journal.began = now;
        journal.until =
            UnixMillis(now.0.saturating_add(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)));
        record.state.progress =
            Some(Progress { step: step.told().to_owned(), percent: 0, since: now, message: String::new() });
        let tries = journal.tries;
        record.journal = Some(journal);
        let written = self.save(&record).await;
        self.record = Some(record);
        self.tell();
        crash::point("extensions.step.begun");
        let part = self.story.begin(step.part());
        self.place = part.place();
        let result = match written.map_err(|error| failure::of_depot(&error)).and(alone) {
            // Going back is done all the same.
            Err(error) if !step.leads_back() => Err(error),
            // What is fetched runs nothing yet, and goes on where it was.
            _ if tries > MOST_TRIES && step != Step::Fetching => {
                let message =
                    format!("{}: the agent ended in the middle of it, {MOST_TRIES} times", step.told());
                Err(failure::host(Reason::CutOff, message))
            }
            _ => match tokio::time::timeout(limit, self.perform(step)).await {
                Ok(result) => result,
                Err(_) => Err(failure::not_over(step, limit)),
            },
        };
        self.place = None;
        part.end(result.as_ref().err().map_or("", |error| error.reason.as_str()));
        crash::point("extensions.step.done");
        Box::pin(self.follow(step, result)).await;
    }

    /// Ends what was begun for a step before. What does not end is carried on.
    async fn end_left(&self, trace: Option<Trace>) -> Option<(Trace, io::Error)> {
        let trace = trace?;
        let error = program::end_leftover(&self.shared.options.depots, &trace).await.err()?;
        tracing::warn!(name = self.name, %error, "what was begun for {} may go on", self.name);
        Some((trace, error))
    }

    async fn follow(&mut self, step: Step, result: Result<(), ItemError>) {
        let Some(mut record) = self.record.clone() else { return };
        let (trace, first) =
            record.journal.take().map_or((None, None), |journal| (journal.trace, journal.failure));
        let (ended, failed) = match result {
            Ok(()) => (Ended::Well, None),
            Err(error) => (Ended::Badly, Some(error)),
        };
        if let Some(error) = &failed {
            let what = step.told();
            tracing::warn!(name = self.name, reason = %error.reason, "{what} of {} failed: {}", self.name, error.message);
        }
        match step.next(ended, record.former(), record.removal.is_some()) {
            Next::Step(next) => {
                // The first failure is why it leads back; those on the way back do not hide it.
                let failure = match first {
                    None if next.leads_back() && record.removal.is_none() => failed,
                    first => first,
                };
                record.journal = Some(Journal { trace, ..Journal::new(next, failure) });
                self.keep(record).await;
            }
            Next::End(end) => self.finish(record, end, first, failed).await,
        }
    }

    async fn finish(
        &mut self,
        mut record: Record,
        end: End,
        first: Option<ItemError>,
        failed: Option<ItemError>,
    ) {
        let now = self.shared.options.clock.now();
        let error = match end {
            End::Broken => failed.map(|back| failure::broken(first.as_ref(), back)),
            _ => first.or(failed),
        };
        let coming = record.coming.take();
        let outcome = match end {
            End::Runs => Outcome::Applied,
            End::Refused => Outcome::Rejected,
            End::Returned | End::Undone => Outcome::RolledBack,
            End::Broken | End::Stuck => Outcome::Broken,
            End::Gone => return self.gone(record).await,
        };
        if let (End::Stuck, Some(Removal::ControlPlane(version))) = (end, record.removal.take()) {
            let (item, generation) = (record.state.item.clone(), version.generation);
            let traceparent = String::new(); // tried again, it is no part of what was asked
            self.remember(Wish::Remove(state::Removal { item, generation, traceparent }));
        }
        match end {
            End::Runs => record.current = coming,
            End::Undone => record.current = None,
            _ => {}
        }
        let running = match end {
            End::Runs | End::Returned => record.current.as_ref().map(|version| version.version.clone()),
            // As before: of what was broken nothing runs.
            End::Refused => record.state.running.take(),
            End::Undone | End::Broken | End::Stuck | End::Gone => None,
        };
        // What broke for the host's sake, too: there may be room, or a systemd, by then.
        let is_retried = error.as_ref().is_some_and(failure::is_retried);
        let health = record.state.health.take().filter(|_| running.is_some());
        let attempted = record.state.attempted.take();
        self.end_story(attempted.as_ref(), error.as_ref().map_or("", |error| error.reason.as_str()));
        record.state =
            ItemState { running, outcome, error, health, changed_at: now, ..self.state(attempted) };
        self.again(is_retried);
        // Of what is broken and was never here, a person looks at what there is.
        record.untidy = record.current.is_some() || !matches!(end, End::Broken | End::Stuck);
        self.keep(record).await;
        crash::point("extensions.story.ended");
        self.tidy().await;
    }

    /// Packages that nothing needs any more go. What is not done the next agent does.
    pub(super) async fn tidy(&mut self) {
        let Some(mut record) = self.record.clone().filter(|record| record.untidy) else { return };
        let kept: Vec<_> = record.current.iter().map(|version| version.package.clone()).collect();
        let depots = self.shared.options.depots.clone();
        let tidied = match kept.as_slice() {
            [] => depots.clear(&self.name).await,
            kept => depots.keep(&self.name, kept).await,
        };
        if let Err(error) = tidied {
            tracing::warn!(name = self.name, %error, "old packages of {} could not be taken away", self.name);
            return;
        }
        record.untidy = false;
        self.keep(record).await;
    }

    /// Of what the host's administrator took away stays what is needed to know it again.
    async fn gone(&mut self, mut record: Record) {
        tracing::info!(name = self.name, "{} was taken off this host", self.name);
        // Who asked for it meanwhile has it now.
        self.inbox.take_remove();
        let current = record.current.take();
        match (record.removal.take(), current) {
            (Some(Removal::Host), Some(version)) => {
                let attempted = record.state.attempted.take();
                // Also what was tried after it: that is what is wanted of this host still.
                let tried = attempted.iter().map(|attempted| attempted.sha256);
                record.removed_here = tried.chain([version.version.sha256]).collect();
                record.removed_here.dedup();
                record.state = ItemState { error: Some(failure::removed_here()), ..self.state(attempted) };
                record.state.outcome = Outcome::Rejected;
                self.retry = None;
                self.keep(record).await;
            }
            (Some(Removal::ControlPlane(version)), _) => {
                self.end_story(Some(&version), "");
                self.forget().await;
            }
            _ => self.forget().await,
        }
    }

    /// Does what a step is.
    async fn perform(&mut self, step: Step) -> Result<(), ItemError> {
        match step {
            Step::Fetching => self.fetch().await,
            Step::Unpacking => self.unpack().await,
            Step::Proving => self.prove(Of::New).await,
            Step::Reproving => self.prove(Of::Former).await,
            Step::Clearing => {
                self.shared.options.depots.clear(&self.name).await.map_err(|error| failure::of_depot(&error))
            }
            Step::Stopping | Step::Leaving | Step::Disabling => {
                self.stop_program().await;
                self.run_verb(step).await
            }
            Step::Enabling | Step::Restarting => {
                // With the settings of before it does not run on.
                self.stop_program().await;
                self.run_verb(step).await
            }
            Step::Installing | Step::Updating | Step::Undoing | Step::Returning | Step::Uninstalling => {
                self.run_verb(step).await
            }
        }
    }

    async fn fetch(&mut self) -> Result<(), ItemError> {
        let coming = self.record.as_ref().and_then(|record| record.coming.as_ref());
        let Some(artifact) = coming.map(|version| version.artifact.clone()) else { return Ok(()) };
        let (shared, name, size) = (Arc::clone(&self.shared), self.name.clone(), artifact.size.max(1));
        let state = self.record.as_ref().map(|record| record.state.clone());
        let told = move |bytes: u64| {
            let Some(mut state) = state.clone() else { return };
            if let Some(progress) = &mut state.progress {
                progress.percent = u8::try_from((bytes.saturating_mul(100) / size).min(100)).unwrap_or(100);
            }
            shared.tell(&name, Some(state));
        };
        self.shared.options.source.obtain(&artifact, Arc::new(told)).await
    }

    async fn unpack(&mut self) -> Result<(), ItemError> {
        let options = &self.shared.options;
        let Some(coming) = self.record.as_mut().and_then(|record| record.coming.as_mut()) else {
            return Ok(());
        };
        let manifest =
            options.depots.unpack(&coming.package).await.map_err(|error| failure::of_depot(&error))?;
        if let Some(why) = manifest.misfits(std::env::consts::OS, std::env::consts::ARCH) {
            return Err(failure::error(Reason::ExtensionPackageInvalid, Cause::Content, why));
        }
        if manifest.requires_limits && !options.depots.has_units() {
            let message =
                "the package is not to run without its limits, and there is no systemd that holds them";
            return Err(failure::content(Reason::ExtensionLimitsUnenforced, message.to_owned()));
        }
        coming.manifest = Some(manifest);
        Ok(())
    }

    /// How long a step may take at most, whatever it waits for.
    fn limit(&self, step: Step) -> Duration {
        match step.verb() {
            Some((of, verb)) => self.time_of(of, verb).saturating_add(SLACK),
            None => match step {
                Step::Fetching => FETCHES,
                Step::Proving | Step::Reproving => super::prove::MOST.saturating_add(SLACK),
                _ => UNPACKS,
            },
        }
    }

    /// Notes how it is with what runs.
    pub(super) async fn note_health(&mut self, healthy: bool, message: String) {
        let Some(mut record) = self.record.clone() else { return };
        let known = record.state.health.as_ref();
        if known.is_some_and(|known| known.healthy == healthy && known.message == message) {
            return;
        }
        let same = known.filter(|known| known.healthy == healthy).map(|known| known.since);
        let since = same.unwrap_or_else(|| self.shared.options.clock.now());
        record.state.health = Some(Health { healthy, message, since });
        self.keep(record).await;
    }
}
