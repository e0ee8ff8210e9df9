//! The way of a change through its steps, and the way back.

use std::{io, time::Duration};

use muster_common::{crash, reason::Reason};

use super::{
    Applier, Failure,
    attempt::{Attempt, refused},
    bundle::{Bundle, Hook},
    hooks::{self, Context, Stage},
    records::Records,
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

/// What speaks against a change that is in place.
#[derive(Debug)]
pub(super) struct Objection {
    pub(super) failure: Failure,
    /// `on_change` has done its work.
    worked: bool,
    /// By this ask the line was to prove itself, and it did not.
    asked: Option<u64>,
}

impl Objection {
    pub(super) const fn of_a_change_that_was_told(failure: Failure) -> Self {
        Self { failure, worked: true, asked: None }
    }

    pub(super) const fn of_the_line(failure: Failure, asked: u64) -> Self {
        Self { failure, worked: true, asked: Some(asked) }
    }
}

impl Change<'_> {
    /// The hook that tells services about changed files.
    pub(super) fn on_change(&self) -> Option<&Hook> {
        match self.new {
            Some(new) => new.on_change.as_ref(),
            None => self.former.as_ref()?.on_change.as_ref(),
        }
    }

    /// Within what time the line to the control plane must prove itself. Only what is new
    /// and changes something has to: not a correction, and not a removal.
    fn confirmation(&self, attempt: &Attempt) -> Option<Duration> {
        let new = self.new.filter(|_| attempt.changes() && attempt.journal.correction.is_none());
        new?.confirm_after
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
        &self,
        attempt: Attempt,
        change: Change<'_>,
        commit: impl FnOnce(&mut Records) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Failure> {
        let attempt = self.prepare(attempt, &change).await?;
        let part = self.base.story.begin("swap");
        let (mut attempt, swapped) = self.disk(attempt, Attempt::swap).await;
        part.end(if swapped.is_ok() { "" } else { "io" });
        if let Err(error) = swapped {
            return Err(self.way_back(attempt, refused(&error).rolled_back(), None, &change).await);
        }
        let changes = attempt.changes();
        if let Err(objection) = self.prove(&mut attempt, &change).await {
            let back = change.on_return(objection.worked).filter(|_| changes);
            let failure = self.way_back(attempt, objection.failure.rolled_back(), back, &change).await;
            return Err(match objection.asked {
                Some(asked) => self.blame(failure, asked).await,
                None => failure,
            });
        }
        crash::point("agent.apply.before-commit");
        let part = self.base.story.begin("commit");
        let committed = self.with(commit).await;
        part.end(if committed.is_ok() { "" } else { "io" });
        if let Err(error) = committed {
            let back = change.on_return(true).filter(|_| changes);
            return Err(self.way_back(attempt, Failure::host(&error).rolled_back(), back, &change).await);
        }
        crash::point("agent.apply.committed");
        self.clear_away(attempt).await;
        Ok(())
    }

    /// All that can be done before anything that anybody reads changes.
    async fn prepare(&self, attempt: Attempt, change: &Change<'_>) -> Result<Attempt, Failure> {
        let part = self.base.story.begin("stage");
        let (attempt, staged) = self.disk(attempt, |attempt| attempt.stage()).await;
        part.end(if staged.is_ok() { "" } else { "io" });
        let prepared = match staged {
            Ok(()) => self.validate(change, &attempt).await,
            Err(error) => Err(refused(&error)),
        };
        let confirmed = change.confirmation(&attempt).is_some();
        match prepared.and_then(|()| if confirmed { self.check_line() } else { Ok(()) }) {
            Ok(()) => Ok(attempt),
            Err(failure) => Err(self.way_back(attempt, failure, None, change).await),
        }
    }

    /// Whether what is in place works: by its hooks, and by the line to the control plane.
    async fn prove(&self, attempt: &mut Attempt, change: &Change<'_>) -> Result<(), Objection> {
        let on_change = change.on_change().filter(|_| attempt.changes());
        let told = hooks::run(on_change, Reason::OnChangeFailed, self.context(attempt, change)).await;
        told.map_err(|failure| Objection { failure, worked: false, asked: None })?;
        crash::point("agent.apply.hooked");
        let probe = change.new.and_then(|new| new.probe.as_ref());
        let probed = hooks::run(probe, Reason::ProbeFailed, self.context(attempt, change)).await;
        probed.map_err(Objection::of_a_change_that_was_told)?;
        crash::point("agent.apply.probed");
        match change.confirmation(attempt) {
            Some(within) => self.confirm(attempt, within).await,
            None => Ok(()),
        }
    }

    fn context<'a>(&'a self, attempt: &'a Attempt, change: &Change<'a>) -> Context<'a> {
        let journal = &attempt.journal;
        Context {
            base: &self.base,
            item: &journal.item,
            version: change.version,
            stage: None,
            place: None,
            journal: Some(journal),
        }
    }

    async fn validate(&self, change: &Change<'_>, attempt: &Attempt) -> Result<(), Failure> {
        let Some((new, hook)) = change.new.and_then(|new| Some((new, new.validate.as_ref()?))) else {
            return Ok(());
        };
        let (folder, files) = (self.base.folder.clone(), new.files.clone());
        let laid_out = self.base.blocking(move || Stage::lay_out(&folder, &files)).await;
        let stage = laid_out.map_err(|error| Failure::host(&error))?;
        let context = Context { stage: Some(stage.path()), ..self.context(attempt, change) };
        hooks::run(Some(hook), Reason::ValidateFailed, context).await
    }

    /// What was decided leaves nothing behind.
    async fn clear_away(&self, attempt: Attempt) {
        let (attempt, finished) = self.disk(attempt, |attempt| attempt.finish()).await;
        let swept = self.with(|records| records.sweep()).await;
        let originals = self.sweep_originals().await;
        if let Err(error) = finished.and(swept).and(originals) {
            let item = &attempt.journal.item;
            tracing::warn!(item, %error, "what was left of a change of {item} could not be cleared away");
        }
    }

    /// What the executor kept from before bundles wrote, and nothing needs any more.
    async fn sweep_originals(&self) -> io::Result<()> {
        if self.has_unsaved() {
            return Ok(());
        }
        let needed = self.look(Records::originals);
        let hands = self.base.hands.clone();
        self.base.blocking(move || hands.sweep(&needed)).await
    }

    /// Undoes an attempt, and says how that went.
    async fn way_back(
        &self,
        attempt: Attempt,
        failure: Failure,
        hook: Option<&Hook>,
        change: &Change<'_>,
    ) -> Failure {
        let (attempt, undone) = self.disk(attempt, Attempt::undo).await;
        if let Err(error) = undone {
            // The journal stays: it is tried again before the next change, or by the next process.
            return failure.broken(&error.to_string());
        }
        let failure = match hooks::run_back(hook, self.context(&attempt, change)).await {
            Ok(()) => failure,
            Err(second) => failure.broken(&second.error.message),
        };
        if let Err(error) = self.forget_journal().await {
            let item = &attempt.journal.item;
            tracing::warn!(item, %error, "the journal of a change of {item} that was undone could not be cleared away");
        }
        failure
    }

    async fn disk(
        &self,
        mut attempt: Attempt,
        work: impl FnOnce(&mut Attempt) -> io::Result<()> + Send + 'static,
    ) -> (Attempt, io::Result<()>) {
        let work = move || {
            let result = work(&mut attempt);
            (attempt, result)
        };
        self.base.blocking(work).await
    }
}
