//! How fast a session is read. Pure: the time comes in.

use std::time::Duration;

use muster_common::clock::Instant;

/// Messages that may come at once: a Hello's worth of reports, or what a script
/// says in one go.
const BURST: u32 = 1000;
/// Between two messages in the long run. A host that has more to say waits: the
/// flow control of HTTP/2 tells it so.
const PACE: Duration = Duration::from_millis(2);

/// A bucket of tokens, kept as the moment at which it would be full again: one
/// number, and nothing to be filled up while a session is idle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    full_at: Option<Instant>,
}

impl Pace {
    /// A full bucket.
    pub(super) const fn new() -> Self {
        Self { full_at: None }
    }

    /// How long to wait before the next message may be read. `None`: not at all.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let missing = self.full_at?.saturating_duration_since(now);
        let wait = (missing + PACE).saturating_sub(PACE * BURST);
        (!wait.is_zero()).then_some(wait)
    }

    /// A message was read.
    pub(super) fn take(&mut self, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |full| full.max(now)) + PACE);
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    #[test]
    fn a_burst_is_read_at_once_and_then_one_message_at_a_time() {
        let start = Clock::System.monotonic();
        let mut pace = Pace::new();
        for _ in 0..BURST {
            assert_eq!(pace.wait(start), None);
            pace.take(start);
        }
        assert_eq!(pace.wait(start), Some(PACE));
        assert_eq!(pace.wait(start + PACE), None);
        pace.take(start + PACE);
        assert_eq!(pace.wait(start + PACE), Some(PACE));
        let later = start + PACE * (BURST + 1);
        for _ in 0..BURST {
            assert_eq!(pace.wait(later), None, "after some rest there is room for another burst");
            pace.take(later);
        }
        assert!(pace.wait(later).is_some());
    }
}
