//! Who is told of alerts, and when again if that fails.

use std::{ops::RangeInclusive, time::Duration};

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, DeliveryId, SecretId},
};
use serde::{Deserialize, Serialize};

/// So often one delivery is tried when nobody says: for about an hour.
pub const TRIES: u32 = 20;
/// The fewest and the most.
pub const TRIES_LIMITS: RangeInclusive<u32> = 1..=100;
/// Longest wait before the next try of the first one, and of any.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Someone who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Name.
    pub name: String,
    /// How.
    pub target: Target,
    /// Where.
    pub url: String,
    /// So often one delivery is tried.
    pub tries: u32,
    /// Nobody is told for now; what waits, waits.
    pub paused: bool,
    /// First write.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// Who wrote it last.
    pub updated_by: String,
    /// With what it is signed, in the vault. `None`: it is not.
    #[serde(skip)]
    pub secret: Option<SecretId>,
    /// Revision of the last write; the etag.
    #[serde(skip)]
    pub revision: u64,
}

/// How someone is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// An Alertmanager: it is told again and again what is so, and once what is so no more.
    Alertmanager,
    /// A server of somebody's: it is told once what happened, signed.
    Webhook,
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It began, or its silence ended.
    Opened,
    /// It ended.
    Resolved,
}

/// What there is to tell of an alert, and whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What.
    pub event: Event,
    /// Receivers, by name.
    pub to: Vec<String>,
}

/// What one receiver is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// For ever; later ones sort after it.
    pub id: DeliveryId,
    /// Who.
    pub receiver: String,
    /// Of which alert.
    pub alert: AlertId,
    /// What.
    pub event: Event,
    /// Since when.
    pub created_at: UnixMillis,
    /// Tries that failed.
    pub tries: u32,
    /// Not before.
    pub due_at: UnixMillis,
    /// Since when nobody tries any more.
    pub dead_at: Option<UnixMillis>,
    /// Why the last try failed.
    pub error: String,
}

impl Event {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Resolved => "resolved",
        }
    }

    /// The event written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Opened, Self::Resolved].into_iter().find(|event| event.as_str() == text)
    }
}

/// How long to wait after a try that failed, before which so many had. `dice`: as below.
#[must_use]
pub fn pause(failed: u32, dice: f64) -> Duration {
    let (first, longest) = WAIT;
    let bound = first.saturating_mul(1 << failed.min(20)).min(longest);
    bound.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
}

/// A delivery after a try that failed, of a receiver that is tried at most so often. `dice`: from
/// 0 to 1, by which those that failed together do not come again as one.
#[must_use]
pub fn after_failure(delivery: &Delivery, most: u32, error: String, dice: f64, now: UnixMillis) -> Delivery {
    let tries = delivery.tries.saturating_add(1);
    let dead_at = (tries >= most).then_some(now);
    Delivery { tries, due_at: now + pause(delivery.tries, dice), dead_at, error, ..delivery.clone() }
}
