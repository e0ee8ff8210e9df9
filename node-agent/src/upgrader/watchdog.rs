//! Drives an upgrade to its end: does what the stage is about, and writes down the next one
//! before anything of it is done.

use std::{io, time::Duration};

use muster_common::{clock::UnixMillis, crash};

use super::{
    machine::{Event, Failure, Kind, Place, Seen, Stage, Which},
    record::{Plan, Record},
};

/// How far a watch is, is written down when so much more of it is over.
const NOTED: Duration = Duration::from_secs(10);

/// What an upgrade needs of a host. Everything may be repeated.
pub(super) trait Host {
    /// Lays the new version and the way back beside what runs. Answers the plan, with the names
    /// that what came has itself.
    ///
    /// # Errors
    /// If it cannot: nothing of what runs has changed.
    fn stage(&mut self, plan: &Plan) -> Result<Plan, Failure>;

    /// Puts a version in the place and lets it start. One that is there is only started.
    ///
    /// # Errors
    /// If it is not in the place. What is there instead was told to start.
    fn switch(&mut self, plan: &Plan, to: Which) -> Result<(), Failure>;

    /// Which version would be started.
    fn installed(&self, plan: &Plan) -> Place;

    /// How the agent's service stands.
    fn look(&mut self, plan: &Plan, wanted: Which) -> Seen;

    /// What the version that runs said last. It is kept, too.
    fn last_words(&mut self, plan: &Plan) -> String;

    /// Lets some time pass; answers how much.
    fn wait(&mut self) -> Duration;

    /// By the host's clock.
    fn now(&self) -> UnixMillis;

    /// Writes down how far it is.
    ///
    /// # Errors
    /// If it is not durable.
    fn keep(&mut self, record: &Record) -> io::Result<()>;
}

/// Goes on from what another watchdog left: that is written down before anything is seen, as
/// there may be no time for more.
pub(super) fn resumed(record: Record, host: &mut impl Host) -> Record {
    let Record { plan, stage: before, since } = record;
    let stage = before.clone().resumed();
    if stage == before {
        return Record { plan, stage, since };
    }
    let since = if stage.name() == before.name() { since } else { host.now() };
    let record = Record { plan, stage, since };
    if let Err(error) = host.keep(&record) {
        tracing::warn!(%error, "cannot write down that the upgrade goes on: {error}");
    }
    record
}

/// One step further. It is written down, or could not be and may be done all the same.
pub(super) fn advance(record: Record, host: &mut impl Host) -> Record {
    let Record { plan, stage, since } = record;
    let (plan, event) = match &stage {
        Stage::Verified => match host.stage(&plan) {
            Ok(named) => (named, Event::Done(Ok(()))),
            Err(why) => (plan, Event::Done(Err(why))),
        },
        _ => {
            let event = act(&plan, &stage, host);
            (plan, event)
        }
    };
    crash::point(acted(&stage));
    let (before, was_over) = (stage.clone(), spent(&stage));
    let mut next = stage.after(event, plan.limits);
    if let (Stage::Switching | Stage::Probation(_), Stage::RollingBack { why, .. }) = (&before, &mut next) {
        why.output = host.last_words(&plan);
    }
    let is_news = next.name() != before.name() || kind(&next) != kind(&before);
    let since = if is_news { host.now() } else { since };
    let is_due = spent(&next).as_secs() / NOTED.as_secs() != was_over.as_secs() / NOTED.as_secs();
    let next = Record { plan, stage: next, since };
    if !is_news && !is_due {
        return next;
    }
    let kept = host.keep(&next);
    crash::point(kept_as(&next.stage));
    match kept {
        // It must be known afterwards that the place was about to change.
        Err(error) if next.stage == Stage::Switching => {
            let why = Failure::new(kind_of(&error), format!("cannot write down what comes next: {error}"));
            Record { stage: before.after(Event::Done(Err(why)), next.plan.limits), ..next }
        }
        Err(error) => {
            // What was written before leads to the same place, only later.
            tracing::warn!(%error, "cannot write down how far the upgrade is: {error}");
            next
        }
        Ok(()) => next,
    }
}

fn act(plan: &Plan, stage: &Stage, host: &mut impl Host) -> Event {
    match stage {
        Stage::Verified | Stage::Staged | Stage::Ended(_) => Event::Done(Ok(())),
        Stage::Switching | Stage::RollingBack { .. } if host.installed(plan) == Place::Other => {
            Event::Replaced
        }
        Stage::Switching => match host.switch(plan, Which::New) {
            Err(why) if host.installed(plan) == Place::Has(Which::Old) => Event::Untouched(why),
            done => Event::Done(done),
        },
        Stage::RollingBack { tries, .. } => {
            if *tries > 0 {
                host.wait();
            }
            Event::Done(host.switch(plan, Which::Old))
        }
        Stage::Probation(_) => {
            let passed = host.wait();
            Event::Looked(passed, host.look(plan, Which::New))
        }
        Stage::Returned { .. } => {
            let passed = host.wait();
            Event::Looked(passed, host.look(plan, Which::Old))
        }
    }
}

const fn spent(stage: &Stage) -> Duration {
    match stage {
        Stage::Probation(watch) | Stage::Returned { watch, .. } => watch.spent,
        _ => Duration::ZERO,
    }
}

/// Where what a stage is about is done, and not written down yet.
const fn acted(stage: &Stage) -> &'static str {
    match stage {
        Stage::Verified => "upgrade.acted.verified",
        Stage::Staged => "upgrade.acted.staged",
        Stage::Switching => "upgrade.acted.switching",
        Stage::Probation(_) => "upgrade.acted.probation",
        Stage::RollingBack { .. } => "upgrade.acted.rolling-back",
        Stage::Returned { .. } => "upgrade.acted.returned",
        Stage::Ended(_) => "upgrade.acted.ended",
    }
}

/// Where a stage is written down, and nothing of it done yet.
const fn kept_as(stage: &Stage) -> &'static str {
    match stage {
        Stage::Verified => "upgrade.kept.verified",
        Stage::Staged => "upgrade.kept.staged",
        Stage::Switching => "upgrade.kept.switching",
        Stage::Probation(_) => "upgrade.kept.probation",
        Stage::RollingBack { .. } => "upgrade.kept.rolling-back",
        Stage::Returned { .. } => "upgrade.kept.returned",
        Stage::Ended(_) => "upgrade.kept.ended",
    }
}

/// Stages of one name that are not the same.
const fn kind(stage: &Stage) -> bool {
    matches!(stage, Stage::Returned { .. })
}

/// Whether the disk was full, or something else was.
pub(super) fn kind_of(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::DiskFull,
        io::ErrorKind::InvalidData => Kind::Invalid,
        _ => Kind::Host,
    }
}

#[cfg(test)]
mod tests;
