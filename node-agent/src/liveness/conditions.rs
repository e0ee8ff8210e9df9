//! Named truths about this host, each with the time since when it is so.

use std::time::Duration;

use muster_common::clock::UnixMillis;

use crate::state::{Condition, Pause};

/// More than this between the two clocks is told.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// The conditions of now.
#[derive(Debug, Default)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// Looks again; answers all.
    pub fn look(
        &mut self,
        ahead_ms: Option<i64>,
        lock_file: Option<String>,
        no_upgrades: Option<String>,
        pause: Option<Pause>,
        now: UnixMillis,
    ) -> Vec<Condition> {
        self.note(clock(ahead_ms, now));
        self.note(locks(lock_file, now));
        self.note(upgrades(no_upgrades, now));
        self.note(paused(pause, now));
        self.0.clone()
    }

    fn note(&mut self, new: Condition) {
        match self.0.iter_mut().find(|old| old.kind == new.kind) {
            // The same truth: since when it is so stays, its wording too.
            Some(old)
                if (old.holds, old.reason) == (new.holds, new.reason) && !is_another_word(old, &new) => {}
            Some(old) => *old = new,
            None => self.0.push(new),
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

/// Since when is the pause's own: a new word about it is another truth.
fn is_another_word(old: &Condition, new: &Condition) -> bool {
    new.kind == PAUSED && new.holds == Some(true) && old.since != new.since
}

const PAUSED: &str = "Paused";

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
        assert_eq!(
            conditions.look(None, None, None, None, UnixMillis(0))[0].holds,
            None,
            "nothing was compared yet"
        );
        let mut clock = |ahead, now| {
            let all = conditions.look(Some(ahead), None, None, None, UnixMillis(now));
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
        let all = Conditions::default().look(Some(0), Some("broken".to_owned()), None, None, UnixMillis(1));
        assert!(
            all.iter().any(|c| c.kind == "LockFileOk" && c.holds == Some(false) && c.message == "broken")
        );
    }

    #[test]
    fn a_host_that_takes_no_other_version_says_so() {
        let of = |refused: Option<&str>| {
            let all = Conditions::default().look(None, None, refused.map(str::to_owned), None, UnixMillis(1));
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
            let all = conditions.look(None, None, None, pause, UnixMillis(now));
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
}
