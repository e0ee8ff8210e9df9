//! Refusals of callers, written to the audit: so many of each caller and so
//! many in all, so that whoever knocks all day fills no disk. All are counted.

use std::{collections::VecDeque, num::NonZeroU32};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use muster_common::reason::Reason;
use muster_domain::audit::{Note, Stamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{App, Error};

/// Denials that wait to be written; more are counted and dropped.
const QUEUE: usize = 256;
/// Callers remembered before those at rest are forgotten.
const SWEEP_AT: usize = 50_000;

/// What waits to be written down, and how often it may be.
pub struct Denials {
    waiting: Mutex<VecDeque<Denial>>,
    wake: Notify,
    per_caller: DefaultKeyedRateLimiter<String>,
    in_all: DefaultDirectRateLimiter,
}

struct Denial {
    stamp: Stamp,
    subject: String,
}

/// Who was refused what.
#[derive(Debug, Clone)]
pub struct Refused {
    /// `operator/alice`; empty: nobody knows.
    pub principal: String,
    /// From where: an address, or an address with its port.
    pub remote_address: String,
    /// A method.
    pub subject: String,
    /// Of the request.
    pub trace_id: String,
    /// Stable.
    pub reason: Reason,
}

impl Denials {
    /// At most so many in a minute.
    #[must_use]
    pub fn new(per_caller: u32, in_all: u32) -> Self {
        let per_minute = |count| Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            per_caller: RateLimiter::keyed(per_minute(per_caller)),
            in_all: RateLimiter::direct(per_minute(in_all)),
        }
    }

    /// Waits until there is something to write.
    pub async fn wanted(&self) {
        self.wake.notified().await;
    }

    /// How many wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    fn allows(&self, caller: &str) -> bool {
        if self.per_caller.len() > SWEEP_AT {
            self.per_caller.retain_recent();
        }
        self.per_caller.check_key(&caller.to_owned()).is_ok() && self.in_all.check().is_ok()
    }
}

impl App {
    /// Notes that a call was refused for who called.
    pub fn denied(&self, refused: Refused) {
        let known = !refused.principal.is_empty();
        let host =
            refused.remote_address.parse::<std::net::SocketAddr>().map(|remote| remote.ip().to_string());
        let caller = if known {
            refused.principal.clone()
        } else {
            host.unwrap_or_else(|_| refused.remote_address.clone())
        };
        if !self.denials.allows(&caller) {
            return;
        }
        let stamp = Stamp {
            actor: if known { refused.principal } else { "unknown".to_owned() },
            action: format!("denied.{}", refused.reason),
            at: self.clock.now(),
            remote_address: refused.remote_address,
            trace_id: refused.trace_id,
        };
        let mut waiting = self.denials.waiting.lock();
        if waiting.len() >= QUEUE {
            return self.metrics.queue_full("denials");
        }
        waiting.push_back(Denial { stamp, subject: refused.subject.chars().take(256).collect() });
        drop(waiting);
        self.denials.wake.notify_one();
    }

    /// Writes down what waits.
    ///
    /// # Errors
    /// If the store fails; what was not written is not tried again.
    pub async fn write_denials(&self) -> Result<(), Error> {
        loop {
            let Some(denial) = self.denials.waiting.lock().pop_front() else { return Ok(()) };
            let note = Note { subject: denial.subject, denied: true, ..Note::default() };
            self.store.write(denial.stamp, move |tx| tx.audit(note.clone()).map_err(Error::from)).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_one_caller_nor_all_together_write_without_end() {
        let denials = Denials::new(2, 5);
        let written = |caller: &str| (0..10).filter(|_| denials.allows(caller)).count();
        assert_eq!(written("10.0.0.1"), 2);
        assert_eq!(written("10.0.0.2"), 2);
        assert_eq!(written("10.0.0.3"), 1, "all together");
    }
}
