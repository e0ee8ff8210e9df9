//! Who may call: the principals with their roles, and nodes by their certificates.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use muster_common::{ids::NodeId, reason::Reason, tls::spiffe::Principal};
use muster_domain::{
    access::{Caller, Role},
    certificate::Shown,
};

use super::App;

/// Known callers, in memory.
#[derive(Default)]
pub struct Access(ArcSwap<HashMap<String, Caller>>);

impl Access {
    /// The role of a principal, if it is known.
    #[must_use]
    pub fn role(&self, principal: &str) -> Option<Role> {
        self.0.load().get(principal).map(|caller| caller.role)
    }

    /// Puts other callers in the place of these.
    pub fn replace(&self, callers: Vec<Caller>) {
        let callers = callers.into_iter().map(|caller| (caller.principal.clone(), caller)).collect();
        self.0.store(std::sync::Arc::new(callers));
    }
}

impl App {
    /// Whether a node may speak with this certificate.
    ///
    /// # Errors
    /// The reason why not.
    pub fn node_may_speak(&self, node: NodeId, serial: &str) -> Result<(), Reason> {
        self.revocations.check(&Principal::Node(node), serial)?;
        let judged = self.fleet.with(node, |entry| entry.node.certificate.judge(serial));
        match judged {
            Some(Shown::Current | Shown::Next) => Ok(()),
            Some(Shown::Superseded) => Err(Reason::CertificateRevoked),
            None if self.fleet.was_removed(node) => Err(Reason::NodeRemoved),
            // Perhaps another history knows it: it must not forget itself for that.
            None => Err(Reason::CertificateRevoked),
        }
    }
}
