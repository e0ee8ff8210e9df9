//! What a door tells the services about a call.

use std::net::SocketAddr;

use muster_common::{clock::UnixMillis, tls::spiffe::Principal};

use crate::session::line::Line;

/// Who is at the other end; in the extensions of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// As the certificate says. `None`: there is none, on the enrollment port.
    pub principal: Option<Principal>,
    /// Of the certificate.
    pub serial: String,
    /// Begin of the certificate.
    pub not_before: UnixMillis,
    /// End of the certificate.
    pub not_after: UnixMillis,
    /// From where.
    pub remote: SocketAddr,
    /// How the keys of the connection were agreed on: `X25519MLKEM768`.
    pub key_exchange: &'static str,
    /// The connection.
    pub line: Line,
}

/// Ties together what one request causes; in the extensions of every request.
#[derive(Debug, Clone)]
pub struct TraceId(pub String);
