//! How the agent stands: the one value behind `GetStatus`, the status file and `status`.
//! Its JSON is a promise: docs/local-api.md has it field by field.

use muster_common::{clock::UnixMillis, ids::NodeId, reason::Reason};
use serde::{Deserialize, Serialize};

use crate::state::{EffectiveSetting, ItemState, Outcome, Pause};

/// Of the JSON. Fields are added under the same number; a meaning never changes under it.
pub const SCHEMA_VERSION: u32 = 1;

/// How the agent stands. Times are the host's, Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // documented in agent.proto
pub struct Status {
    pub schema_version: u32,
    /// When this was put together. In the status file never older than [`STALE`] while the
    /// agent lives.
    pub updated_at: UnixMillis,
    pub health: Health,
    pub problems: Vec<Problem>,
    pub agent_version: String,
    pub pid: u32,
    pub started_at: UnixMillis,
    pub node: Option<Node>,
    pub session: Session,
    pub items: Vec<Item>,
    pub commands: Vec<Command>,
    pub outbox_depth: u64,
    pub locks: Locks,
    pub pause: Option<Pause>,
    pub log: Log,
    pub conditions: Vec<Condition>,
    pub settings: Vec<EffectiveSetting>,
}

/// A status file that is older than this is of an agent that no longer runs: it writes at
/// least once a minute.
pub const STALE: std::time::Duration = std::time::Duration::from_secs(150);

/// The answer for health checkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing needs a look.
    Healthy,
    /// The host is in no fleet.
    NotInAFleet,
    /// In a fleet, and without a session.
    CutOff,
    /// Something needs a look.
    Degraded,
    /// Changes rest, because somebody on the host said so.
    Paused,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One CamelCase word, stable.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Who this host is in its fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub struct Node {
    pub id: NodeId,
    pub display_name: String,
    pub trust_domain: String,
    pub epoch: u64,
    pub control_plane: Vec<String>,
    pub certificate: Certificate,
}

/// By what it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub struct Certificate {
    pub generation: u64,
    pub issued_at: UnixMillis,
    pub renewed_from: UnixMillis,
    pub expires_at: UnixMillis,
}

/// The session with the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub struct Session {
    pub state: SessionState,
    pub since: UnixMillis,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub id: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub error: String,
    pub next_try: Option<UnixMillis>,
    pub last_contact: Option<UnixMillis>,
    pub cut_off_since: Option<UnixMillis>,
}

/// Where the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// The host is in no fleet.
    None,
    /// It is being opened.
    Connecting,
    /// It is open.
    Connected,
    /// The next try comes later.
    Waiting,
}

/// Where one item stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub struct Item {
    pub item: String,
    pub running: String,
    pub attempted: String,
    pub outcome: Outcome,
    pub reason: Option<Reason>,
    /// For the owner only: it may quote what only the owner may read.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
    pub changed_at: UnixMillis,
    pub drifted: bool,
}

/// A command that is not over for the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub struct Command {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub unacknowledged: u64,
}

/// The host's own rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Locks {
    pub path: String,
    pub error: String,
}

/// How much is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Log {
    pub level: String,
    pub until: Option<UnixMillis>,
    pub overridden: bool,
}

/// A named truth about the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub struct Condition {
    pub kind: String,
    pub holds: Option<bool>,
    pub reason: String,
    pub message: String,
    pub since: UnixMillis,
}

impl Status {
    /// As everybody on the host may read it.
    #[must_use]
    pub fn for_all(&self) -> Self {
        let mut told = self.clone();
        told.items.iter_mut().for_each(|item| item.message.clear());
        told
    }

    /// The same but for the time at which it was put together.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        // Moves with every heartbeat while the session is open, and is no news then.
        let still = |it: &Self| {
            let mut it = it.clone();
            it.updated_at = UnixMillis(0);
            if it.session.state == SessionState::Connected {
                it.session.last_contact = None;
            }
            it
        };
        still(self) == still(other)
    }

    /// The same with its health judged from the rest.
    #[must_use]
    pub fn judged(mut self) -> Self {
        (self.health, self.problems) = judge(&self);
        self
    }
}

impl From<&ItemState> for Item {
    fn from(state: &ItemState) -> Self {
        let version = |it: &Option<crate::state::ItemVersion>| {
            it.as_ref().map_or_else(String::new, |it| it.version.clone())
        };
        let error = state.error.as_ref();
        Self {
            item: state.item.clone(),
            running: version(&state.running),
            attempted: version(&state.attempted),
            outcome: state.outcome,
            reason: error.map(|error| error.reason),
            message: error.map(|error| error.message.clone()).unwrap_or_default(),
            changed_at: state.changed_at,
            drifted: state.drift.iter().any(|drift| !drift.corrected),
        }
    }
}

/// What is not as it should be, the gravest first. A pause is the word of a person: it is
/// told only where nothing is wrong.
fn judge(it: &Status) -> (Health, Vec<Problem>) {
    let problem = |code: &str, message: String| Problem { code: code.to_owned(), message };
    let mut problems = Vec::new();
    if it.node.is_none() {
        problems.push(problem("NotInAFleet", "this host is in no fleet".to_owned()));
        return (Health::NotInAFleet, problems);
    }
    if it.session.state != SessionState::Connected {
        let why = if it.session.error.is_empty() { "it is being opened" } else { &it.session.error };
        problems.push(problem("NoSession", format!("there is no session: {why}")));
    }
    if !it.locks.error.is_empty() {
        problems.push(problem("EverythingLocked", format!("everything is locked: {}", it.locks.error)));
    }
    let broken = it.items.iter().filter(|item| item.outcome == Outcome::Broken);
    problems
        .extend(broken.map(|it| problem("ItemBroken", format!("{} is broken: a person is needed", it.item))));
    let failed = it.items.iter().filter(|item| item.reason.is_some() && item.outcome != Outcome::Broken);
    problems.extend(failed.filter_map(|it| {
        let reason = it.reason?;
        Some(problem("ItemFailed", format!("{} version {} failed: {reason}", it.item, it.attempted)))
    }));
    let drifted = it.items.iter().filter(|item| item.drifted);
    problems.extend(drifted.map(|it| problem("ItemDrifted", format!("{} was changed on the host", it.item))));
    let untrue = it.conditions.iter().filter(|it| it.kind == "ClockOk" && it.holds == Some(false));
    problems.extend(untrue.map(|it| problem("ClockOutOfStep", it.message.clone())));
    let health = match (it.session.state, problems.is_empty(), &it.pause) {
        (SessionState::Connected, true, None) => Health::Healthy,
        (SessionState::Connected, true, Some(pause)) => {
            problems.push(problem("Paused", format!("changes rest: {}", pause.reason)));
            Health::Paused
        }
        (SessionState::Connected, false, _) => Health::Degraded,
        _ => Health::CutOff,
    };
    (health, problems)
}

#[cfg(test)]
pub(in crate::local_api) mod tests;
