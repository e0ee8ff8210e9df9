//! Joins the doors and the use-cases: what the doors ask about callers, and
//! what the use-cases want of their connections.

use std::{sync::Arc, time::Duration};

use muster_common::{ids::NodeId, reason::Reason, tls::spiffe::Principal};
use muster_domain::{
    access::{Asked, Scope},
    revocation::Subject,
};

use crate::{
    api::peer::Peer,
    app::{App, access::Lines, denials::Refused},
    server::{connections::Registry, layers::Callers},
    session::ports::End,
};

pub(super) struct Door(App);

impl Door {
    pub(super) fn new(app: &App) -> Arc<Self> {
        Arc::new(Self(app.clone()))
    }
}

impl Callers for Door {
    fn scope(&self, principal: &Principal, serial: &str, asked: Asked) -> Result<Scope, Reason> {
        self.0.revocations.check(principal, serial)?;
        self.0.access.scope(&principal.to_string(), serial, asked)
    }

    fn node_allowed(&self, node: NodeId, serial: &str) -> Result<(), Reason> {
        self.0.node_may_speak(node, serial)
    }

    fn shown(&self, peer: &Peer, leaf_der: &[u8]) {
        if let Some(Principal::Node(node)) = &peer.principal {
            let certificate = (peer.serial.as_str(), peer.not_before);
            self.0.find_lost(*node, certificate, leaf_der, peer.remote.ip());
        }
    }

    fn move_on(&self, peer: &Peer) {
        let Some(Principal::Node(node)) = &peer.principal else { return };
        if let Some(session) = self.0.hub.get(*node).filter(|session| session.is_on(&peer.line)) {
            // Back before anybody calls it late.
            let spread = self.0.fixed.session.heartbeat_interval / 2;
            let addresses = self.0.replica_addresses();
            session.end(End::Reconnect {
                after: Duration::ZERO,
                spread,
                addresses,
                reason: "connection-age",
            });
        }
    }

    fn denied(&self, peer: &Peer, name: Option<&str>, method: &str, reason: Reason) {
        if let (Some(Principal::Node(node)), Reason::CertificateRevoked) = (&peer.principal, reason) {
            self.0.suspect_replaced(*node, &peer.serial, peer.not_before, peer.remote.ip());
        }
        let principal = peer.principal.as_ref().map(Principal::to_string);
        self.0.denied(Refused {
            principal: principal.or_else(|| name.map(str::to_owned)).unwrap_or_default(),
            remote_address: peer.remote.to_string(),
            subject: method.to_owned(),
            trace_id: String::new(),
            reason,
        });
    }
}

impl Lines for Registry {
    fn cut_others(&self, principal: &str, serial: Option<&str>) {
        let principal = match principal.split_once('/') {
            Some(("operator", name)) => Principal::Operator(name.to_owned()),
            Some(("service", name)) => Principal::Service(name.to_owned()),
            _ => return,
        };
        let cut = Self::cut_others(self, &principal, serial);
        if cut > 0 {
            tracing::info!(%principal, cut, "{cut} connections of {principal} were cut: it has another certificate");
        }
    }

    fn cut(&self, subject: &Subject) -> usize {
        match subject {
            Subject::Principal(principal) => Self::cut_others(self, principal, None),
            Subject::Serial(serial) => self.cut_serial(serial),
        }
    }

    fn leave(&self, node: NodeId) {
        Self::leave(self, &Principal::Node(node));
    }
}
