//! `[listen]` and `[public]`.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

/// Ports. Port 0: one that the system chooses; `addresses.json` tells which.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Listen {
    /// For nodes, mTLS.
    pub agents: SocketAddr,
    /// For hosts without an identity, TLS.
    pub enrollment: SocketAddr,
    /// For operators and services, mTLS.
    pub operators: SocketAddr,
    /// For probes and scrapers, plain HTTP.
    pub console: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let everywhere = |port| SocketAddr::from(([0, 0, 0, 0], port));
        Self {
            agents: everywhere(8443),
            enrollment: everywhere(8444),
            operators: everywhere(8445),
            console: SocketAddr::from(([127, 0, 0, 1], 9464)),
        }
    }
}

/// How others reach the ports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Public {
    /// `host:port` told to agents; empty: the first server name with the port of `listen.agents`.
    pub session_addresses: Vec<String>,
    /// `host:port` in join strings; empty: as above with the port of `listen.enrollment`.
    pub enrollment_addresses: Vec<String>,
    /// DNS names in the server's certificate.
    pub server_names: Vec<String>,
    /// Addresses in the server's certificate.
    pub server_ips: Vec<IpAddr>,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            session_addresses: Vec::new(),
            enrollment_addresses: Vec::new(),
            server_names: vec!["localhost".to_owned()],
            server_ips: vec![IpAddr::from([127, 0, 0, 1])],
        }
    }
}
