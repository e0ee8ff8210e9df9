//! Places in the control plane's history, and what an offer of one means.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in the history: compared first by epoch, then by number.
///
/// The epoch rises when the store was restored from a backup; numbers may then
/// fall, and yet everything said afterwards is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Generation {
    /// Number of the history.
    pub epoch: u64,
    /// Number within it; only rises.
    pub number: u64,
}

impl Generation {
    /// The place `number` of history `epoch`.
    #[must_use]
    pub const fn new(epoch: u64, number: u64) -> Self {
        Self { epoch, number }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// What an offered generation is to one that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Refused: the holder knows better.
    Older,
    /// Held already, with equal content: nothing to do.
    Same,
    /// To be taken.
    Newer,
    /// One generation with two contents: an error of whoever offers.
    Conflicting,
}

impl Offer {
    /// Judges an offer against what is held.
    #[must_use]
    pub fn judge(offered: Generation, offered_sha256: &[u8], held: Generation, held_sha256: &[u8]) -> Self {
        match offered.cmp(&held) {
            std::cmp::Ordering::Less => Self::Older,
            std::cmp::Ordering::Greater => Self::Newer,
            std::cmp::Ordering::Equal if offered_sha256 == held_sha256 => Self::Same,
            std::cmp::Ordering::Equal => Self::Conflicting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_epoch_is_newer_whatever_the_number() {
        let held = Generation::new(1, 900);
        assert_eq!(Offer::judge(Generation::new(2, 3), b"b", held, b"a"), Offer::Newer);
        assert_eq!(Offer::judge(Generation::new(1, 899), b"b", held, b"a"), Offer::Older);
        assert_eq!(Offer::judge(held, b"a", held, b"a"), Offer::Same);
        assert_eq!(Offer::judge(held, b"b", held, b"a"), Offer::Conflicting);
    }
}
