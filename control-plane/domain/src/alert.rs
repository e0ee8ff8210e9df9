//! What people are to be told of by themselves: rules, and the alerts that come of them.
//!
//! ```text
//!   found --- for so long ---> open <---> acknowledged       a person has seen it
//!                               |  ^           |
//!             a silence begins  v  | it ends   |
//!                            silenced          |
//!                               '------+-------'
//!                                      v
//!                                  resolved                  it is so no more
//! ```
//!
//! Many nodes that get the same alert together are one alert of their group.

mod cause;
mod damping;
mod defaults;
mod evaluate;
mod kind;
mod receiver;
mod signs;

use std::{fmt, str::FromStr, time::Duration};

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, NodeId, SilenceId},
};
use serde::{Deserialize, Serialize};

pub use cause::{Cause, of_group};
pub use damping::{Damping, LEAST_MEMBERS};
pub use defaults::{built_in, is_built_in};
pub use evaluate::{Memory, SHOWN_MEMBERS, evaluate};
pub use kind::Kind;
pub use receiver::{Delivery, Event, News, Receiver, TRIES, TRIES_LIMITS, Target, after_failure, pause};
pub use signs::{Found, NodeSeen, Sign, Signs, ahead, ends, group_of, sign};

use crate::labels::Labels;

/// A test alert ends by itself after this time.
pub const TEST_FOR: Duration = Duration::from_secs(60);
/// Most rules beside those that are built in, and most receivers.
pub const MAX_RULES: usize = 200;
/// Most silences at a time.
pub const MAX_SILENCES: usize = 1000;
/// The longest that a rule waits, and looks ahead.
pub const MOST: Duration = Duration::from_secs(365 * 24 * 3600);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Critical,
}

/// What leads to alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Name.
    pub name: String,
    /// For people.
    pub description: String,
    /// What is looked for.
    pub kind: Kind,
    /// On which nodes, as written; of no meaning where it is about no node.
    pub selector: String,
    /// So long before an end. Of no meaning where nothing ends.
    pub threshold: Duration,
    /// It must be so for this long.
    pub hold: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// Who is told; none: every receiver.
    pub receivers: Vec<String>,
    /// It leads to nothing.
    pub disabled: bool,
    /// When many are one.
    pub damping: Damping,
    /// First write.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// Who wrote it last; nobody: it is built in, and as it came.
    pub updated_by: String,
    /// Revision of the last write; the etag. 0: as it came.
    #[serde(skip)]
    pub revision: u64,
}

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Subject {
    /// One node.
    Node(NodeId),
    /// Many nodes that have one value of a label; empty: many of the fleet.
    Group(String),
    /// Something else: `rollout/ID`, `repository/timestamp`, `authority/1`.
    Thing(String),
}

/// The text names nothing that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nothing that an alert is about")]
pub struct InvalidSubject(String);

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// For ever.
    pub id: AlertId,
    /// By which rule.
    pub rule: String,
    /// What it looks for.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// About what.
    pub subject: Subject,
    /// Of a node when it began.
    pub labels: Labels,
    /// In one stable CamelCase word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Since when it is so, as far as is known.
    pub since: UnixMillis,
    /// When it began.
    pub opened_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// Why it ended, in one stable CamelCase word.
    pub end_reason: String,
    /// Of a group: for how many of its nodes it is so.
    pub count: u64,
    /// Of a group: some of them, in order.
    pub nodes: Vec<NodeId>,
    /// Of a group: what they have in common.
    pub cause: Option<Cause>,
    /// Who has seen it, and when.
    pub acknowledged: Option<Acknowledged>,
    /// By which silence nobody is told.
    pub silence: Option<SilenceId>,
    /// Receivers were told that it began.
    pub told: bool,
    /// Which: they are told of its end.
    pub receivers: Vec<String>,
    /// Made to try the way to receivers.
    pub is_test: bool,
    /// Revision of the last write.
    #[serde(skip)]
    pub revision: u64,
}

/// A person's word that somebody looks after an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at: UnixMillis,
    /// For people.
    pub comment: String,
}

/// Where an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It is so, and nobody has said a word.
    Open,
    /// Somebody looks after it.
    Acknowledged,
    /// It is so, and nobody is told.
    Silenced,
    /// It is so no more.
    Resolved,
}

/// A time in which some alerts are told to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Which.
    pub id: SilenceId,
    /// Of this rule alone; empty: of any.
    pub rule: String,
    /// About these nodes alone, as written; empty: about anything.
    pub selector: String,
    /// From.
    pub starts_at: UnixMillis,
    /// Until.
    pub ends_at: UnixMillis,
    /// For people.
    pub comment: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMillis,
    /// Revision of the last write.
    #[serde(skip)]
    pub revision: u64,
}

impl Severity {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Alert {
    /// Where it is.
    #[must_use]
    pub const fn state(&self) -> State {
        match (self.ended_at, self.silence, &self.acknowledged) {
            (Some(_), ..) => State::Resolved,
            (None, Some(_), _) => State::Silenced,
            (None, None, Some(_)) => State::Acknowledged,
            (None, None, None) => State::Open,
        }
    }

    /// The same at its end.
    #[must_use]
    pub fn ended(&self, reason: &str, now: UnixMillis) -> Self {
        Self { ended_at: Some(now), end_reason: reason.to_owned(), ..self.clone() }
    }

    /// What there is to tell now that it is so, and the alert that knows it. `wanted`: who is told of alerts
    /// of its rule now; those who were not yet are told that it began, whenever that was.
    #[must_use]
    pub fn news(mut self, wanted: &[String]) -> (Self, Option<News>) {
        let news = match (self.ended_at, self.silence) {
            (Some(_), _) if self.told => News { event: Event::Resolved, to: self.receivers.clone() },
            (None, None) => {
                let new = wanted.iter().filter(|name| !self.receivers.contains(name));
                let to: Vec<String> = new.cloned().collect();
                self.told = true;
                self.receivers.extend_from_slice(&to);
                News { event: Event::Opened, to }
            }
            _ => return (self, None),
        };
        let is_any = !news.to.is_empty();
        (self, is_any.then_some(news))
    }
}

impl Silence {
    /// Whether it holds now.
    #[must_use]
    pub fn is_active(&self, now: UnixMillis) -> bool {
        self.starts_at <= now && now < self.ends_at
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node/{id}"),
            Self::Group(value) if value.is_empty() => f.write_str("fleet"),
            Self::Group(value) => write!(f, "group/{value}"),
            Self::Thing(name) => f.write_str(name),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;
    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let invalid = || InvalidSubject(text.chars().take(128).collect());
        match text.split_once('/') {
            None if text == "fleet" => Ok(Self::Group(String::new())),
            Some(("node", id)) => id.parse().map(Self::Node).map_err(|_| invalid()),
            Some(("group", value)) => Ok(Self::Group(value.to_owned())),
            Some((_, name)) if !name.is_empty() => Ok(Self::Thing(text.to_owned())),
            _ => Err(invalid()),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidSubject;
    fn try_from(text: String) -> Result<Self, InvalidSubject> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

#[cfg(test)]
mod tests;
