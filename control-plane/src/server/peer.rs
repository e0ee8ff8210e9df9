//! Who is at the other end of a connection; read once, after the handshake.

use std::net::SocketAddr;

use muster_common::{
    clock::UnixMillis,
    reason::Reason,
    tls::spiffe::{self, Principal, TrustDomain},
};
use rustls::ServerConnection;

pub use crate::api::peer::Peer;

/// Names the peer of a finished handshake.
///
/// # Errors
/// If its certificate names nobody of ours.
pub fn name(connection: &ServerConnection, remote: SocketAddr, ours: &TrustDomain) -> Result<Peer, Reason> {
    let Some(leaf) = connection.peer_certificates().and_then(<[_]>::first) else {
        return Ok(Peer { principal: None, serial: String::new(), not_after: UnixMillis(i64::MAX), remote });
    };
    let leaf = spiffe::read_leaf(leaf).map_err(|_| Reason::Unauthenticated)?;
    if leaf.id.trust_domain != *ours {
        return Err(Reason::WrongTrustDomain);
    }
    if matches!(leaf.id.principal, Principal::ControlPlane(_)) {
        return Err(Reason::WrongKindOfCaller);
    }
    let not_after = UnixMillis(leaf.not_after_s.saturating_mul(1000));
    Ok(Peer { principal: Some(leaf.id.principal), serial: leaf.serial, not_after, remote })
}
