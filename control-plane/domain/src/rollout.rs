//! A change of what an assignment gives, brought to its nodes in steps.
//!
//! ```text
//!              resume              last step done
//!    paused <--------> running ---------------------> succeeded
//!       |                |  |
//!       |                |  '-- abort --> aborted      those that have it keep it
//!       '----------------+-- too many failed, or a person --> rolling-back --> rolled-back
//! ```
//!
//! The engine knows no kinds of items: a target is what an assignment gives, and a
//! node has it, has refused it, or has not said yet. No row is kept of a node
//! before it is touched: in which order nodes come is a hash of node and rollout, and
//! who belongs to it is who the selector matches at that moment.

mod decide;
mod forecast;
mod plan;
mod view;
mod window;

use std::collections::BTreeMap;

use muster_common::{clock::UnixMillis, ids::RolloutId};
use serde::{Deserialize, Serialize};

pub use decide::{Decision, Hold, Tally, allowed_failures, decide, tally};
pub use forecast::{Field, Forecast, StepForecast, forecast};
pub use plan::{Budget, OnFailure, Plan, Portion, Share, Speed, Step, check_groups, check_plan};
pub use view::{Answer, Member, Presence, Standing, View, Weather, answer, order_of};
pub use window::{InvalidWindow, Window, is_open, opens_at, zone};

use crate::assignment::Target;

/// One rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// For ever.
    pub id: RolloutId,
    /// Whose nodes get something else.
    pub assignment: String,
    /// What the assignment gave when it began. `None`: nothing.
    pub from: Option<Target>,
    /// What its nodes get. `None`: it is taken from them.
    pub to: Option<Target>,
    /// How.
    pub plan: Plan,
    /// Where it is.
    pub phase: Phase,
    /// Why it is there; one stable CamelCase word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The step it is in, from 0.
    pub step: u32,
    /// Since when all that the step asks for is there. `None`: it is not.
    pub settled_at: Option<UnixMillis>,
    /// Steps that a person has said yes to.
    pub approved: u32,
    /// When it was made.
    pub created_at: UnixMillis,
    /// By whom.
    pub created_by: String,
    /// Since when it is in its phase.
    pub since: UnixMillis,
    /// How its nodes stood when it was decided. `None`: it is not.
    #[serde(default)]
    pub end: Option<End>,
    /// As a part of a trace. `None`: nobody collects that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traced: Option<Traced>,
    /// Revision of the last write; the etag.
    #[serde(skip)]
    pub revision: u64,
}

/// A rollout as a part of the trace of the call that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// Where that call is: a W3C `traceparent`.
    pub traceparent: String,
    /// Since when the rollout is in its step.
    pub step_since: UnixMillis,
}

/// How the nodes of a rollout stood when it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// So many.
    pub tally: Tally,
    /// Stable reasons of those that failed, and how many nodes gave each.
    pub failures: BTreeMap<String, usize>,
}

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It goes on by itself.
    Running,
    /// It waits for a person.
    Paused,
    /// A person ended it: nobody else gets it, and who has it keeps it.
    Aborted,
    /// Those that were touched return to what they had.
    RollingBack,
    /// They have.
    RolledBack,
    /// Every node gets it.
    Succeeded,
}

/// All rollouts wait until somebody lets go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brake {
    /// Who pulled it.
    pub by: String,
    /// When.
    pub at: UnixMillis,
    /// Why, for people.
    pub reason: String,
}

/// What a person asks of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To wait.
    Pause,
    /// To go on.
    Resume,
    /// To say yes to a step, from 1; 0: the one it is in.
    Approve(u32),
    /// To end, as it is.
    Abort,
    /// To return.
    RollBack,
}

impl Phase {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Aborted => "aborted",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::Succeeded => "succeeded",
        }
    }

    /// Whether nothing happens by itself any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Aborted | Self::RolledBack | Self::Succeeded)
    }
}

impl Rollout {
    /// What becomes of a wish. `None`: it is so already.
    ///
    /// # Errors
    /// The phase, if it does not allow it.
    pub fn asked(&self, wish: Wish, now: UnixMillis) -> Result<Option<Self>, Phase> {
        let phase = match (wish, self.phase) {
            (Wish::Approve(step), Phase::Running | Phase::Paused) => {
                let approved = if step == 0 { self.step + 1 } else { step };
                if approved > self.step + 1 {
                    return Err(self.phase); // nobody has seen how the step before it went
                }
                return Ok((self.approved < approved).then(|| Self { approved, ..self.clone() }));
            }
            (Wish::Pause, Phase::Running | Phase::Paused) => Phase::Paused,
            (Wish::Resume, Phase::Running | Phase::Paused) => Phase::Running,
            (Wish::Abort, Phase::Running | Phase::Paused | Phase::Aborted) => Phase::Aborted,
            (Wish::RollBack, Phase::RolledBack) => Phase::RolledBack,
            (Wish::RollBack, Phase::Running | Phase::Paused | Phase::Aborted | Phase::RollingBack) => {
                Phase::RollingBack
            }
            _ => return Err(self.phase),
        };
        let word = match phase {
            Phase::Running => "Resumed",
            _ => "ByOperator",
        };
        Ok((phase != self.phase).then(|| self.moved(phase, word, String::new(), now)))
    }

    /// The same in another phase.
    #[must_use]
    pub fn moved(&self, phase: Phase, reason: &str, message: String, now: UnixMillis) -> Self {
        Self { phase, reason: reason.to_owned(), message, since: now, settled_at: None, ..self.clone() }
    }
}
