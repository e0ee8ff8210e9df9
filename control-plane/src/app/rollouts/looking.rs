//! Rollouts that are watched: each is looked at once for all who watch it, when something has
//! moved, and rarely otherwise.

use std::{collections::HashMap, sync::Arc, time::Duration};

use muster_common::{clock::Instant, ids::RolloutId, tasks::Kind};
use muster_domain::access::Scope;
use muster_store::ReadRollouts as _;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Seen;
use crate::app::{App, Error, watch::not_any_more};

/// Between two looks, at least: nodes answer without any write of the rollout.
const LOOK: Duration = Duration::from_millis(500);
/// A look at a large fleet takes no more than one part in so many of the time.
const PART: u32 = 10;
/// What moves by time alone, as a soak that is over, is seen within this.
const RARELY: Duration = Duration::from_secs(5);
/// Whether a rollout concerns a scope is asked again so often: it is a look at the fleet.
const CONCERNS: Duration = Duration::from_secs(10);

/// Those that somebody watches.
#[derive(Default)]
pub(super) struct Watched(Mutex<HashMap<RolloutId, Looks>>);

/// What is seen of one. `None`: nothing yet, or it cannot be looked at.
type Looks = Arc<watch::Sender<Option<Arc<Seen>>>>;

/// Somebody's watch over one.
pub struct RolloutWatch {
    app: App,
    id: RolloutId,
    looks: watch::Receiver<Option<Arc<Seen>>>,
    /// Whom it concerns, and until when that need not be asked again.
    concerns: (Scope, Instant),
    /// What was told last.
    told: Option<Arc<Seen>>,
}

impl Watched {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl App {
    /// Watches a rollout.
    ///
    /// # Errors
    /// As [`Self::rollout`].
    pub async fn watch_rollout(&self, scope: &Scope, id: RolloutId) -> Result<RolloutWatch, Error> {
        self.shown_rollout(scope, id).await?;
        let concerns = (scope.clone(), self.clock.monotonic() + CONCERNS);
        Ok(RolloutWatch { app: self.clone(), id, looks: self.looks(id), concerns, told: None })
    }

    fn looks(&self, id: RolloutId) -> watch::Receiver<Option<Arc<Seen>>> {
        let mut watched = self.rollouts.watched.0.lock();
        if let Some(looks) = watched.get(&id) {
            return looks.subscribe();
        }
        let (looks, receiver) = watch::channel(None);
        let looks = Arc::new(looks);
        watched.insert(id, Arc::clone(&looks));
        let app = self.clone();
        self.tasks.spawn("watch-rollout", Kind::BestEffort, async move {
            app.look_on(id, &looks).await;
        });
        receiver
    }

    /// Looks until nobody watches, or there is nothing more to see.
    async fn look_on(&self, id: RolloutId, looks: &Looks) {
        let mut applied = self.feed.applied();
        loop {
            applied.mark_unchanged();
            let began = self.clock.monotonic();
            let found = self.store.read(move |tx| tx.rollout_get(id).map_err(Error::from)).await;
            let seen = match found {
                Ok(Some(rollout)) => Some(Arc::new(self.seen(rollout).await)),
                // Whoever watches asks again, and is told why.
                Ok(None) | Err(_) => None,
            };
            let is_last = seen.as_ref().is_none_or(|seen| seen.rollout.phase.is_over());
            looks.send_replace(seen);
            let rest = LOOK.max((self.clock.monotonic() - began) * PART);
            if is_last || !self.rest(looks, &mut applied, rest).await {
                let mut watched = self.rollouts.watched.0.lock();
                // Somebody may have come meanwhile.
                if is_last || self.drain.is_begun() || looks.receiver_count() == 0 {
                    watched.remove(&id);
                    return;
                }
            }
        }
    }

    /// Waits until it is worth looking again. `false`: nobody watches, or the process ends.
    async fn rest(&self, looks: &Looks, applied: &mut watch::Receiver<u64>, rest: Duration) -> bool {
        let moved = async {
            tokio::time::sleep(rest).await;
            // Whether it moved or not.
            let _ = tokio::time::timeout(RARELY, applied.changed()).await;
        };
        tokio::select! {
            () = self.drain.begun() => false,
            () = looks.closed() => false,
            () = moved => true,
        }
    }
}

impl RolloutWatch {
    /// How it stood when it was looked at last, for a caller with this scope at this moment.
    /// `None`: nobody has looked since it was told.
    ///
    /// # Errors
    /// As [`App::rollout`].
    pub async fn look(&mut self, scope: &Scope) -> Result<Option<Arc<Seen>>, Error> {
        let now = self.app.clock.monotonic();
        if self.concerns.0 != *scope || self.concerns.1 <= now {
            self.app.shown_rollout(scope, self.id).await?;
            self.concerns = (scope.clone(), now + CONCERNS);
        }
        let seen = self.looks.wait_for(Option::is_some).await.ok().and_then(|seen| seen.clone());
        let seen = match seen {
            Some(seen) if self.told.as_ref().is_some_and(|told| Arc::ptr_eq(told, &seen)) => return Ok(None),
            Some(seen) => seen,
            None => Arc::new(self.app.rollout(scope, self.id).await?),
        };
        self.told = Some(Arc::clone(&seen));
        Ok(Some(seen))
    }

    /// The same for a call that goes on, whose scope was this when it began.
    ///
    /// # Errors
    /// As [`App::rollout`], or if no binding of its caller allows it any more.
    pub async fn follow(&mut self, before: &Scope) -> Result<Option<Arc<Seen>>, Error> {
        let scope = self.app.access.scope_now(before, false).ok_or_else(not_any_more)?;
        self.look(&scope).await
    }
}
