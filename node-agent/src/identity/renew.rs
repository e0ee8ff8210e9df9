//! Keeps the identity fresh: renews at half life, spread over the fleet, and
//! sooner when asked. The old certificate works until the new one is first used.

use std::{sync::Arc, time::Duration};

use muster_common::{
    backoff::Backoff,
    clock::{self, Clock, Instant, UnixMillis},
    drain::Drain,
    error_chain::Chain,
    ids::InstanceId,
    reason::Reason,
    tasks,
};
use rand::RngExt as _;
use rcgen::KeyPair;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{Error, Identity, Store, recover, rpc};
use crate::dial::Dialer;

const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(15 * 60);
/// Between looks at the wall clock.
const LOOK: Duration = Duration::from_secs(60);

/// When a certificate is to be renewed: around half of its life, `part` (0 to 1)
/// of a tenth of it later.
#[must_use]
pub fn renew_at(not_before: UnixMillis, not_after: UnixMillis, part: f64) -> UnixMillis {
    let life = not_after.since(not_before);
    not_before + life.mul_f64(0.5 + 0.1 * part.clamp(0.0, 1.0))
}

/// Asks for a renewal. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Arc<watch::Sender<Option<Instant>>>);

impl Wanted {
    /// Then, if not sooner: of several wishes the soonest counts.
    pub fn by(&self, at: Instant) {
        self.0.send_if_modified(|known| {
            let sooner = known.is_none_or(|known| at < known);
            if sooner {
                *known = Some(at);
            }
            sooner
        });
    }
}

/// The task that keeps the identity of a running agent fresh.
#[derive(Debug)]
pub struct Keeper {
    /// This process.
    pub instance: InstanceId,
    /// Where the identity lies.
    pub store: Store,
    /// The identity of now; the keeper puts new ones in.
    pub current: Arc<watch::Sender<Identity>>,
    /// Asks for a renewal before its time.
    pub wanted: Wanted,
    /// What time it is.
    pub clock: Clock,
    /// The way out.
    pub dialer: Dialer,
}

/// Before this no new try, and none for the certificate's age alone.
#[derive(Debug, Clone, Copy)]
struct NotBefore {
    any: Instant,
    aged: Instant,
}

impl Keeper {
    /// Renews until the process ends.
    pub async fn run(self, drain: Drain) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut asked = self.wanted.0.subscribe();
        let now = self.clock.monotonic();
        let mut not_before = NotBefore { any: now, aged: now };
        // Drawn once for each certificate: drawn at every look, the smallest would win.
        let mut part = rand::rng().random();
        loop {
            let wait = self.wait(part, not_before);
            if !wait.is_zero() {
                tokio::select! {
                    biased;
                    () = drain.begun() => return,
                    _ = asked.changed() => {}
                    () = clock::step(LOOK), if wait > LOOK => {}
                    () = tokio::time::sleep(wait), if wait <= LOOK => {}
                }
                continue;
            }
            self.wanted.0.send_replace(None);
            let renewed = tokio::select! {
                biased;
                () = drain.begun() => return,
                renewed = self.freshen() => renewed,
            };
            let now = self.clock.monotonic();
            match renewed {
                Ok(()) => {
                    // What was asked for meanwhile was asked of the certificate that is gone.
                    self.wanted.0.send_replace(None);
                    backoff.reset();
                    part = rand::rng().random();
                    // On a host whose clock is far ahead every certificate looks old.
                    not_before = NotBefore { any: now, aged: now + self.life().mul_f64(0.1) };
                }
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "the certificate was not renewed; trying again");
                    if error.reason() == Some(Reason::NodeRemoved) {
                        return; // the session learns it, too, and ends the agent's work
                    }
                    let retry = now + backoff.next_wait();
                    self.wanted.by(retry);
                    not_before = NotBefore { any: retry, aged: retry };
                }
            }
        }
    }

    fn life(&self) -> Duration {
        let identity = self.current.borrow();
        identity.not_after.since(identity.not_before)
    }

    /// How long nothing is to be done. By wall time, which does not stand still while
    /// the host sleeps and may be set: it is to be asked again every `LOOK`.
    fn wait(&self, part: f64, not_before: NotBefore) -> Duration {
        let now = self.clock.monotonic();
        let aged = {
            let identity = self.current.borrow();
            renew_at(identity.not_before, identity.not_after, part).since(self.clock.now())
        };
        let aged = aged.max(not_before.aged.saturating_duration_since(now));
        let asked = self.wanted.0.borrow().map(|at| at.max(not_before.any).saturating_duration_since(now));
        asked.map_or(aged, |asked| asked.min(aged))
    }

    /// Renews; or comes back, where a certificate is shown that is of no use any more.
    async fn freshen(&self) -> Result<(), Error> {
        let held = self.current.borrow().clone();
        let error = match held.is_over(self.clock.now()) {
            // It may be our clock that is wrong: so renewing is tried, too.
            true => None,
            false => match self.renew().await {
                Err(error) if error.is_about_identity() => Some(error),
                done => return done,
            },
        };
        match (self.recover(&held).await, error) {
            (Ok(()), _) => Ok(()),
            (Err(refused), None) => self.renew().await.map_err(|_| refused),
            (Err(refused), Some(error)) => {
                let error = Chain(&error).to_string();
                tracing::warn!(
                    error,
                    "the control plane does not accept this host's certificate, or is another one"
                );
                Err(refused)
            }
        }
    }

    async fn recover(&self, held: &Identity) -> Result<(), Error> {
        let recovered = recover::recover(&self.store, held, self.instance, &self.dialer).await?;
        let generation = recovered.certificate_generation;
        let (store, current) = (self.store.clone(), Arc::clone(&self.current));
        let node = held.node;
        tasks::blocking(move || {
            store.update(
                node,
                |_| Ok(Some(recovered)),
                |recovered| {
                    current.send_replace(recovered);
                },
            )?;
            store.forget_recovery_key();
            Ok::<_, Error>(())
        })
        .await?;
        tracing::info!(generation, "the identity was recovered; its certificate is number {generation}");
        Ok(())
    }

    async fn renew(&self) -> Result<(), Error> {
        let held = self.current.borrow().clone();
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let answer = rpc::renew(&held, self.instance, &key, &self.dialer).await?;
        let (chain_pem, life) = rpc::chain(&answer.certificate_chain_der)?;
        let generation = answer.certificate_generation;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let renewed = move |latest: &Identity| {
            let renewed = Identity {
                certificate_generation: generation,
                not_before: life.0,
                not_after: life.1,
                chain_pem,
                key_pem,
                ..latest.clone() // the roots may have changed meanwhile
            };
            renewed.client_config().map(|_| Some(renewed))
        };
        let (store, current) = (self.store.clone(), Arc::clone(&self.current));
        let tell = move |renewed| {
            current.send_replace(renewed);
        };
        tasks::blocking(move || store.update(held.node, renewed, tell)).await?;
        tracing::info!(generation, "the certificate was renewed; it is number {generation}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use muster_common::tasks::{Kind, Tasks};

    use super::*;
    use crate::identity::tests::identity;

    fn keeper(folder: &std::path::Path, clock: &Clock) -> Keeper {
        let life =
            Identity { not_before: UnixMillis(0), not_after: UnixMillis(100 * 3_600_000), ..identity() };
        let current = Arc::new(watch::Sender::new(life));
        Keeper {
            instance: InstanceId::generate(),
            store: Store::new(folder),
            current,
            wanted: Wanted::default(),
            clock: clock.clone(),
            dialer: Dialer::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_slept_or_whose_clock_was_set_renews_within_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::test(UnixMillis(0));
        let keeper = keeper(folder.path(), &clock);
        let (wanted, drain, tasks) = (keeper.wanted.clone(), Drain::default(), Tasks::default());
        let begun = clock.monotonic();
        tasks.spawn("renewal", Kind::BestEffort, keeper.run(drain.clone()));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(*wanted.0.borrow(), None, "it is not time");
        clock.advance(Duration::from_secs(70 * 3600)); // 60 hours at the latest
        // This identity cannot be renewed: that it was tried shows by the wish to try again.
        let mut tried = wanted.0.subscribe();
        tried.wait_for(Option::is_some).await.unwrap();
        assert!(begun.elapsed() <= Duration::from_secs(3600 + 61), "{:?}", begun.elapsed());
        drain.begin();
        tasks.close();
        tasks.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_wishes_the_soonest_counts_and_no_wish_comes_before_a_retry() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::test(UnixMillis(0));
        let keeper = keeper(folder.path(), &clock);
        let now = clock.monotonic();
        let free = NotBefore { any: now, aged: now };
        let hour = Duration::from_secs(3600);
        assert_eq!(keeper.wait(0.0, free), 50 * hour);
        for hours in [3, 2, 4] {
            keeper.wanted.by(now + hours * hour);
        }
        assert_eq!(keeper.wait(0.0, free), 2 * hour);
        keeper.wanted.by(now);
        assert_eq!(keeper.wait(0.0, NotBefore { any: now + hour, aged: now }), hour);
    }
}
