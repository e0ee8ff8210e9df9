//! How long to wait before the next try: doubling, with full jitter, so that a
//! fleet that lost its control plane does not come back as one.

use std::time::Duration;

use rand::RngExt as _;

/// Waits between tries of one thing.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    tries: u32,
}

impl Backoff {
    /// The first wait is at most `min`, none is above `max`.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, tries: 0 }
    }

    /// The next wait: a random part, at least a tenth, of a bound that doubles with every try.
    pub fn next_wait(&mut self) -> Duration {
        let bound = self.min.saturating_mul(1 << self.tries.min(20)).min(self.max);
        self.tries = self.tries.saturating_add(1);
        bound.mul_f64(rand::rng().random_range(0.1..=1.0))
    }

    /// After a success.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }

    /// Other limits from now on.
    pub const fn retune(&mut self, min: Duration, max: Duration) {
        self.min = min;
        self.max = max;
    }

    /// Tries since the last success.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_under_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for n in 0..80 {
            let bound = Duration::from_millis(100).saturating_mul(1 << n.min(20)).min(Duration::from_secs(5));
            let wait = backoff.next_wait();
            assert!(wait <= bound && wait >= bound / 11, "try {n}: {wait:?} of {bound:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(100));
    }
}
