//! How hosts come.

use serde::Deserialize;

use super::Oidc;

/// How hosts come.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Enrollment {
    /// Whether new nodes may come; the port stays open either way.
    pub enabled: bool,
    /// Whether nodes may come back after their certificate has run out.
    pub recover: bool,
    /// Hosts that may wait for approval at once.
    pub join_requests: u64,
    /// Of them with one token.
    pub join_requests_per_token: u64,
    /// Issuers of OpenID Connect whose tokens let hosts in.
    pub oidc: Vec<Oidc>,
}

impl Default for Enrollment {
    fn default() -> Self {
        Self {
            enabled: true,
            recover: true,
            join_requests: 1000,
            join_requests_per_token: 200,
            oidc: Vec::new(),
        }
    }
}
