//! How long the writer waits for a database that was lost. The first batch waits
//! until it is back, up to a limit; once that was in vain, those that follow try
//! once each, so that nobody waits for each of them in turn.

use std::{thread, time::Duration};

use muster_common::{
    backoff::Backoff,
    clock::{Clock, Instant},
};

/// Between tries.
const WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Of one writer.
pub(super) struct Patience {
    within: Duration,
    exhausted: bool,
}

/// Of one batch.
pub(super) struct Waiting {
    within: Duration,
    /// From the first wait on: that a server is gone takes its time to be noticed.
    until: Option<Instant>,
    backoff: Backoff,
}

impl Patience {
    pub(super) const fn new(within: Duration) -> Self {
        Self { within, exhausted: false }
    }

    pub(super) fn begin(&self) -> Waiting {
        let within = if self.exhausted { Duration::ZERO } else { self.within };
        Waiting { within, until: None, backoff: Backoff::new(WAIT.0, WAIT.1) }
    }

    /// It was in vain.
    pub(super) const fn was_in_vain(&mut self) {
        self.exhausted = true;
    }

    /// The database is back.
    pub(super) const fn has_paid(&mut self) {
        self.exhausted = false;
    }
}

impl Waiting {
    /// Waits a little; `false`: it was long enough.
    pub(super) fn wait(&mut self) -> bool {
        let wait = self.backoff.next_wait();
        let now = Clock::System.monotonic();
        let until = *self.until.get_or_insert(now + self.within);
        if now + wait >= until {
            return false;
        }
        thread::sleep(wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_in_vain_lets_the_next_try_once() {
        let mut patience = Patience::new(Duration::from_millis(200));
        let mut waiting = patience.begin();
        assert!(waiting.wait());
        while waiting.wait() {}
        patience.was_in_vain();
        assert!(!patience.begin().wait());
        patience.has_paid();
        assert!(patience.begin().wait());
    }
}
