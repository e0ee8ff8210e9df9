//! A session's stream that counts itself as lost when it breaks and nobody had
//! said that it would end, and tells a probe what passes.

use std::sync::{Arc, atomic::Ordering};

use muster_node_agent::session::{
    frames::{Body, Inbound, Outbound},
    transport::{Error, Link},
};

use super::{Counters, Probe};

/// A stream that is watched.
#[derive(Debug)]
pub(super) struct Watched<L> {
    pub(super) link: L,
    /// It was welcomed: what ends before that was no session.
    pub(super) welcomed: bool,
    pub(super) told: bool,
    pub(super) counters: Arc<Counters>,
    pub(super) probe: Arc<Probe>,
}

impl<L> Watched<L> {
    fn lost(&mut self) {
        if self.welcomed && !self.told {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.told = true;
    }
}

impl<L: Link> Link for Watched<L> {
    async fn send(&mut self, message: Outbound) -> Result<(), Error> {
        self.told |= matches!(message, Outbound::Goodbye(_));
        if let Outbound::Items(report) = &message {
            self.probe.reported(report);
        }
        let sent = self.link.send(message).await;
        match sent {
            Err(Error::LastWord(_)) => self.told = true,
            Err(_) => self.lost(),
            Ok(()) => {}
        }
        sent
    }

    async fn next(&mut self) -> Result<Inbound, Error> {
        let next = self.link.next().await;
        match &next {
            Ok(inbound) => match &inbound.body {
                Body::Welcome(_) => self.welcomed = true,
                Body::Reconnect(_) => self.told = true,
                Body::Desired(desired) => self.probe.offered(&desired.offers),
                Body::Ack(ack) => self.probe.stored(ack.items_seq),
                _ => {}
            },
            Err(_) => self.lost(),
        }
        next
    }

    async fn finish(self) {
        self.link.finish().await;
    }
}
