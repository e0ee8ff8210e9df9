//! Keeps the identity fresh: renews at half life, spread over the fleet, and
//! sooner when asked. The old certificate works until the new one is first used.

use std::{sync::Arc, time::Duration};

use muster_common::{
    backoff::Backoff,
    clock::{Clock, UnixMillis},
    drain::Drain,
    error_chain::Chain,
    reason::Reason,
};
use rand::RngExt as _;
use rcgen::KeyPair;
use tokio::sync::{Notify, watch};

use super::{Error, Identity, Store, rpc};

const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(15 * 60);

/// When a certificate is to be renewed: around half of its life, `part` (0 to 1)
/// of a tenth of it later.
#[must_use]
pub fn renew_at(not_before: UnixMillis, not_after: UnixMillis, part: f64) -> UnixMillis {
    let life = not_after.since(not_before);
    not_before + life.mul_f64(0.5 + 0.1 * part.clamp(0.0, 1.0))
}

/// The task that keeps the identity of a running agent fresh.
#[derive(Debug)]
pub struct Keeper {
    /// Where the identity lies.
    pub store: Store,
    /// The identity of now; the keeper puts new ones in.
    pub current: Arc<watch::Sender<Identity>>,
    /// Asks for a renewal now.
    pub wanted: Arc<Notify>,
    /// What time it is.
    pub clock: Clock,
}

impl Keeper {
    /// Renews until the process ends.
    pub async fn run(self, drain: Drain) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut retry = None;
        loop {
            let wait = retry.take().unwrap_or_else(|| self.due_in());
            tokio::select! {
                biased;
                () = drain.begun() => return,
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            match self.renew().await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "the certificate was not renewed; trying again");
                    if error.reason() == Some(Reason::NodeRemoved) {
                        return; // the session learns it, too, and ends the agent's work
                    }
                    retry = Some(backoff.next_wait());
                }
            }
        }
    }

    fn due_in(&self) -> Duration {
        let identity = self.current.borrow();
        let at = renew_at(identity.not_before, identity.not_after, rand::rng().random());
        at.since(self.clock.now())
    }

    async fn renew(&self) -> Result<(), Error> {
        let held = self.current.borrow().clone();
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let answer = rpc::renew(&held, &key).await?;
        let (chain_pem, life) = rpc::chain(&answer.certificate_chain_der)?;
        let latest = self.current.borrow().clone(); // the roots may have changed meanwhile
        let renewed = Identity {
            certificate_generation: answer.certificate_generation,
            not_before: life.0,
            not_after: life.1,
            chain_pem,
            key_pem: key.serialize_pem(),
            ..latest
        };
        renewed.client_config()?;
        self.store.save(&renewed)?;
        let generation = renewed.certificate_generation;
        tracing::info!(generation, "the certificate was renewed; it is number {generation}");
        self.current.send_replace(renewed);
        Ok(())
    }
}
