//! What lets a host enroll.

use ipnet::IpNet;
use muster_common::{clock::UnixMillis, ids::JoinTokenId};

use crate::labels::Labels;

/// A join token; its secret is known by its hash alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Public name.
    pub id: JoinTokenId,
    /// For people.
    pub description: String,
    /// SHA-256 of the secret.
    pub secret_sha256: Vec<u8>,
    /// Given to every node that enrolls with it.
    pub labels: Labels,
    /// How many nodes may.
    pub max_uses: u32,
    /// How many did.
    pub uses: u32,
    /// When it was made.
    pub created_at: UnixMillis,
    /// End of its life.
    pub expires_at: UnixMillis,
    /// Ended by hand.
    pub revoked_at: Option<UnixMillis>,
    /// From where; empty: from anywhere.
    pub allowed: Vec<IpNet>,
}
