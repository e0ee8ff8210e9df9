//! The authorities of the web that this host trusts: read from its files now and then, not for
//! each file of a mirror.

use std::{sync::Arc, time::Duration};

use muster_common::{
    clock::{Clock, Instant},
    tasks::blocking,
    tls,
};
use parking_lot::Mutex;
use rustls::ClientConfig;

use super::fault::Fault;

/// One that the host does not trust any more counts no longer than this.
const KEPT: Duration = Duration::from_secs(600);

/// They. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    clock: Clock,
    read: Arc<Mutex<Option<Read>>>,
}

/// TLS by them, and since when.
type Read = (Instant, Arc<ClientConfig>);

impl Roots {
    /// None read yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, read: Arc::default() }
    }

    /// TLS by them.
    pub(super) async fn trusting_the_system(&self) -> Result<Arc<ClientConfig>, Fault> {
        let now = self.clock.monotonic();
        let fresh = self.read.lock().clone().filter(|(since, _)| now - *since < KEPT);
        if let Some((_, tls)) = fresh {
            return Ok(tls);
        }
        let tls = blocking(read).await?;
        *self.read.lock() = Some((now, Arc::clone(&tls)));
        Ok(tls)
    }

    /// Reads them again the next time.
    pub(super) fn forget(&self) {
        *self.read.lock() = None;
    }
}

fn read() -> Result<Arc<ClientConfig>, Fault> {
    let roots = tls::roots_of_the_system();
    if roots.is_empty() {
        let message = "this host trusts no authority of the web (ca-certificates), which https takes";
        return Err(Fault::Network(message.to_owned()));
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn they_are_read_again_after_a_while_and_when_they_were_of_no_use() {
        let roots = Roots::new(Clock::System);
        // Where this machine trusts nobody, there is nothing to keep.
        let Ok(first) = roots.trusting_the_system().await else { return };
        let again = async || roots.trusting_the_system().await.unwrap();
        assert!(Arc::ptr_eq(&first, &again().await));
        roots.forget();
        let second = again().await;
        assert!(!Arc::ptr_eq(&first, &second));
        tokio::time::advance(KEPT).await;
        assert!(!Arc::ptr_eq(&second, &again().await));
    }
}
