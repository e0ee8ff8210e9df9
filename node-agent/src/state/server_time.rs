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
    /// The control plane said it is `theirs`, at this moment.
    pub fn learn(&self, theirs: UnixMillis, at: Instant) {
        *self.0.lock() = Some(Anchor { theirs, at, heard: true });
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
        time.learn(UnixMillis(9_000), now);
        time.guess(UnixMillis(1), now);
        let later = now + Duration::from_secs(2);
        assert_eq!(
            (time.at(later), time.heard_at(later)),
            (Some(UnixMillis(11_000)), Some(UnixMillis(11_000)))
        );
    }
}
