//! Named truths about this host, each with the time since when it is so.

use std::time::Duration;

use muster_common::clock::UnixMillis;

use crate::state::Condition;

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
        now: UnixMillis,
    ) -> Vec<Condition> {
        self.note(clock(ahead_ms, now));
        self.note(locks(lock_file, now));
        self.0.clone()
    }

    fn note(&mut self, new: Condition) {
        match self.0.iter_mut().find(|old| old.kind == new.kind) {
            // The same truth: since when it is so stays, its wording too.
            Some(old) if (old.holds, old.reason) == (new.holds, new.reason) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_since_until_its_truth_changes() {
        let mut conditions = Conditions::default();
        assert_eq!(conditions.look(None, None, UnixMillis(0))[0].holds, None, "nothing was compared yet");
        let mut clock = |ahead, now| {
            let all = conditions.look(Some(ahead), None, UnixMillis(now));
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
        let all = Conditions::default().look(Some(0), Some("broken".to_owned()), UnixMillis(1));
        assert!(
            all.iter().any(|c| c.kind == "LockFileOk" && c.holds == Some(false) && c.message == "broken")
        );
    }
}
