//! The control plane's clock, as far as the host has learnt it.

use std::{sync::Arc, time::Duration};

use muster_common::clock::{Instant, UnixMillis};
use parking_lot::Mutex;

/// What the control plane's clock shows. It goes on by the host's monotonic
/// clock, so that nobody who sets the host's wall clock moves it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServerTime(Arc<Mutex<Option<Anchor>>>);

#[derive(Debug, Clone, Copy)]
struct Anchor {
    theirs: UnixMillis,
    at: Instant,
    /// This process heard it; else it is a guess by what an earlier one heard.
    heard: bool,
}

impl ServerTime {
    /// The control plane said it is `theirs`, at some moment after it was `asked`; its word
    /// came `at` this one. What was heard before stays as far as it may still be true: a word
    /// that was long under way tells less than one that came at once. Answers what it shows now.
    pub fn learn(&self, theirs: UnixMillis, asked: Instant, at: Instant) -> UnixMillis {
        let mut anchor = self.0.lock();
        let most = theirs + at.saturating_duration_since(asked);
        let before = anchor.filter(|before| before.heard).map(|before| before.on(at));
        let theirs = before.map_or(theirs, |before| before.clamp(theirs, most));
        *anchor = Some(Anchor { theirs, at, heard: true });
        theirs
    }

    /// Before it was heard: a guess. What was heard stays.
    pub fn guess(&self, theirs: UnixMillis, at: Instant) {
        self.0.lock().get_or_insert(Anchor { theirs, at, heard: false });
    }

    /// What it shows at `at`; `None` as long as nobody knows.
    #[must_use]
    pub fn at(&self, at: Instant) -> Option<UnixMillis> {
        (*self.0.lock()).map(|anchor| anchor.on(at))
    }

    /// As `at`, but never a guess: for what cannot be undone.
    #[must_use]
    pub fn heard_at(&self, at: Instant) -> Option<UnixMillis> {
        (*self.0.lock()).filter(|anchor| anchor.heard).map(|anchor| anchor.on(at))
    }
}

impl Anchor {
    fn on(&self, at: Instant) -> UnixMillis {
        self.theirs + at.checked_duration_since(self.at).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    #[test]
    fn nobody_knows_it_before_it_was_heard_and_a_guess_is_told_apart() {
        let (time, now) = (ServerTime::default(), Clock::System.monotonic());
        assert_eq!(time.at(now), None);
        time.guess(UnixMillis(5_000), now);
        assert_eq!((time.at(now), time.heard_at(now)), (Some(UnixMillis(5_000)), None));
        assert_eq!(time.learn(UnixMillis(9_000), now, now), UnixMillis(9_000));
        time.guess(UnixMillis(1), now);
        let later = now + Duration::from_secs(2);
        assert_eq!(
            (time.at(later), time.heard_at(later)),
            (Some(UnixMillis(11_000)), Some(UnixMillis(11_000)))
        );
    }

    #[test]
    fn a_word_that_was_long_under_way_does_not_set_the_clock_back() {
        let (time, begun) = (ServerTime::default(), Clock::System.monotonic());
        let after = |seconds| begun + Duration::from_secs(seconds);
        time.learn(UnixMillis(10_000), begun, begun);
        let late = time.learn(UnixMillis(16_000), after(5), after(9));
        assert_eq!(late, UnixMillis(19_000), "it said so three seconds ago");
        let ahead = time.learn(UnixMillis(25_000), after(9), after(10));
        assert_eq!(ahead, UnixMillis(25_000), "it is that late at least");
        let back = time.learn(UnixMillis(4_000), after(10), after(12));
        assert_eq!(back, UnixMillis(6_000), "it is that late at most: it was set back");
        assert_eq!(time.at(after(13)), Some(UnixMillis(7_000)));
    }
}
