//! Browsers that have shown neither a certificate nor that they came by a link. They are let in,
//! as the link is still to come, but not for long, and they keep nobody out: at most half
//! of the door is theirs, and beyond that the one that is there for longest makes room.

use std::{pin::Pin, time::Duration};

use muster_common::clock::Instant;

use super::{
    DoorName,
    connection::Context,
    limits::Limits,
    waiters::{Most, Waiters},
};
use crate::api::peer::Peer;

/// Their part of the age of a connection: a minute of half an hour.
const PART: u32 = 30;

/// One of them: over when it has to go, which is never once it is known who it is. On the heap:
/// connections of nodes are many, and have none.
pub(super) type Unknown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All of a door.
pub(super) fn all(limits: &Limits) -> Waiters {
    Waiters::new(Most {
        all: (limits.connections / 2).max(1),
        per_address: (limits.per_address / 2).max(1),
        names: ("connections", "per-address"),
    })
}

/// `None`: it is known who it is, or the door is for those whom nobody knows.
pub(super) fn enter(context: &Context, peer: &Peer, now: Instant) -> Option<Unknown> {
    if context.name != DoorName::FleetConsole || peer.principal.is_some() {
        return None;
    }
    let waiting = context.wait_in(&context.unknown, peer.remote);
    let until = now + (context.limits.age / PART).max(Duration::from_secs(1));
    let line = peer.line.clone();
    Some(Box::pin(async move {
        tokio::select! {
            () = waiting.cut() => {}
            () = tokio::time::sleep_until(until) => {}
        }
        if line.is_known() {
            std::future::pending::<()>().await;
        }
    }))
}

/// Waits until one has to go.
pub(super) async fn over(unknown: &mut Option<Unknown>) {
    match unknown {
        Some(unknown) => unknown.await,
        None => std::future::pending().await,
    }
}
