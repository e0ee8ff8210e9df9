//! Named truths about this host, each with the time since when it is so.

use std::{collections::BTreeSet, time::Duration};

use muster_common::clock::UnixMillis;

use crate::state::{Condition, Filling, Pause};

/// More than this between the two clocks is told.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// A disk that was nearly full is not any more when it is so many percent below what is.
const SLACK: u32 = 3;
/// Disks that are named.
const NAMED: usize = 4;

/// What conditions follow from.
#[derive(Debug, Default)]
pub struct Seen<'a> {
    /// How far the control plane's clock is ahead of this one. `None`: nobody knows.
    pub ahead_ms: Option<i64>,
    /// Why the lock file cannot be used.
    pub lock_file: Option<String>,
    /// Why no other version of the agent is taken.
    pub no_upgrades: Option<String>,
    /// The pause that holds.
    pub pause: Option<Pause>,
    /// How full the disks are, as far as that was measured.
    pub disks: &'a [Filling],
    /// From so many percent on a disk is nearly full.
    pub full_at: u32,
}

/// The conditions of now.
#[derive(Debug, Default)]
pub struct Conditions {
    all: Vec<Condition>,
    /// Disks that are nearly full.
    full: BTreeSet<String>,
}

impl Conditions {
    /// Looks again; answers all.
    pub fn look(&mut self, seen: Seen<'_>, now: UnixMillis) -> Vec<Condition> {
        self.note(clock(seen.ahead_ms, now));
        self.note(locks(seen.lock_file, now));
        self.note(upgrades(seen.no_upgrades, now));
        self.note(paused(seen.pause, now));
        self.full = nearly_full(&self.full, seen.disks, seen.full_at);
        let disks = self.disks(seen.disks.is_empty(), seen.full_at, now);
        self.note(disks);
        self.all.clone()
    }

    /// One that is full as long as another is: it is so since the first of them.
    fn disks(&self, is_unknown: bool, full_at: u32, now: UnixMillis) -> Condition {
        let truth = |holds, reason, message, since| Condition { kind: DISK, holds, reason, message, since };
        if is_unknown {
            return truth(None, "NotMeasured", String::new(), now);
        }
        if self.full.is_empty() {
            return truth(Some(true), "Room", String::new(), now);
        }
        let before = self.all.iter().find(|old| old.kind == DISK && old.holds == Some(false));
        let mut names: Vec<&str> = self.full.iter().take(NAMED).map(String::as_str).collect();
        names.extend((self.full.len() > NAMED).then_some("and others"));
        let message = format!("at least {full_at} % of {} is used", names.join(", "));
        truth(Some(false), "NearlyFull", message, before.map_or(now, |old| old.since))
    }

    fn note(&mut self, new: Condition) {
        match self.all.iter_mut().find(|old| old.kind == new.kind) {
            // The same truth: since when it is so stays, its wording too.
            Some(old)
                if (old.holds, old.reason) == (new.holds, new.reason) && !is_another_word(old, &new) => {}
            Some(old) => *old = new,
            None => self.all.push(new),
        }
    }
}

fn clock(ahead_ms: Option<i64>, since: UnixMillis) -> Condition {
    let kind = "ClockOk";
    let Some(ahead_ms) = ahead_ms else {
        return Condition { kind, holds: None, reason: "NotCompared", message: String::new(), since };
    };
    if Duration::from_millis(ahead_ms.unsigned_abs()) <= CLOCK_TOLERANCE {
        return Condition { kind, holds: Some(true), reason: "InStep", message: String::new(), since };
    }
    let (by, side) = (ahead_ms.unsigned_abs() / 1000, if ahead_ms > 0 { "behind" } else { "ahead of" });
    let message = format!("this host's clock is {by} s {side} the control plane's");
    Condition { kind, holds: Some(false), reason: "OutOfStep", message, since }
}

fn locks(error: Option<String>, since: UnixMillis) -> Condition {
    let kind = "LockFileOk";
    match error {
        None => Condition { kind, holds: Some(true), reason: "Read", message: String::new(), since },
        Some(message) => Condition { kind, holds: Some(false), reason: "EverythingLocked", message, since },
    }
}

fn upgrades(refused: Option<String>, since: UnixMillis) -> Condition {
    let kind = "UpgradeAllowed";
    match refused {
        None => Condition { kind, holds: Some(true), reason: "Allowed", message: String::new(), since },
        Some(message) => Condition { kind, holds: Some(false), reason: "LocalLock", message, since },
    }
}

/// Since when is the pause's own: a new word about it is another truth. So are other disks.
fn is_another_word(old: &Condition, new: &Condition) -> bool {
    let is_of_pause = new.kind == PAUSED && new.holds == Some(true) && old.since != new.since;
    is_of_pause || (new.kind == DISK && old.message != new.message)
}

const PAUSED: &str = "Paused";
const DISK: &str = "DiskOk";

/// Disks that are nearly full, by those that were: who is just at the limit does not come and go.
fn nearly_full(before: &BTreeSet<String>, disks: &[Filling], full_at: u32) -> BTreeSet<String> {
    let is_full = |disk: &&Filling| {
        let slack = if before.contains(&disk.mount_point) { SLACK } else { 0 };
        disk.permille >= full_at.saturating_sub(slack) * 10
    };
    disks.iter().filter(is_full).map(|disk| disk.mount_point.clone()).collect()
}

fn paused(pause: Option<Pause>, now: UnixMillis) -> Condition {
    let Some(pause) = pause else {
        let (holds, reason) = (Some(false), "NotPaused");
        return Condition { kind: PAUSED, holds, reason, message: String::new(), since: now };
    };
    let until = pause.until.map(|at| humantime::format_rfc3339_seconds(at.to_system_time()));
    let until = until.map(|at| format!(" (until {at})")).unwrap_or_default();
    let message = format!("{}{until}", pause.reason);
    Condition { kind: PAUSED, holds: Some(true), reason: "LocalAdministrator", message, since: pause.since }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_since_until_its_truth_changes() {
        let mut conditions = Conditions::default();
        let all = conditions.look(Seen::default(), UnixMillis(0));
        assert_eq!(all[0].holds, None, "nothing was compared yet");
        let mut clock = |ahead, now| {
            let all = conditions.look(Seen { ahead_ms: Some(ahead), ..Seen::default() }, UnixMillis(now));
            let clock = all.into_iter().find(|condition| condition.kind == "ClockOk").unwrap();
            (clock.holds, clock.since.0)
        };
        assert_eq!(clock(10, 1), (Some(true), 1));
        assert_eq!(clock(-4_000, 2), (Some(true), 1));
        assert_eq!(clock(9_000, 3), (Some(false), 3));
        assert_eq!(clock(20_000, 4), (Some(false), 3));
        assert_eq!(clock(0, 5), (Some(true), 5));
    }

    #[test]
    fn a_lock_file_that_cannot_be_used_is_told() {
        let seen = Seen { lock_file: Some("broken".to_owned()), ..Seen::default() };
        let all = Conditions::default().look(seen, UnixMillis(1));
        assert!(
            all.iter().any(|c| c.kind == "LockFileOk" && c.holds == Some(false) && c.message == "broken")
        );
    }

    #[test]
    fn a_host_that_takes_no_other_version_says_so() {
        let of = |refused: Option<&str>| {
            let seen = Seen { no_upgrades: refused.map(str::to_owned), ..Seen::default() };
            let all = Conditions::default().look(seen, UnixMillis(1));
            let found = all.into_iter().find(|condition| condition.kind == "UpgradeAllowed").unwrap();
            (found.holds, found.reason, found.message)
        };
        assert_eq!(of(None), (Some(true), "Allowed", String::new()));
        assert_eq!(of(Some("pinned")), (Some(false), "LocalLock", "pinned".to_owned()));
    }

    #[test]
    fn a_pause_is_told_with_its_own_begin_and_its_end_from_now() {
        let mut conditions = Conditions::default();
        let mut paused = |pause: Option<Pause>, now| {
            let all = conditions.look(Seen { pause, ..Seen::default() }, UnixMillis(now));
            let it = all.into_iter().find(|condition| condition.kind == PAUSED).unwrap();
            (it.holds, it.message, it.since.0)
        };
        let pause = |reason: &str, since| {
            Some(Pause { reason: reason.to_owned(), since: UnixMillis(since), until: None, uid: 0 })
        };
        assert_eq!(paused(None, 1), (Some(false), String::new(), 1));
        assert_eq!(paused(pause("a", 2), 9), (Some(true), "a".to_owned(), 2));
        assert_eq!(paused(pause("b", 5), 10), (Some(true), "b".to_owned(), 5));
        assert_eq!(paused(None, 11), (Some(false), String::new(), 11));
        assert_eq!(paused(None, 12), (Some(false), String::new(), 11));
    }

    #[test]
    fn a_disk_is_nearly_full_until_it_has_some_room_more_than_at_first() {
        let mut conditions = Conditions::default();
        let mut disks = |filled: &[(&str, u32)], now| {
            let filling =
                |(at, permille): &(&str, u32)| Filling { mount_point: (*at).to_owned(), permille: *permille };
            let disks: Vec<Filling> = filled.iter().map(filling).collect();
            let seen = Seen { disks: &disks, full_at: 90, ..Seen::default() };
            let all = conditions.look(seen, UnixMillis(now));
            let it = all.into_iter().find(|condition| condition.kind == DISK).unwrap();
            (it.holds, it.message, it.since.0)
        };
        let full = |names: &str, since| (Some(false), format!("at least 90 % of {names} is used"), since);
        let room = |since| (Some(true), String::new(), since);
        assert_eq!(disks(&[], 1), (None, String::new(), 1), "nothing was measured yet");
        assert_eq!(disks(&[("/", 899), ("/var", 100)], 2), room(2));
        assert_eq!(disks(&[("/", 899), ("/var", 900)], 3), full("/var", 3));
        assert_eq!(disks(&[("/", 899), ("/var", 870)], 4), full("/var", 3), "not enough room yet");
        assert_eq!(disks(&[("/", 950), ("/var", 880)], 5), full("/, /var", 3), "others are news");
        assert_eq!(disks(&[("/", 950), ("/var", 869)], 6), full("/", 3));
        assert_eq!(disks(&[("/", 899)], 7), full("/", 3));
        assert_eq!(disks(&[("/", 869)], 8), room(8));
        let many = [("/a", 990), ("/b", 990), ("/c", 990), ("/d", 990), ("/e", 990)];
        assert_eq!(disks(&many, 9), full("/a, /b, /c, /d, and others", 9));
    }
}
