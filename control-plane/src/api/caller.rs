//! Who called, as the door saw it.

use muster_common::{ids::NodeId, reason::Reason, tls::spiffe::Principal, trace::Context};
use muster_domain::access::{Permission, Scope};
use tonic::{Request, Status};

use super::{
    peer::{Peer, TraceId},
    status::status,
};
use crate::{app::Actor, session::frames::Caller};

/// The peer of a call. Every door puts one into the request.
pub(super) fn peer<T>(request: &Request<T>) -> Result<&Peer, Status> {
    request
        .extensions()
        .get::<Peer>()
        .ok_or_else(|| status(Reason::Internal, "the call came through no door"))
}

/// Of the call.
pub(super) fn trace_id<T>(request: &Request<T>) -> String {
    request.extensions().get::<TraceId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// The nodes that an operator's call may touch. The door puts it there.
pub(super) fn scope<T>(request: &Request<T>) -> Result<Scope, Status> {
    let scope = request.extensions().get::<Scope>();
    scope.cloned().ok_or_else(|| status(Reason::Internal, "the call came through no operators' door"))
}

/// Who acts, for the stamp of a write.
pub(super) fn actor<T>(request: &Request<T>) -> Result<Actor, Status> {
    let peer = peer(request)?;
    let principal = peer.principal.as_ref();
    let principal =
        principal.ok_or_else(|| status(Reason::Unauthenticated, "the caller has no certificate"))?;
    let scope = match principal {
        // About itself: handlers of nodes take the node from the certificate.
        Principal::Node(_) => Scope::whole(principal.to_string(), Permission::Known),
        _ => scope(request)?,
    };
    Ok(Actor {
        principal: principal.to_string(),
        scope,
        remote_address: peer.remote.to_string(),
        trace_id: trace_id(request),
        traced: request.extensions().get::<Context>().copied(),
    })
}

/// The node that calls.
pub(super) fn node<T>(request: &Request<T>) -> Result<(NodeId, Caller), Status> {
    let peer = peer(request)?;
    match &peer.principal {
        Some(Principal::Node(node)) => {
            let (serial, line) = (peer.serial.clone(), peer.line.clone());
            let (remote, key_exchange) = (peer.remote, peer.key_exchange);
            let caller = Caller { node: *node, serial, remote, key_exchange, line, is_unsure: false };
            Ok((*node, caller))
        }
        _ => Err(status(Reason::WrongKindOfCaller, "only a node's certificate may call this")),
    }
}
