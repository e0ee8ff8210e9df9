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
        return Ok(Peer {
            principal: None,
            serial: String::new(),
            not_before: UnixMillis(0),
            not_after: UnixMillis(i64::MAX),
            remote,
            key_exchange,
            line: Line::default(),
        });
    };
    let leaf = spiffe::read_leaf(leaf).map_err(|_| Reason::Unauthenticated)?;
    if leaf.id.trust_domain != *ours {
        return Err(Reason::WrongTrustDomain);
    }
    if matches!(leaf.id.principal, Principal::ControlPlane(_)) {
        return Err(Reason::WrongKindOfCaller);
    }
    let at = |seconds: i64| UnixMillis(seconds.saturating_mul(1000));
    Ok(Peer {
        principal: Some(leaf.id.principal),
        serial: leaf.serial,
        not_before: at(leaf.not_before_s),
        not_after: at(leaf.not_after_s),
        remote,
        key_exchange,
        line: Line::default(),
    })
}
