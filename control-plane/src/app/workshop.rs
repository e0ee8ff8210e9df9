//! Where what costs CPU is done for strangers: checking and making signatures, on
//! threads of their own and on half of the cores at most. Sessions keep the rest,
//! however many hosts come at once.

use std::sync::Arc;

use muster_common::tasks;
use tokio::sync::Semaphore;

/// So many places to work at. Who comes when they are taken waits; how many may
/// come is bounded at the door.
pub struct Workshop(Arc<Semaphore>);

impl Default for Workshop {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self::new(cores / 2)
    }
}

impl Workshop {
    /// With so many places, one at least.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places.max(1))))
    }

    /// Does something at one of them. The place stays taken until it is done, even if
    /// nobody waits for it any more.
    pub async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let place = Arc::clone(&self.0).acquire_owned().await;
        tasks::blocking(move || {
            let _place = place;
            work()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_is_done_at_once_than_there_are_places() {
        let (workshop, now, most) =
            (Workshop::new(2), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            workshop.work(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(5));
                now.fetch_sub(1, Ordering::SeqCst);
            })
        };
        futures_util::future::join_all((0..20).map(|_| work())).await;
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}
