//! The doors: the ports of nodes, strangers, operators and browsers, driven by hand. tonic's own server has no cap on
//! handshakes, lets a peer without a first request live for ever, and cannot
//! cut one connection; ADR 0002 has the list.
//!
//! A connection passes, in order: the bound of everyone; its first words within
//! their time; the bound of its address; the end of the line; a turn at the handshake, which it does
//! not keep while its peer is silent; the bound of those that go on without one;
//! the bound of its identity; a first request within its time. Then every call passes [`layers`], which asks [`policy`].
//! Whoever is turned away for a bound is counted under its name in the
//! configuration.

pub mod accept;
mod addresses;
pub mod connection;
pub mod connections;
mod frames;
pub mod health;
pub mod layers;
pub mod limits;
pub mod peer;
pub mod policy;
pub mod rates;
pub mod reflection;
pub mod refusal;
pub(crate) mod source;
pub mod strangers;
mod traced;
mod turns;
mod unknown;
mod unreadable;
mod waiters;
pub mod watches;

use std::sync::Arc;

use muster_common::{clock::Clock, tls::spiffe::TrustDomain};
use tokio::sync::watch;
use tonic::service::Routes;

use crate::{metrics::Metrics, traces::Traces};

/// Which port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoorName {
    /// 8443: nodes.
    Agents,
    /// 8444: hosts without an identity.
    Enrollment,
    /// 8445: operators and services.
    Operators,
    /// 8446: browsers.
    FleetConsole,
}

impl DoorName {
    /// For logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Enrollment => "enrollment",
            Self::Operators => "operators",
            Self::FleetConsole => "fleet-console",
        }
    }
}

/// Pages as a door serves them.
#[must_use]
pub fn pages(router: axum::Router) -> Routes {
    let mut routes = Routes::default();
    *routes.axum_router_mut() = router;
    routes.prepare()
}

/// One port and what is behind it.
pub struct Door {
    /// Which.
    pub name: DoorName,
    /// Present TLS configuration; a new one counts from the next handshake on.
    pub tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    /// Bounds.
    pub limits: limits::Limits,
    /// Services.
    pub routes: Routes,
}

/// What all doors share. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    /// Who may call what.
    pub callers: Arc<dyn layers::Callers>,
    /// Calls per caller.
    pub rates: rates::Rates,
    /// Watches per caller.
    pub watches: watches::Watches,
    /// Open connections.
    pub connections: connections::Registry,
    /// Numbers.
    pub metrics: Metrics,
    /// Who collects what becomes of calls.
    pub traces: Traces,
    /// The time.
    pub clock: Clock,
    /// Whose certificates are ours.
    pub trust_domain: TrustDomain,
}
