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
    agents: watch::Sender<Arc<ServerConfig>>,
    enrollment: watch::Sender<Arc<ServerConfig>>,
    operators: watch::Sender<Arc<ServerConfig>>,
    fleet_console: watch::Sender<Arc<ServerConfig>>,
    clock: Clock,
}

struct Doors {
    agents: Arc<ServerConfig>,
    enrollment: Arc<ServerConfig>,
    operators: Arc<ServerConfig>,
    fleet_console: Arc<ServerConfig>,
}

impl Source {
    pub(super) fn start(config: &Config, ca: &Ca, clock: &Clock) -> anyhow::Result<Self> {
        let doors = issue(config, ca, clock)?;
        Ok(Self {
            agents: watch::Sender::new(doors.agents),
            enrollment: watch::Sender::new(doors.enrollment),
            operators: watch::Sender::new(doors.operators),
            fleet_console: watch::Sender::new(doors.fleet_console),
            clock: clock.clone(),
        })
    }

    /// For nodes.
    pub(super) fn agents(&self) -> Newest {
        self.agents.subscribe()
    }

    /// For hosts without an identity.
    pub(super) fn enrollment(&self) -> Newest {
        self.enrollment.subscribe()
    }

    /// For operators and services.
    pub(super) fn operators(&self) -> Newest {
        self.operators.subscribe()
    }

    /// For browsers.
    pub(super) fn fleet_console(&self) -> Newest {
        self.fleet_console.subscribe()
    }

    fn replace(&self, doors: Doors) {
        self.agents.send_replace(doors.agents);
        self.enrollment.send_replace(doors.enrollment);
        self.operators.send_replace(doors.operators);
        self.fleet_console.send_replace(doors.fleet_console);
    }

    /// Issues anew at half of the certificate's life, and when the authority changes.
    pub(super) fn renew_in_background(self, config: Config, ca: Arc<Ca>, tasks: &Tasks, drain: &Drain) {
        let drain = drain.clone();
        tasks.spawn("server-certificate", Kind::Fatal, async move {
            let mut changed = ca.changed();
            let mut wait = config.identity.server_certificate_ttl / 2;
            loop {
                tokio::select! {
                    () = drain.deadline() => return,
                    () = tokio::time::sleep(wait) => {}
                    Ok(()) = changed.changed() => {}
                }
                wait = match issue(&config, &ca, &self.clock) {
                    Ok(doors) => {
                        self.replace(doors);
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

fn issue(config: &Config, ca: &Ca, clock: &Clock) -> anyhow::Result<Doors> {
    let (public, ttl) = (&config.public, config.identity.server_certificate_ttl);
    let identity =
        ca.issue_server(&config.replica, &public.server_names, &public.server_ips, ttl, clock.now())?;
    // Callers are accepted under the issuing certificates themselves, not under the
    // roots: what a retired one has issued is worth nothing from then on.
    let anchors = tls::roots(&ca.trust_bundle().issuers)?;
    Ok(Doors {
        agents: Arc::new(tls::server_config(identity.short, anchors.clone())?),
        enrollment: Arc::new(tls::server_config_without_client_certificates(identity.long.clone())?),
        operators: Arc::new(tls::server_config(identity.long.clone(), anchors.clone())?),
        fleet_console: Arc::new(tls::server_config_with_or_without_client_certificates(
            identity.long,
            anchors,
        )?),
    })
}
