//! The control plane's own certificate: issued at the start, again at half of
//! its life; handshakes take whatever is newest.

use std::{sync::Arc, time::Duration};

use muster_common::{
    clock::Clock,
    drain::Drain,
    error_chain::Chain,
    tasks::{Kind, Tasks},
    tls,
};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::{ca::Ca, config::Config};

type Newest = watch::Receiver<Arc<ServerConfig>>;

/// After a failure.
const AGAIN: Duration = Duration::from_secs(60);

/// The present TLS configurations.
pub(super) struct Source {
    mutual: watch::Sender<Arc<ServerConfig>>,
    server_only: watch::Sender<Arc<ServerConfig>>,
    clock: Clock,
}

struct Pair {
    mutual: Arc<ServerConfig>,
    server_only: Arc<ServerConfig>,
}

impl Source {
    pub(super) fn start(config: &Config, ca: &Ca, clock: &Clock) -> anyhow::Result<Self> {
        let pair = issue(config, ca, clock)?;
        Ok(Self {
            mutual: watch::Sender::new(pair.mutual),
            server_only: watch::Sender::new(pair.server_only),
            clock: clock.clone(),
        })
    }

    /// For ports where every peer has a certificate.
    pub(super) fn mutual(&self) -> Newest {
        self.mutual.subscribe()
    }

    /// For the enrollment port.
    pub(super) fn server_only(&self) -> Newest {
        self.server_only.subscribe()
    }

    pub(super) fn renew_in_background(&self, config: Config, ca: Arc<Ca>, tasks: &Tasks, drain: &Drain) {
        let (mutual, server_only) = (self.mutual.clone(), self.server_only.clone());
        let (clock, drain) = (self.clock.clone(), drain.clone());
        tasks.spawn("server-certificate", Kind::Fatal, async move {
            let mut wait = config.identity.server_certificate_ttl / 2;
            loop {
                tokio::select! {
                    () = drain.deadline() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                wait = match issue(&config, &ca, &clock) {
                    Ok(pair) => {
                        mutual.send_replace(pair.mutual);
                        server_only.send_replace(pair.server_only);
                        tracing::info!("the server's certificate was renewed");
                        config.identity.server_certificate_ttl / 2
                    }
                    Err(error) => {
                        tracing::error!(error = %Chain(&*error), "the server's certificate could not be renewed");
                        AGAIN
                    }
                };
            }
        });
    }
}

fn issue(config: &Config, ca: &Ca, clock: &Clock) -> anyhow::Result<Pair> {
    let (public, ttl) = (&config.public, config.identity.server_certificate_ttl);
    let identity =
        ca.issue_server(&config.replica, &public.server_names, &public.server_ips, ttl, clock.now())?;
    let roots = tls::roots(&ca.trust_bundle().1)?;
    Ok(Pair {
        mutual: Arc::new(tls::server_config(identity.clone(), roots)?),
        server_only: Arc::new(tls::server_config_without_client_certificates(identity)?),
    })
}
