//! Operations that start by themselves, again and again.

mod cron;
mod due;

use std::time::Duration;

use jiff::tz::TimeZone;
use muster_common::{clock::UnixMillis, ids::OperationId};

pub use cron::{Cron, InvalidCron};
pub use due::{Due, due};

/// In the place of a time zone: each host's own.
pub const HOST: &str = "host";
/// How late an operation may start when nobody says.
pub const CATCH_UP: Duration = Duration::from_secs(10 * 60);
/// The shortest and the longest such time.
pub const CATCH_UP_LIMITS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(24 * 3600);

/// An operation, and when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Name.
    pub name: String,
    /// The five fields of cron.
    pub cron: String,
    /// IANA name, or [`HOST`].
    pub time_zone: String,
    /// The request that starts the operation, as it is on the wire.
    pub operation: Vec<u8>,
    /// Nothing is started.
    pub paused: bool,
    /// A start that is later than this is left out.
    pub catch_up: Duration,
    /// It starts also while the operation of last time goes on.
    pub overlap: bool,
    /// Whose rights it has: who wrote it last.
    pub owner: String,
    /// First write.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// No time up to this one is its own.
    pub since: UnixMillis,
    /// Where in its trace the call stands that wrote it last; empty: nobody collects that.
    pub traceparent: String,
    /// Revision of the last write; the etag.
    pub revision: u64,
}

/// What became of one of its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fire {
    /// Of which schedule.
    pub schedule: String,
    /// On whose clock.
    pub zone: String,
    /// When it was to be.
    pub at: UnixMillis,
    /// What became of it.
    pub outcome: Outcome,
    /// That was started.
    pub operation: Option<OperationId>,
    /// For people.
    pub message: String,
}

/// What became of one time of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An operation was started.
    Started,
    /// No control plane was there until too late.
    Missed,
    /// The operation of last time went on.
    Overlapped,
    /// No node was matched.
    NoNodes,
    /// It could not be, or its owner may not any more.
    Refused,
}

impl Outcome {
    /// All.
    pub const ALL: [Self; 5] = [Self::Started, Self::Missed, Self::Overlapped, Self::NoNodes, Self::Refused];

    /// Its written form in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Missed => "missed",
            Self::Overlapped => "overlapped",
            Self::NoNodes => "no-nodes",
            Self::Refused => "refused",
        }
    }

    /// The outcome written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// The time zone of that name. `None`: nobody knows it.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}
