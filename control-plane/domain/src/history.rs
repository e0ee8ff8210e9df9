//! The control plane's histories: one ends and another begins when its store is restored
//! from a backup. What happened after the backup was made is known to hosts alone.

use muster_common::{clock::UnixMillis, generation::Generation};

/// All histories of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Number of the one that goes on.
    pub epoch: u64,
    /// Those before it, oldest first.
    pub ended: Vec<Ended>,
}

/// A history of which only the beginning is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub epoch: u64,
    /// The last revision of it that is known.
    pub revision: u64,
    /// When the backup was made.
    pub taken_at: UnixMillis,
    /// When the store was restored from it.
    pub restored_at: UnixMillis,
}

impl History {
    /// Whether a host that was told this has been told what the store does not know. `revision`:
    /// the newest one of the store.
    ///
    /// A store that was put back past the restore (its file copied, a snapshot of its disk)
    /// shows itself by the same: a host knows a number that was not given yet, or an epoch.
    #[must_use]
    pub fn has_forgotten(&self, newest: Generation, revision: u64) -> bool {
        if newest.number == 0 {
            return false;
        }
        let ended = || self.ended.iter().find(|ended| ended.epoch == newest.epoch);
        match newest.epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => newest.number > revision,
            std::cmp::Ordering::Less => ended().is_none_or(|ended| newest.number > ended.revision),
        }
    }

    /// Whether what was made between these two moments can have been made after a backup and
    /// before the store was restored from it.
    #[must_use]
    pub fn is_lost_time(&self, earliest: UnixMillis, latest: UnixMillis) -> bool {
        self.ended.iter().any(|ended| ended.taken_at <= latest && earliest < ended.restored_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let ended = |epoch, revision| Ended {
            epoch,
            revision,
            taken_at: UnixMillis(1_000 * revision.cast_signed()),
            restored_at: UnixMillis(1_000 * revision.cast_signed() + 500),
        };
        History { epoch: 4, ended: vec![ended(1, 10), ended(3, 20)] }
    }

    #[test]
    fn a_host_that_was_told_more_than_the_store_knows_is_noticed() {
        let told = |epoch, number| history().has_forgotten(Generation::new(epoch, number), 30);
        // Of this history, of one that ended, of one that is known not at all, of a later one.
        assert_eq!([told(4, 30), told(4, 31)], [false, true]);
        assert_eq!([told(1, 10), told(1, 11), told(3, 20), told(3, 21)], [false, true, false, true]);
        assert_eq!([told(2, 1), told(5, 1)], [true, true]);
        assert!(!told(0, 0) && !told(9, 0), "it was told nothing");
    }

    #[test]
    fn lost_time_is_from_the_backup_to_the_restore() {
        let lost = |at| history().is_lost_time(UnixMillis(at), UnixMillis(at));
        assert_eq!([lost(9_999), lost(10_000), lost(10_499), lost(10_500)], [false, true, true, false]);
        assert!(lost(20_001));
        assert!(history().is_lost_time(UnixMillis(9_500), UnixMillis(10_500)), "it may be");
    }
}
