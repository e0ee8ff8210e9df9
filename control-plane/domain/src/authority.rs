//! The life of the certificate authority: slots, and the moves between them.
//!
//! ```text
//!           prepare             activate             retire
//!  steady ----------> prepared ----------> activated --------> steady
//!    ^                  |  ^                   |
//!    '---- rollback ----'  '---- rollback -----'
//! ```
//!
//! A slot is a root and an issuing certificate under it. One slot issues; what
//! the trusted slots have issued is accepted. Every change of the trusted set is
//! a new version of the trust bundle, which nodes acknowledge.

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

mod progress;

pub use progress::{Holders, KEPT, Nodes, Progress};

/// Cross-signed roots that are shown to hosts that slept: more would not fit a handshake.
pub const MAX_CROSS: usize = 6;

/// Where a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Trusted, does not issue yet.
    Next,
    /// Trusted, issues.
    Active,
    /// Trusted, issues no more.
    Previous,
    /// Not trusted any more; kept for what its root vouches for.
    Retired,
    /// Prepared and taken back before it issued anything that lasts.
    Dropped,
}

/// A root and an issuing certificate. The keys are files, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// From 1; never given twice.
    pub number: u32,
    /// Where it stands.
    pub standing: Standing,
    /// Number of the slot with which the root was made: an issuing certificate
    /// that is renewed alone stands under an older root.
    pub root_of: u32,
    /// The root.
    pub root_der: Vec<u8>,
    /// The issuing certificate.
    pub issuing_der: Vec<u8>,
    /// The root, signed by the root before it; for hosts that know only that one.
    pub cross_der: Option<Vec<u8>>,
    /// Chain and key came as files of an authority that is not ours.
    pub external: bool,
    /// End of the issuing certificate.
    pub not_after: UnixMillis,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it came to where it stands.
    pub changed_at: UnixMillis,
}

/// All slots, and the version of the trusted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// By number.
    pub slots: Vec<Slot>,
    /// Rises with every change of the trusted set.
    pub bundle_version: u64,
}

/// Where the authority is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// One slot is trusted, and issues.
    Steady,
    /// Another one is trusted, and does not issue yet.
    Prepared,
    /// The new one issues, the old one is still trusted.
    Activated,
}

/// A step of the life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Trust another slot.
    Prepare,
    /// Issue from it.
    Activate,
    /// One step back.
    Rollback,
    /// Trust the old one no more.
    Retire,
}

/// Why a move is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is none of this phase.
    #[error("the authority is {}: {} is not possible now", .0.as_str(), .1.as_str())]
    Phase(Phase, Move),
    /// Nodes would be lost.
    #[error("{0}; force it to go on all the same")]
    Unready(String),
}

impl Phase {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Prepared => "prepared",
            Self::Activated => "activated",
        }
    }
}

impl Move {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Activate => "activate",
            Self::Rollback => "rollback",
            Self::Retire => "retire",
        }
    }
}

impl Standing {
    /// Whether what the slot has issued is accepted.
    #[must_use]
    pub const fn is_trusted(self) -> bool {
        matches!(self, Self::Next | Self::Active | Self::Previous)
    }

    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Previous => "previous",
            Self::Retired => "retired",
            Self::Dropped => "dropped",
        }
    }

    /// The standing written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Next, Self::Active, Self::Previous, Self::Retired, Self::Dropped];
        all.into_iter().find(|standing| standing.as_str() == text)
    }
}

impl Authority {
    /// A new authority with its first slot.
    #[must_use]
    pub fn first(slot: Slot) -> Self {
        Self { slots: vec![Slot { standing: Standing::Active, ..slot }], bundle_version: 1 }
    }

    /// The slot that stands so; there is at most one `Next`, `Active` and `Previous`.
    #[must_use]
    pub fn at(&self, standing: Standing) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.standing == standing)
    }

    /// Those whose certificates are accepted.
    pub fn trusted(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.standing.is_trusted())
    }

    /// Number for the next slot.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.slots.iter().map(|slot| slot.number).max().unwrap_or(0) + 1
    }

    /// Where it is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.at(Standing::Next).is_some() {
            Phase::Prepared
        } else if self.at(Standing::Previous).is_some() {
            Phase::Activated
        } else {
            Phase::Steady
        }
    }

    /// What leads from the active root back to roots that hosts may still know:
    /// each root signed by the one before, and that one.
    #[must_use]
    pub fn way_back(&self) -> Vec<&[u8]> {
        let mut way = Vec::new();
        let mut root_of = self.at(Standing::Active).map(|slot| slot.root_of);
        while let Some(number) = root_of.take()
            && way.len() < 2 * MAX_CROSS
            && let Some(slot) = self.slots.iter().find(|slot| slot.number == number)
            && let Some(cross) = &slot.cross_der
        {
            way.push(cross.as_slice());
            let before = self
                .slots
                .iter()
                .rev()
                .find(|other| other.number < number && other.standing != Standing::Dropped);
            if let Some(before) = before {
                way.push(before.root_der.as_slice());
                root_of = Some(before.root_of);
            }
        }
        way
    }

    /// Trusts another slot.
    ///
    /// # Errors
    /// If one is on its way already.
    pub fn prepare(&self, slot: Slot) -> Result<Self, Refused> {
        self.expect(Move::Prepare)?;
        let mut slots = self.slots.clone();
        slots.push(Slot { standing: Standing::Next, ..slot });
        Ok(Self { slots, bundle_version: self.bundle_version + 1 })
    }

    /// Any other move.
    ///
    /// # Errors
    /// If the phase does not allow it, or, unless `forced`, nodes or callers
    /// would be lost by it.
    pub fn go(
        &self,
        step: Move,
        progress: &Progress,
        forced: bool,
        now: UnixMillis,
    ) -> Result<Self, Refused> {
        self.expect(step)?;
        if !forced && let Some(why) = unready(step, self.phase(), progress) {
            return Err(Refused::Unready(why));
        }
        let moved = |from: Standing| match (step, self.phase(), from) {
            (Move::Activate, _, Standing::Next) => Standing::Active,
            (Move::Activate, _, Standing::Active) => Standing::Previous,
            (Move::Retire, _, Standing::Previous) => Standing::Retired,
            (Move::Rollback, Phase::Prepared, Standing::Next) => Standing::Dropped,
            (Move::Rollback, Phase::Activated, Standing::Active) => Standing::Next,
            (Move::Rollback, Phase::Activated, Standing::Previous) => Standing::Active,
            (_, _, same) => same,
        };
        let mut slots = self.slots.clone();
        for slot in &mut slots {
            let standing = moved(slot.standing);
            if standing != slot.standing {
                slot.standing = standing;
                slot.changed_at = now;
            }
        }
        let next = Self { slots, bundle_version: self.bundle_version };
        let same_set = next.trusted().map(|slot| slot.number).eq(self.trusted().map(|slot| slot.number));
        Ok(Self { bundle_version: self.bundle_version + u64::from(!same_set), ..next })
    }

    fn expect(&self, step: Move) -> Result<(), Refused> {
        let phase = self.phase();
        let allowed = match phase {
            Phase::Steady => step == Move::Prepare,
            Phase::Prepared => matches!(step, Move::Activate | Move::Rollback),
            Phase::Activated => matches!(step, Move::Retire | Move::Rollback),
        };
        if allowed { Ok(()) } else { Err(Refused::Phase(phase, step)) }
    }
}

/// What stands against a move.
fn unready(step: Move, phase: Phase, progress: &Progress) -> Option<String> {
    match (step, phase) {
        (Move::Activate, _) if progress.unacknowledged.count > 0 => Some(format!(
            "{} of {} connected nodes have not acknowledged the trust bundle: {}",
            progress.unacknowledged.count,
            progress.live,
            progress.unacknowledged.named()
        )),
        (Move::Retire, _) => progress.on_previous.lost("previous", progress.recovers),
        // What was issued before the first step back would be refused after the second.
        (Move::Rollback, Phase::Prepared) => progress.on_next.lost("next", progress.recovers),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
