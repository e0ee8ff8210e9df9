//! How often one caller may call, in classes, so that a list call of one
//! operator cannot delay another's command.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

use super::policy::Rate;

/// Callers remembered before those at rest are forgotten.
const SWEEP_AT: usize = 50_000;

/// Rates of all callers. Cheap to clone.
#[derive(Clone)]
pub struct Rates(Arc<[(Rate, DefaultKeyedRateLimiter<String>)]>);

impl Default for Rates {
    fn default() -> Self {
        let per_second = |calls: u32, burst: u32| {
            let count = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
            Quota::per_second(count(calls)).allow_burst(count(burst))
        };
        Self(Arc::from([
            (Rate::Read, RateLimiter::keyed(per_second(500, 1000))),
            (Rate::Write, RateLimiter::keyed(per_second(200, 1000))),
            (Rate::Session, RateLimiter::keyed(per_second(1, 20))),
            // Per address: a whole site behind one address enrolls in minutes, a guesser gets nowhere.
            (Rate::Enroll, RateLimiter::keyed(per_second(50, 500))),
        ]))
    }
}

impl Rates {
    /// Counts a call.
    ///
    /// # Errors
    /// When to try again.
    pub fn check(&self, class: Rate, caller: &str) -> Result<(), Duration> {
        let Some((_, limiter)) = self.0.iter().find(|(rate, _)| *rate == class) else { return Ok(()) };
        if limiter.len() > SWEEP_AT {
            limiter.retain_recent();
        }
        let now = limiter.clock().now();
        limiter.check_key(&caller.to_owned()).map_err(|until| until.wait_time_from(now))
    }
}

/// How often denials of one caller are written down.
pub struct Denials(DefaultKeyedRateLimiter<String>);

impl Default for Denials {
    fn default() -> Self {
        let ten = NonZeroU32::MIN.saturating_add(9);
        Self(RateLimiter::keyed(Quota::per_minute(ten)))
    }
}

impl Denials {
    /// Whether one more is to be written.
    #[must_use]
    pub fn allows(&self, caller: &str) -> bool {
        if self.0.len() > SWEEP_AT {
            self.0.retain_recent();
        }
        self.0.check_key(&caller.to_owned()).is_ok()
    }
}
