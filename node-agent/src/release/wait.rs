//! When a version that was not to blame is tried again. By the host's clock, as it must hold
//! across restarts; pure.

use std::time::Duration;

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

/// After what changed nothing on the host: the first wait, and the longest.
const LIGHT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// After a way there and back, each of which ends the agent's session.
const HEAVY: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(6 * 3600));

/// Another try, later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Again {
    /// Tries so far.
    tries: u32,
    since: UnixMillis,
    wait: Duration,
    /// A new session does not make it earlier: what failed ends sessions itself.
    is_heavy: bool,
}

impl Again {
    /// After one more failure.
    pub(super) fn after(before: Option<Self>, is_heavy: bool, now: UnixMillis) -> Self {
        let tries = before.map_or(0, |before| before.tries.saturating_add(1));
        let (first, longest) = if is_heavy { HEAVY } else { LIGHT };
        let wait = first.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(longest);
        Self { tries, since: now, wait, is_heavy }
    }

    /// Whether it is time. A clock that was set back makes nobody wait longer.
    pub(super) fn is_due(self, now: UnixMillis) -> bool {
        let passed = now.0.saturating_sub(self.since.0);
        u64::try_from(passed).map_or(true, |passed| u128::from(passed) >= self.wait.as_millis())
    }

    /// Whether a new session, or another lock file, makes it time.
    pub(super) const fn is_hastened(self) -> bool {
        !self.is_heavy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_a_clock_set_back_ends_them() {
        let now = UnixMillis(1_000_000);
        let mut again = Again::after(None, true, now);
        assert!(!again.is_due(now) && again.is_due(UnixMillis(now.0 + 300_000)) && !again.is_hastened());
        assert!(again.is_due(UnixMillis(0)));
        for _ in 0..40 {
            again = Again::after(Some(again), true, now);
        }
        assert_eq!(again.wait, HEAVY.1);
        assert!(Again::after(None, false, now).is_hastened());
    }
}
