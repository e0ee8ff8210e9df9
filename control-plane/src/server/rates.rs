//! How often one caller may call, in classes, so that a list call of one
//! operator cannot delay another's command.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

use super::policy::Rate;
use crate::config;

/// Callers remembered before those at rest are forgotten.
const SWEEP_AT: usize = 50_000;

/// Rates of all callers. Cheap to clone.
#[derive(Clone)]
pub struct Rates(Arc<[(Rate, DefaultKeyedRateLimiter<String>)]>);

impl Rates {
    /// As configured; a rate of nothing is one.
    #[must_use]
    pub fn new(rates: &config::Rates) -> Self {
        let count = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let per = |quota: Quota, burst: u32| RateLimiter::keyed(quota.allow_burst(count(burst)));
        let per_second = |calls: u32, burst: u32| per(Quota::per_second(count(calls)), burst);
        let renames = per(Quota::per_hour(count(rates.renames)), rates.renames_burst);
        Self(Arc::from([
            (Rate::Read, per_second(rates.reads, rates.reads_burst)),
            (Rate::Write, per_second(rates.writes, rates.writes_burst)),
            (Rate::Session, per_second(rates.sessions, rates.sessions_burst)),
            (Rate::Bring, per_second(rates.sessions, rates.sessions_burst)),
            (Rate::Issue, per_second(rates.workloads, rates.workloads_burst)),
            (Rate::Rename, renames),
            (Rate::Enroll, per_second(rates.enrollments, rates.enrollments_burst)),
        ]))
    }

    /// Counts a call.
    ///
    /// # Errors
    /// When to try again.
    pub fn check(&self, class: Rate, caller: &str) -> Result<(), Duration> {
        let class = if class == Rate::Watch { Rate::Read } else { class };
        let Some((_, limiter)) = self.0.iter().find(|(rate, _)| *rate == class) else { return Ok(()) };
        if limiter.len() > SWEEP_AT {
            limiter.retain_recent();
        }
        let now = limiter.clock().now();
        limiter.check_key(&caller.to_owned()).map_err(|until| until.wait_time_from(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_node_brings_are_few_and_keep_no_session_out() {
        let rule = super::super::policy::rule("/muster.agent.v1.BlobService/UploadResult").unwrap();
        assert!(rule.rate.stays_open(), "so many at once");
        let configured = config::Rates::default();
        let rates = Rates::new(&configured);
        for _ in 0..configured.sessions_burst {
            rates.check(rule.rate, "node/1").unwrap();
        }
        assert!((0..3).any(|_| rates.check(rule.rate, "node/1").is_err()), "as seldom as sessions");
        rates.check(Rate::Session, "node/1").unwrap();
        rates.check(rule.rate, "node/2").unwrap();
    }

    #[test]
    fn a_node_gives_itself_few_names_and_they_are_none_of_its_other_calls() {
        let rule = super::super::policy::rule("/muster.agent.v1.NodeService/Rename").unwrap();
        let configured = config::Rates::default();
        let rates = Rates::new(&configured);
        for _ in 0..configured.renames_burst {
            rates.check(rule.rate, "node/1").unwrap();
        }
        let wait = rates.check(rule.rate, "node/1").unwrap_err();
        assert!(wait > Duration::from_secs(60), "{wait:?}");
        for other in [Rate::Bring, Rate::Session] {
            rates.check(other, "node/1").unwrap();
        }
        rates.check(rule.rate, "node/2").unwrap();
    }
}
