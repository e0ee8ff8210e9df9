//! How hosts come.

mod host_ca;
mod oidc;

use muster_domain::requestable::Requestable;
use serde::Deserialize;

pub use host_ca::HostCa;
pub use oidc::{DeviceLogin, Oidc, Values};

/// The key of such a list.
const REQUESTABLE: &str = "requestable-labels";

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
    /// Whether a host may give its node another display name.
    pub hosts_may_rename: bool,
    /// Issuers of OpenID Connect whose tokens let hosts in.
    pub oidc: Vec<Oidc>,
    /// Authorities of others whose certificates let hosts in.
    pub host_ca: Vec<HostCa>,
}

impl Enrollment {
    pub(super) fn problems(&self) -> Vec<String> {
        [oidc::problems(&self.oidc), host_ca::problems(&self.host_ca)].concat()
    }
}

/// Labels that hosts may ask for, of a configuration without problems. What is none allows nothing.
#[must_use]
pub fn requestable(texts: &[String]) -> Requestable {
    Requestable::read(REQUESTABLE, texts).unwrap_or_default()
}

/// Why a list of labels that hosts may ask for cannot be used.
fn not_requestable(texts: &[String]) -> Option<String> {
    Requestable::read(REQUESTABLE, texts).err().map(|violation| violation.to_string())
}

/// Whether it can be shown in `enrolled_with`.
fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !name.is_empty() && name.len() <= 63 && name.bytes().all(word)
}

impl Default for Enrollment {
    fn default() -> Self {
        Self {
            enabled: true,
            recover: true,
            join_requests: 1000,
            join_requests_per_token: 200,
            hosts_may_rename: true,
            oidc: Vec::new(),
            host_ca: Vec::new(),
        }
    }
}
