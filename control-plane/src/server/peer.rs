//! Who is at the other end of a connection; read once, after the handshake.

use std::net::SocketAddr;

use muster_common::{
    clock::UnixMillis,
    reason::Reason,
    tls::spiffe::{self, Principal, TrustDomain},
};
use rustls::ServerConnection;

pub use crate::api::peer::Peer;
use crate::session::line::Line;

/// Names the peer of a finished handshake.
///
/// # Errors
/// If its certificate names nobody of ours.
pub fn name(connection: &ServerConnection, remote: SocketAddr, ours: &TrustDomain) -> Result<Peer, Reason> {
    let key_exchange = connection
        .negotiated_key_exchange_group()
        .and_then(|group| group.name().as_str())
        .unwrap_or("unknown");
    let Some(leaf) = connection.peer_certificates().and_then(<[_]>::first) else {
        let (serial, not_after) = (String::new(), UnixMillis(i64::MAX));
        return Ok(Peer { principal: None, serial, not_after, remote, key_exchange, line: Line::default() });
    };
    let leaf = spiffe::read_leaf(leaf).map_err(|_| Reason::Unauthenticated)?;
    if leaf.id.trust_domain != *ours {
        return Err(Reason::WrongTrustDomain);
    }
    if matches!(leaf.id.principal, Principal::ControlPlane(_)) {
        return Err(Reason::WrongKindOfCaller);
    }
    let not_after = UnixMillis(leaf.not_after_s.saturating_mul(1000));
    let (principal, serial) = (Some(leaf.id.principal), leaf.serial);
    Ok(Peer { principal, serial, not_after, remote, key_exchange, line: Line::default() })
}
