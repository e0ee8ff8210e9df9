//! What goes first when the store does not keep up, and what is turned away first.
//!
//! A lane is turned away by two measures: when too many writes wait for its kind to
//! add to them, and when the oldest of those that wait has waited too long. The lower
//! the lane, the sooner. Nothing is lost for that: each lane is one whose callers say
//! again what was not taken.

use std::time::Duration;

/// Kinds of work, the first first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What stops things: the brake, pauses, cancels, quarantine, revocations; and what takes these
    /// back, so that the last word is the one that holds.
    Brake,
    /// What operators do, orders and what became of them, who is heard.
    Control,
    /// What hosts run and are, and what they ask for: certificates, names, identities of programs.
    Reports,
    /// Files that hosts fetch and bring.
    Artifacts,
    /// Hosts without an identity, or with one that has ended.
    Enrollment,
}

impl Lane {
    /// All, the first first.
    pub const ALL: [Self; 5] = [Self::Brake, Self::Control, Self::Reports, Self::Artifacts, Self::Enrollment];

    /// In one word, for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Brake => "brake",
            Self::Control => "control",
            Self::Reports => "reports",
            Self::Artifacts => "artifacts",
            Self::Enrollment => "enrollment",
        }
    }

    /// Of a queue with room for so many: how many may wait, of all lanes, for one more of
    /// this lane to be taken.
    #[must_use]
    pub const fn room(self, of: usize) -> usize {
        let sixteenths = match self {
            Self::Brake => 16,
            Self::Control => 15,
            Self::Reports => 12,
            Self::Artifacts => 8,
            Self::Enrollment => 4,
        };
        let room = of / 16 * sixteenths + of % 16 * sixteenths / 16;
        if room == 0 { 1 } else { room }
    }

    /// Whether this lane is turned away while the oldest write has waited for so long.
    #[must_use]
    pub fn is_shed(self, behind: Duration) -> bool {
        let bears = match self {
            Self::Brake | Self::Control => return false,
            Self::Reports => 4,
            Self::Artifacts => 2,
            Self::Enrollment => 1,
        };
        behind >= Duration::from_secs(bears)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_lane_is_turned_away_sooner_by_both_measures() {
        for queue in [1, 3, 16, 100, 4096] {
            let rooms = Lane::ALL.map(|lane| lane.room(queue));
            assert!(rooms.is_sorted_by(|first, second| first >= second), "{queue}: {rooms:?}");
            assert_eq!(rooms[0], queue, "the brake has all of it");
            assert!(rooms[4] >= 1, "{queue}");
        }
        assert!(
            Lane::Control.room(4096) < 4096,
            "there is room for the brake when others have filled theirs"
        );
        for behind in (0..=8).map(|quarter| Duration::from_millis(quarter * 750)) {
            let shed = Lane::ALL.map(|lane| lane.is_shed(behind));
            assert!(shed.is_sorted(), "{behind:?}: {shed:?}");
            assert_eq!(shed[..2], [false; 2], "these are never turned away for time");
        }
        assert_eq!(
            Lane::ALL.map(|lane| lane.is_shed(Duration::from_secs(2))),
            [false, false, false, true, true]
        );
    }
}
