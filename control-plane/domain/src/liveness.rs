//! Whether the control plane hears a node.
//!
//! ```text
//!                 heard                     silent            silent
//!   never-seen ----------> online ------------------> late ----------> offline
//!                           ^  ^ \____ stream closed ___^                 |
//!                           |  |                                          |
//!                           |  '--------------- heard -------------------'
//!                           |                                             |
//!                        heard                                   certificate out
//!                           |                                             v
//!   plane was away ---> unknown ---- not back in time ---> offline     expired
//! ```
//!
//! A goodbye that announces a return keeps the node as it was for the grace;
//! one that announces an end makes it offline at once. Who was told to come anew, and
//! does not within the grace, is unknown: the control plane is why it went. So is one whose stream
//! broke together with many: those stand in our line when they come back. Quarantine covers what
//! is connected. Between ticks nothing changes by itself, and the first tick
//! after a long silence still goes by way of late.

use std::time::Duration;

use muster_common::clock::{Instant, UnixMillis};
use serde::{Deserialize, Serialize};

mod word;

pub use word::{AWAY, ENROLLED, SILENT, WORDS, Word};
use word::{CROWD, MOVED};

/// State of hearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Enrolled, no session yet.
    NeverSeen,
    /// Heard within its interval.
    Online,
    /// One interval missed.
    Late,
    /// Silent for 2.5 intervals, or its stream closed and did not come back.
    Offline,
    /// The control plane itself was away, or told it to come anew, or lets in many whose streams
    /// broke together.
    Unknown,
    /// Offline, and its certificate has run out.
    Expired,
    /// Connected, told why, gets nothing.
    Quarantined,
}

/// A state with its story; as stored and as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Which.
    pub state: State,
    /// Since when.
    pub since: UnixMillis,
    /// One stable CamelCase word: `HeartbeatMissed`.
    pub reason: Word,
}

/// How long silence may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Silent for this long: late. One interval, and what jitter and the way may add.
    pub late: Duration,
    /// Silent for this long: offline.
    pub offline: Duration,
    /// Time to come back after a stream has closed.
    pub grace: Duration,
    /// Time to come back after the control plane itself was away: all come at
    /// once then, and spread themselves.
    pub away: Duration,
}

impl Limits {
    /// The limits for nodes that speak once in this interval.
    #[must_use]
    pub fn from_interval(interval: Duration) -> Self {
        Self {
            late: interval * 3 / 2,
            offline: interval * 5 / 2,
            grace: interval * 3 / 2,
            away: interval * 10,
        }
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// Without a word.
    Lost,
    /// The control plane asked for a new session; it will come.
    Moved,
    /// The agent restarts, upgrades or reconnects: it will be back.
    Returning,
    /// The host reboots: it will be back, if it can.
    Rebooting,
    /// The agent was stopped.
    Stopped,
    /// The host left the fleet by its own will.
    Disconnected,
}

/// What happened to one node. Closing is told of its newest session only: one
/// that was fenced closes unheard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A session began.
    Connected,
    /// Anything came over it.
    Heard,
    /// It ended.
    StreamClosed(Closed),
    /// Time passed.
    Tick,
    /// The same, for one whose stream broke together with so many that they stand in a line.
    TickInCrowd,
    /// The control plane was away up to now: stopped, suspended or cut off from everyone.
    PlaneWasAway,
    /// Its certificate has run out.
    CertificateExpired,
    /// It has a valid certificate again.
    CertificateRenewed,
    /// It was put in quarantine.
    Quarantined,
    /// It was let out.
    Released,
}

/// What an event did to the state that people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: nothing to store either.
    Same,
    /// It is another, for this reason.
    To(State, &'static str),
}

/// Whether a node that is unknown for this reason is so because of the control plane itself.
#[must_use]
pub fn is_ours(reason: &str) -> bool {
    reason != CROWD
}

/// Whether a node that is offline for this reason is lost: nobody had said that it would be.
#[must_use]
pub fn is_lost(reason: &str) -> bool {
    reason != Closed::Stopped.gone() && reason != Closed::Disconnected.gone()
}

/// The live state of one node. Small: there may be a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracker {
    hearing: Hearing,
    expired: bool,
    quarantined: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Never,
    Online {
        heard: Instant,
    },
    Late {
        heard: Instant,
    },
    /// The stream is closed, the grace runs.
    Closing {
        since: Instant,
        how: Closed,
    },
    /// The plane is back since then and has not heard the node yet.
    Unknown {
        since: Instant,
    },
    Offline,
    /// Another replica hears it, or not, and says so.
    Told {
        state: State,
    },
}

impl Tracker {
    /// A node that has just enrolled.
    #[must_use]
    pub const fn new() -> Self {
        Self { hearing: Hearing::Never, expired: false, quarantined: false }
    }

    /// A node as the store knows it, when the control plane starts: whoever was
    /// there is unknown until heard; whoever was not, is still not. If
    /// `state` is another than the stored one, the reason is `AWAY`. Quarantine of
    /// a node that was not connected must be told again.
    #[must_use]
    pub const fn restored(stored: State, now: Instant) -> Self {
        let (hearing, expired, quarantined) = match stored {
            State::NeverSeen => (Hearing::Never, false, false),
            State::Offline => (Hearing::Offline, false, false),
            State::Expired => (Hearing::Offline, true, false),
            State::Online | State::Late | State::Unknown => (Hearing::Unknown { since: now }, false, false),
            State::Quarantined => (Hearing::Unknown { since: now }, false, true),
        };
        Self { hearing, expired, quarantined }
    }

    /// A node that another replica holds: it is what that one says.
    #[must_use]
    pub const fn told(state: State) -> Self {
        Self { hearing: Hearing::Told { state }, expired: false, quarantined: false }
    }

    /// Since when it is waited for without having said a word, while it is.
    #[must_use]
    pub const fn broke_at(&self) -> Option<Instant> {
        match self.hearing {
            Hearing::Closing { since, how: Closed::Lost } => Some(since),
            Hearing::Closing { .. }
            | Hearing::Never
            | Hearing::Online { .. }
            | Hearing::Late { .. }
            | Hearing::Unknown { .. }
            | Hearing::Offline
            | Hearing::Told { .. } => None,
        }
    }

    /// When it was heard last, while it is. `None`: it is not.
    #[must_use]
    pub const fn heard(&self) -> Option<Instant> {
        match self.hearing {
            Hearing::Online { heard } | Hearing::Late { heard } => Some(heard),
            Hearing::Never
            | Hearing::Closing { .. }
            | Hearing::Unknown { .. }
            | Hearing::Offline
            | Hearing::Told { .. } => None,
        }
    }

    /// Whether nobody waits for it any more.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self.hearing, Hearing::Never | Hearing::Offline)
    }

    /// What people see.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.hearing {
            Hearing::Told { state } => state,
            Hearing::Never => State::NeverSeen,
            Hearing::Online { .. } | Hearing::Late { .. } if self.quarantined => State::Quarantined,
            Hearing::Online { .. } => State::Online,
            Hearing::Late { .. } | Hearing::Closing { how: Closed::Lost, .. } => State::Late,
            Hearing::Closing { .. } => State::Online,
            Hearing::Unknown { .. } => State::Unknown,
            Hearing::Offline if self.expired => State::Expired,
            Hearing::Offline => State::Offline,
        }
    }

    /// When a tick can first change something; `None`: never. A sweep may look
    /// at no node before its time.
    #[must_use]
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        match self.hearing {
            Hearing::Online { heard } => Some(heard + limits.late),
            Hearing::Late { heard } => Some(heard + limits.offline),
            Hearing::Closing { since, .. } => Some(since + limits.grace),
            Hearing::Unknown { since } => Some(since + limits.away),
            Hearing::Never | Hearing::Offline | Hearing::Told { .. } => None,
        }
    }

    /// What the node is after an event, and whether people see a change.
    #[must_use]
    pub fn on(self, event: Event, now: Instant, limits: &Limits) -> (Self, Change) {
        let (next, reason) = self.step(event, now, limits);
        let seen = next.state();
        (next, if seen == self.state() { Change::Same } else { Change::To(seen, reason) })
    }

    fn step(self, event: Event, now: Instant, limits: &Limits) -> (Self, &'static str) {
        use Hearing::{Closing, Late, Never, Offline, Online, Told, Unknown};
        let to = |hearing, reason| (Self { hearing, ..self }, reason);
        let same = (self, "");
        match (self.hearing, event) {
            (_, Event::Connected) => to(Online { heard: now }, "Connected"),
            (
                Never | Online { .. } | Late { .. } | Closing { .. } | Unknown { .. } | Offline | Told { .. },
                Event::Heard,
            ) => to(Online { heard: now }, "HeartbeatReceived"),

            (Online { .. } | Late { .. }, Event::StreamClosed(how)) => match how {
                Closed::Lost => to(Closing { since: now, how }, "StreamClosed"),
                Closed::Moved | Closed::Returning | Closed::Rebooting => {
                    to(Closing { since: now, how }, "Goodbye")
                }
                Closed::Stopped | Closed::Disconnected => to(Offline, how.gone()),
            },
            (Never | Closing { .. } | Unknown { .. } | Offline | Told { .. }, Event::StreamClosed(..)) => {
                same
            }

            (Closing { since, how: Closed::Lost }, Event::TickInCrowd) if now - since >= limits.grace => {
                to(Unknown { since }, CROWD)
            }
            (_, Event::TickInCrowd) => same,

            (Online { heard }, Event::Tick) if now - heard >= limits.late => {
                to(Late { heard }, "HeartbeatMissed")
            }
            (Late { heard }, Event::Tick) if now - heard >= limits.offline => to(Offline, SILENT),
            // It went because it was told to, and may stand in a line.
            (Closing { since, how: Closed::Moved }, Event::Tick) if now - since >= limits.grace => {
                to(Unknown { since }, MOVED)
            }
            (Closing { since, how }, Event::Tick) if now - since >= limits.grace => to(Offline, how.gone()),
            (Unknown { since }, Event::Tick) if now - since >= limits.away => to(Offline, "DidNotReturn"),
            (_, Event::Tick) => same,

            (Online { .. } | Late { .. } | Closing { .. } | Unknown { .. }, Event::PlaneWasAway) => {
                to(Unknown { since: now }, AWAY)
            }
            (Never | Offline | Told { .. }, Event::PlaneWasAway) => same,

            (_, Event::CertificateExpired) => (Self { expired: true, ..self }, "CertificateExpired"),
            (_, Event::CertificateRenewed) => (Self { expired: false, ..self }, "CertificateRenewed"),
            (_, Event::Quarantined) => (Self { quarantined: true, ..self }, "Quarantined"),
            (_, Event::Released) => (Self { quarantined: false, ..self }, "Released"),
        }
    }
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new()
    }
}

impl Closed {
    /// In one word, for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Moved => "moved",
            Self::Returning => "returning",
            Self::Rebooting => "rebooting",
            Self::Stopped => "stopped",
            Self::Disconnected => "disconnected",
        }
    }

    /// Why a node that closed so is offline.
    const fn gone(self) -> &'static str {
        match self {
            Self::Lost => "StreamClosed",
            Self::Moved | Self::Returning => "DidNotReturn",
            Self::Rebooting => "DidNotReturnFromReboot",
            Self::Stopped => "AgentStopped",
            Self::Disconnected => "Disconnected",
        }
    }
}

#[cfg(test)]
mod tests;
