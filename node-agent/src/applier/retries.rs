//! Work that failed for a reason of the host's own, or for want of a blob, and is tried
//! again.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{backoff::Backoff, clock::Instant, reason::Reason};

use super::work::Work;
use crate::state::Cause;

/// The first wait is at most this: what is wrong for a moment only shall not cost more.
const FIRST: Duration = Duration::from_secs(4);
/// No wait is longer: a person who made room does not wait for longer than for a coffee.
const LONGEST: Duration = Duration::from_secs(600);

/// What waits for its next try.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<String, Retry>);

#[derive(Debug)]
struct Retry {
    work: Work,
    why: (Reason, Cause),
    backoff: Backoff,
    due: Instant,
}

impl Retries {
    /// Work failed and is to be tried again.
    pub(super) fn failed(&mut self, work: Work, why: (Reason, Cause), now: Instant) {
        let known = self.0.remove(work.item()).filter(|retry| retry.work.aim() == work.aim());
        let mut backoff = known.map_or_else(|| Backoff::new(FIRST, LONGEST), |retry| retry.backoff);
        let due = now + backoff.next_wait();
        self.0.insert(work.item().to_owned(), Retry { work, why, backoff, due });
    }

    /// This is done: nothing that is not newer is to be tried any more.
    pub(super) fn forget(&mut self, done: &Work) {
        self.0.retain(|item, retry| item != done.item() || retry.work.aim().0 > done.aim().0);
    }

    /// Whether just this waits already.
    pub(super) fn holds(&self, work: &Work) -> bool {
        self.0.get(work.item()).is_some_and(|retry| retry.work.aim() == work.aim())
    }

    /// What made these fail may be over.
    pub(super) fn hurry(&mut self, now: Instant, which: impl Fn(Reason, Cause) -> bool) {
        for retry in self.0.values_mut().filter(|retry| which(retry.why.0, retry.why.1)) {
            retry.due = now;
        }
    }

    /// Work whose time has come, of what is `ready` to be tried. It stays here until it is
    /// said what became of it.
    pub(super) fn due(&self, now: Instant, ready: impl Fn(&Work, Reason) -> bool) -> Option<Work> {
        self.0
            .values()
            .filter(|retry| retry.due <= now && ready(&retry.work, retry.why.0))
            .min_by_key(|retry| retry.due)
            .map(|it| it.work.clone())
    }

    /// When each item is tried again.
    pub(super) fn times(&self) -> BTreeMap<String, Instant> {
        self.0.iter().map(|(item, retry)| (item.clone(), retry.due)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use muster_common::{clock::Clock, generation::Generation};

    use super::*;
    use crate::state::Removal;

    fn work(item: &str, number: u64) -> Work {
        let (generation, traceparent) = (Generation::new(1, number), String::new());
        Work::Remove(Removal { item: item.to_owned(), generation, traceparent })
    }

    const FULL: (Reason, Cause) = (Reason::DiskFull, Cause::Host);

    #[test]
    fn waits_grow_for_the_same_work_and_begin_anew_for_other_work() {
        let now = Clock::System.monotonic();
        let mut retries = Retries::default();
        for _ in 0..20 {
            retries.failed(work("a", 1), FULL, now);
        }
        assert!(retries.holds(&work("a", 1)) && !retries.holds(&work("a", 2)));
        assert!(retries.due(now + FIRST, |_, _| true).is_none(), "twenty waits later it is longer");
        assert_eq!(retries.due(now + LONGEST, |_, _| true), Some(work("a", 1)));
        retries.failed(work("a", 2), FULL, now);
        assert_eq!(retries.due(now + FIRST, |_, _| true), Some(work("a", 2)));
        retries.hurry(now, |reason, _| reason == Reason::PathTaken);
        assert!(retries.due(now, |_, _| true).is_none());
        retries.hurry(now, |reason, _| reason == Reason::DiskFull);
        assert_eq!(retries.due(now, |_, _| true), Some(work("a", 2)));
        assert!(retries.due(now, |_, reason| reason != Reason::DiskFull).is_none(), "it is not ready");
        assert_eq!(retries.due(now, |work, _| work.item() != "a"), None, "it is being seen to");
        retries.forget(&work("a", 1));
        assert!(retries.holds(&work("a", 2)), "an older word changes nothing");
        retries.forget(&work("a", 3));
        assert!(retries.is_empty());
    }
}
