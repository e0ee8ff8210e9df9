//! What an upgrade does next. Pure: what was done and what is seen come in.
//!
//! ```text
//! verified --> staged --> switching --> probation --> committed
//!     |           |           |             |
//!     v           v           +----> rolling-back --> returned --> rolled-back
//!  refused     refused                                    |
//!                                                         +-----> failed
//! ```
//!
//! Until `switching` nothing of what runs has changed. From there on there are two ends in
//! which an agent runs, and one in which neither version does: that is the host's fault,
//! and systemd goes on starting the version before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So often may a version end by itself within its probation. Others may kill it, too.
pub const DEATHS: u32 = 3;
/// So often may the watch over a probation be cut off. What ends it each time may be the new
/// version, and takes the host down before anything is seen of it.
pub const RESUMES: u32 = 3;
/// So often is it tried to put the version before back.
pub const TRIES: u32 = 60;
/// The version before has come back if it is well for so long.
pub const SETTLES: Duration = Duration::from_secs(5);

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The new version is kept if it is well for so long without a break.
    pub probation: Duration,
    /// It may be unwell for so long, although nothing keeps it from being well.
    pub patience: Duration,
    /// It is not kept if it takes longer than this in all, whatever the cause.
    pub longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self { probation: minutes(1), patience: minutes(5), longest: minutes(60) }
    }
}

/// One of two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// Which ran when it began.
    Old,
    /// Which is wanted.
    New,
}

/// What would be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of the two.
    Has(Which),
    /// A third one, which somebody else put there.
    Other,
    /// The host does not say. That is neither good nor bad.
    Unsaid,
}

/// Where an upgrade is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// What it is made from is known to be the right one.
    Verified,
    /// The new version lies beside the old one, and so does the way back.
    Staged,
    /// The new version takes the place.
    Switching,
    /// It runs, or is to.
    Probation(Watch),
    /// The old version takes the place again.
    RollingBack {
        /// Why.
        why: Failure,
        /// How often that was tried.
        tries: u32,
    },
    /// The old version runs again, or is to.
    Returned {
        /// Why.
        why: Failure,
        /// How it does.
        watch: Watch,
    },
    /// It is over.
    Ended(End),
}

/// How long a version has been seen, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watch {
    /// In all.
    pub spent: Duration,
    /// Well, without a break, until now.
    pub well: Duration,
    /// Unwell, since it was last well, while nothing else was to blame.
    pub unwell: Duration,
    /// How often the watch was cut off and went on: the host went down, or somebody killed it.
    #[serde(default)]
    pub resumes: u32,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The new version runs.
    Committed,
    /// Nothing was changed.
    Refused(Failure),
    /// The old version runs again.
    RolledBack(Failure),
    /// Neither does: a person is needed.
    Failed(Failure),
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In one word.
    pub kind: Kind,
    /// For people.
    pub message: String,
    /// What the version that failed said last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// What went wrong, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What should be a release is none, or not that version, or does not run on this host.
    Invalid,
    /// The disk is full.
    DiskFull,
    /// The host cannot do it.
    Host,
    /// It ended again and again.
    Crashed,
    /// It had no session, and the way to the control plane was open.
    Silent,
    /// The way to the control plane was closed for too long.
    CutOff,
    /// The package repository has no such version.
    PackageUnknown,
    /// The package repository does not answer.
    RepositoryUnreachable,
    /// Another process has the package manager's lock.
    PackageManagerBusy,
    /// The host's administrator holds the package at its version.
    PackageHeld,
}

impl Kind {
    /// Whether it is the version's own fault: nothing is gained by trying it again.
    #[must_use]
    pub const fn blames_version(self) -> bool {
        matches!(self, Self::Invalid | Self::Crashed | Self::Silent)
    }
}

/// What is seen of the agent's service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which version would be started.
    pub installed: Place,
    /// Which one runs. `None`: none is up.
    pub runs: Option<Which>,
    /// How often it was started again by itself since it was told to start.
    pub deaths: u32,
    /// It does what this host needs of it: its root half answers, it has a session.
    pub is_well: bool,
    /// It could have a session, and tell of it.
    pub way_is_open: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What the stage is about was done, or not.
    Done(Result<(), Failure>),
    /// It was not done, and the version before is in the place as it was.
    Untouched(Failure),
    /// It was not done: somebody else has put a third version there.
    Replaced,
    /// Time has passed.
    Looked(Duration, Seen),
}

impl Failure {
    /// With no output.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), output: String::new() }
    }
}

impl Stage {
    /// The same for a watchdog that finds it as another one left it.
    #[must_use]
    pub fn resumed(self) -> Self {
        match self {
            Self::Probation(watch) if watch.resumes + 1 >= RESUMES => {
                let message = format!(
                    "the host or the watch over the upgrade went down {RESUMES} times while the new version ran"
                );
                Self::RollingBack { why: Failure::new(Kind::Host, message), tries: 0 }
            }
            Self::Probation(watch) => Self::Probation(Watch { resumes: watch.resumes + 1, ..watch }),
            other => other,
        }
    }

    /// What comes after it.
    #[must_use]
    pub fn after(self, event: Event, limits: Limits) -> Self {
        match (self, event) {
            (Self::Verified, Event::Done(Ok(()))) => Self::Staged,
            (Self::Staged, Event::Done(Ok(()))) => Self::Switching,
            (Self::Verified | Self::Staged, Event::Done(Err(why))) => Self::Ended(End::Refused(why)),
            (Self::Switching, Event::Done(Ok(()))) => Self::Probation(Watch::default()),
            (Self::Switching, Event::Replaced) => replaced("the new version was not put in place"),
            (Self::RollingBack { why, .. }, Event::Replaced) => replaced(&why.message),
            // Who waits for a lock has touched nothing.
            (Self::Switching, Event::Untouched(why)) if why.kind == Kind::PackageManagerBusy => {
                Self::Ended(End::Refused(why))
            }
            (Self::Switching, Event::Done(Err(why)) | Event::Untouched(why)) => {
                Self::RollingBack { why, tries: 0 }
            }
            (Self::Probation(watch), Event::Looked(passed, seen)) => watch.on_probation(passed, seen, limits),
            (Self::RollingBack { why, .. }, Event::Done(Ok(()))) => {
                Self::Returned { why, watch: Watch::default() }
            }
            (Self::RollingBack { why, tries }, Event::Done(Err(error))) => returning(why, tries + 1, &error),
            (Self::Returned { why, watch }, Event::Looked(passed, seen)) => {
                watch.returned(passed, seen, limits, why)
            }
            // Nothing is done about it: it stays.
            (
                same @ (Self::Verified | Self::Staged | Self::Switching | Self::RollingBack { .. }),
                Event::Looked(..),
            )
            | (same @ (Self::Probation(_) | Self::Returned { .. }), Event::Done(_))
            | (same, Event::Untouched(_) | Event::Replaced)
            | (same @ Self::Ended(_), _) => same,
        }
    }

    /// Its stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Staged => "staged",
            Self::Switching => "switching",
            Self::Probation(_) => "probation",
            Self::RollingBack { .. } | Self::Returned { .. } => "rolling-back",
            Self::Ended(End::Committed) => "committed",
            Self::Ended(End::Refused(_)) => "refused",
            Self::Ended(End::RolledBack(_)) => "rolled-back",
            Self::Ended(End::Failed(_)) => "failed",
        }
    }

    /// How much of it is over, 0 to 100.
    #[must_use]
    pub fn percent(&self, limits: Limits) -> u8 {
        let of = |part: Duration, whole: Duration| {
            let percent = part.as_millis() * 100 / whole.as_millis().max(1);
            u8::try_from(percent.min(100)).unwrap_or(100)
        };
        match self {
            Self::Verified | Self::Staged | Self::Switching | Self::RollingBack { .. } => 0,
            Self::Probation(watch) => of(watch.well, limits.probation),
            Self::Returned { watch, .. } => of(watch.well, SETTLES),
            Self::Ended(_) => 100,
        }
    }
}

/// What somebody else put there is theirs: it is left alone.
fn replaced(before: &str) -> Stage {
    let message = format!("{before}; somebody else has put a third version in place, which is left alone");
    Stage::Ended(End::Failed(Failure::new(Kind::Host, message)))
}

fn returning(why: Failure, tries: u32, error: &Failure) -> Stage {
    if tries < TRIES {
        return Stage::RollingBack { why, tries };
    }
    let message = format!("{}; the version before cannot be put back: {}", why.message, error.message);
    Stage::Ended(End::Failed(Failure { message, kind: error.kind, ..why }))
}

impl Watch {
    fn on_probation(self, passed: Duration, seen: Seen, limits: Limits) -> Stage {
        let back = |kind, message: &str| Stage::RollingBack { why: Failure::new(kind, message), tries: 0 };
        if seen.installed == Place::Other {
            return replaced("the new version had not yet shown that it works");
        }
        if seen.installed == Place::Has(Which::Old) {
            // It was decided before, and the note of it was lost; or somebody else did it.
            return back(
                Kind::Host,
                "the version before was put back before the new one had shown that it works",
            );
        }
        if seen.deaths >= DEATHS {
            return back(Kind::Crashed, "the new version ended again and again");
        }
        let watch = self.looked(passed, seen, Which::New);
        match watch {
            _ if watch.well >= limits.probation => Stage::Ended(End::Committed),
            _ if watch.unwell < limits.patience && watch.spent < limits.longest => Stage::Probation(watch),
            _ if seen.installed == Place::Unsaid => {
                back(Kind::Host, "the host does not say which version is installed")
            }
            _ if watch.unwell < limits.patience => {
                back(Kind::CutOff, "the way to the control plane was closed for longer than an upgrade waits")
            }
            _ if seen.runs != Some(Which::New) => back(Kind::Crashed, "the new version did not come up"),
            _ => back(
                Kind::Silent,
                "the new version opened no session, and the way to the control plane was open",
            ),
        }
    }

    fn returned(self, passed: Duration, seen: Seen, limits: Limits, why: Failure) -> Stage {
        let watch = self.looked(passed, seen, Which::Old);
        let is_over =
            watch.unwell >= limits.patience || watch.spent >= limits.longest || seen.deaths >= DEATHS;
        if seen.installed == Place::Other {
            return replaced(&why.message);
        }
        if watch.well >= SETTLES {
            return Stage::Ended(End::RolledBack(why));
        }
        if !is_over {
            return Stage::Returned { why, watch };
        }
        let is_up = seen.runs == Some(Which::Old) && seen.deaths < DEATHS;
        let told = |text: &str| format!("{}; {text}", why.message);
        if is_up && why.kind == Kind::Silent {
            // What neither version can is not the new one's fault.
            let message = told("nor does the version before");
            return Stage::Ended(End::RolledBack(Failure { message, kind: Kind::CutOff, ..why }));
        }
        if is_up {
            return Stage::Ended(End::RolledBack(why));
        }
        let message = told("nor does the version before run");
        Stage::Ended(End::Failed(Failure { message, kind: Kind::Host, ..why }))
    }

    fn looked(self, passed: Duration, seen: Seen, wanted: Which) -> Self {
        let is_up = seen.runs == Some(wanted);
        let spent = self.spent + passed;
        if seen.installed == Place::Unsaid {
            return Self { spent, ..self };
        }
        if is_up && seen.is_well {
            return Self { spent, well: self.well + passed, unwell: Duration::ZERO, ..self };
        }
        let is_to_blame = !is_up || seen.way_is_open;
        let unwell = self.unwell + if is_to_blame { passed } else { Duration::ZERO };
        Self { spent, well: Duration::ZERO, unwell, ..self }
    }
}

#[cfg(test)]
mod tests;
