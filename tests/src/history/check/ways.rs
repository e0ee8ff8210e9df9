//! What a control plane must know of what was acknowledged by another one.

use std::{collections::HashMap, time::Duration};

use super::BUSY;
use crate::history::History;

/// Ways of control planes to their database: when each was parted from it, from when until when at
/// the latest it was there again; the last first.
pub(super) struct Ways(HashMap<usize, Vec<(Duration, Duration)>>);

impl Ways {
    pub(super) fn of(history: &History) -> Self {
        let mut parted: HashMap<usize, Vec<(Duration, Duration)>> = HashMap::new();
        for (over, trouble) in history.troubles() {
            // What was lost is sent again later and later, up to as long as the trouble lasted.
            let until = over + over.saturating_sub(trouble.from) + BUSY;
            for plane in &trouble.planes {
                parted.entry(*plane).or_default().push((trouble.from, until));
            }
        }
        parted
            .values_mut()
            .for_each(|times| times.sort_unstable_by_key(|(_, until)| std::cmp::Reverse(*until)));
        Self(parted)
    }

    /// What was acknowledged anywhere before this is known to a control plane at a time, if it learns of
    /// such within `lag` while it has its database.
    pub(super) fn known(&self, plane: usize, at: Duration, lag: Duration) -> Duration {
        let mut known = at.saturating_sub(lag);
        for (from, until) in self.0.get(&plane).into_iter().flatten() {
            if *from <= at && *until >= known {
                known = known.min(from.saturating_sub(lag));
            }
        }
        known
    }
}
