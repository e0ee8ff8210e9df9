//! The way of a change through its steps, and the way back.

use std::io;

use muster_common::{crash, reason::Reason};

use super::{
    Applier, Failure,
    attempt::{Attempt, refused},
    bundle::{Bundle, Hook},
    hooks::{self, Context, Stage},
    journal::{Journal, Phase},
    records::{Record, Records},
};

/// What a change is about.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) version: &'a str,
    /// `None`: the item is taken off the host.
    pub(super) new: Option<&'a Bundle>,
    /// What runs until now.
    pub(super) former: Option<Bundle>,
}

impl Change<'_> {
    /// The hook that tells services about changed files.
    fn on_change(&self) -> Option<&Hook> {
        match self.new {
            Some(new) => new.on_change.as_ref(),
            None => self.former.as_ref()?.on_change.as_ref(),
        }
    }

    /// The hook that tells them about the files of before. Without a former
    /// bundle the new one's, provided that it has worked once.
    fn on_return(&self, worked: bool) -> Option<&Hook> {
        match &self.former {
            Some(former) => former.on_change.as_ref(),
            None => self.on_change().filter(|_| worked),
        }
    }
}

impl Applier {
    /// Carries an attempt out: all of it, or nothing. `commit` is the point of decision.
    pub(super) async fn carry_out(
        &mut self,
        attempt: Attempt,
        change: Change<'_>,
        commit: impl FnOnce(&mut Records) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let changes = attempt.changes();
        let context = Context { item: &attempt.journal.item.clone(), version: change.version, stage: None };
        let attempt = stage(attempt).await?;
        if let Err(failure) = self.validate(&change, context).await {
            return Err(way_back(attempt, failure, None, context).await);
        }
        let (attempt, swapped) = blocking(attempt, Attempt::swap).await;
        if let Err(error) = swapped {
            return Err(way_back(attempt, refused(&error).rolled_back(), None, context).await);
        }
        let on_change = change.on_change().filter(|_| changes);
        if let Err(failure) = hooks::run(on_change, Reason::OnChangeFailed, context).await {
            let back = change.on_return(false).filter(|_| changes);
            return Err(way_back(attempt, failure.rolled_back(), back, context).await);
        }
        crash::point("agent.apply.hooked");
        let back = change.on_return(true).filter(|_| changes);
        let probe = change.new.and_then(|new| new.probe.as_ref());
        if let Err(failure) = hooks::run(probe, Reason::ProbeFailed, context).await {
            return Err(way_back(attempt, failure.rolled_back(), back, context).await);
        }
        crash::point("agent.apply.before-commit");
        if let Err(error) = commit(&mut self.records) {
            return Err(way_back(attempt, Failure::host(&error).rolled_back(), back, context).await);
        }
        crash::point("agent.apply.committed");
        let (_, finished) = blocking(attempt, |attempt| attempt.finish()).await;
        if let Err(error) = finished.and_then(|()| self.records.sweep()) {
            tracing::warn!(%error, "what was left of a change of {} could not be cleared away", context.item);
        }
        Ok(())
    }

    async fn validate(&self, change: &Change<'_>, context: Context<'_>) -> Result<(), Failure> {
        let Some((new, hook)) = change.new.and_then(|new| Some((new, new.validate.as_ref()?))) else {
            return Ok(());
        };
        let stage = Stage::lay_out(&self.folder, new).map_err(|error| Failure::host(&error))?;
        hooks::run(Some(hook), Reason::ValidateFailed, Context { stage: Some(stage.path()), ..context }).await
    }

    /// Undoes what an earlier process did not finish; what was decided is cleared up.
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        let Some(journal) = Journal::load(&self.folder)? else { return Ok(()) };
        let item = journal.item.clone();
        let record = self.records.get(&item);
        let runs = record.and_then(|record| record.state.running.as_ref()).map(|running| running.generation);
        let decided = if journal.removal { record.is_none() } else { runs == Some(journal.generation) };
        let settled = if decided {
            journal.clear()
        } else {
            tracing::warn!(item, "a change of {item} was cut off and is undone");
            journal.undo()
        };
        if let Err(error) = settled {
            return self.give_up(&journal, &error);
        }
        if !decided && journal.phase == Phase::Swapping {
            self.tell_services(&item).await;
        }
        Journal::forget(&self.folder)
    }

    /// A change that cannot be undone must not stop the agent: a person is told.
    fn give_up(&mut self, journal: &Journal, error: &io::Error) -> io::Result<()> {
        let item = journal.item.clone();
        tracing::error!(item, %error, "an unfinished change of {item} could not be undone: {error}");
        let running = self.records.get(&item).and_then(|record| record.state.running.clone());
        let failure = Failure::host(error).broken(&error.to_string());
        let state = failure.state(&item, running.clone(), running, self.clock.now());
        let record = self.records.get(&item).cloned().unwrap_or_else(|| Record::new(state.clone()));
        self.records.put(Record { state, ..record })?;
        Journal::set_aside(&self.folder, self.clock.now())
    }

    async fn tell_services(&self, item: &str) {
        let former = self.records.get(item).and_then(|record| self.records.payload(record));
        let hook = former.as_ref().and_then(|former| former.on_change.as_ref());
        let context = Context { item, version: "", stage: None };
        if let Err(failure) = hooks::run(hook, Reason::RollbackFailed, context).await {
            tracing::error!(item, "after the return to the former {item}: {}", failure.error.message);
        }
    }
}

async fn stage(attempt: Attempt) -> Result<Attempt, Failure> {
    if !attempt.changes() {
        return Ok(attempt);
    }
    let (attempt, staged) = blocking(attempt, |attempt| attempt.stage()).await;
    match staged {
        Ok(()) => Ok(attempt),
        Err(error) => {
            Err(way_back(attempt, refused(&error), None, Context { item: "", version: "", stage: None })
                .await)
        }
    }
}

/// Undoes an attempt, and says how that went.
async fn way_back(attempt: Attempt, failure: Failure, hook: Option<&Hook>, context: Context<'_>) -> Failure {
    if attempt.changes() {
        let (_, undone) = blocking(attempt, |attempt| attempt.undo()).await;
        if let Err(error) = undone {
            return failure.broken(&error.to_string());
        }
    }
    match hooks::run(hook, Reason::RollbackFailed, context).await {
        Ok(()) => failure,
        Err(second) => failure.broken(&second.error.message),
    }
}

/// Works with files on a thread where waiting for the disk harms nobody.
async fn blocking(
    mut attempt: Attempt,
    work: impl FnOnce(&mut Attempt) -> io::Result<()> + Send + 'static,
) -> (Attempt, io::Result<()>) {
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut attempt);
        (attempt, result)
    });
    match done.await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
