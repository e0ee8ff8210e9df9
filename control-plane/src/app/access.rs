//! Who may call: the principals with their roles, and nodes by their certificates.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use muster_common::{ids::NodeId, reason::Reason, tls::spiffe::Principal};
use muster_domain::{
    access::{Caller, Role},
    certificate::Shown,
    revocation::Subject,
};

use super::App;

/// Known callers, in memory.
#[derive(Debug, Default)]
pub struct Access(ArcSwap<HashMap<String, Caller>>);

impl Access {
    /// The role of a principal with this certificate.
    ///
    /// # Errors
    /// Why it has none: it is not known, or has another certificate.
    pub fn role(&self, principal: &str, serial: &str) -> Result<Role, Reason> {
        match self.0.load().get(principal) {
            Some(caller) if caller.serial == serial => Ok(caller.role),
            Some(_) => Err(Reason::CertificateRevoked),
            None => Err(Reason::PermissionDenied),
        }
    }

    /// Puts other callers in the place of these. Answers whose connections are
    /// to be cut: all, or those without the certificate that is named.
    pub fn replace(&self, callers: Vec<Caller>) -> Vec<(String, Option<String>)> {
        let now: HashMap<String, Caller> =
            callers.into_iter().map(|caller| (caller.principal.clone(), caller)).collect();
        let before = self.0.load_full();
        let mut changed = Vec::new();
        for old in before.values() {
            match now.get(&old.principal) {
                Some(new) if new.role == old.role && new.serial == old.serial => {}
                Some(new) if new.role == old.role => {
                    changed.push((old.principal.clone(), Some(new.serial.clone())));
                }
                _ => changed.push((old.principal.clone(), None)),
            }
        }
        self.0.store(std::sync::Arc::new(now));
        changed
    }
}

/// What happens to connections when callers change; the doors have them.
pub trait Lines: Send + Sync + 'static {
    /// Cuts a principal's connections: all, or those without this certificate.
    fn cut_others(&self, principal: &str, serial: Option<&str>);

    /// Cuts everything that a revocation names. Answers how many connections.
    fn cut(&self, subject: &Subject) -> usize;

    /// Asks a node's connections to end: what was said goes out first.
    fn leave(&self, node: NodeId);
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

#[cfg(test)]
mod tests {
    use muster_common::clock::UnixMillis;

    use super::*;

    fn caller(name: &str, role: Role, serial: &str) -> Caller {
        let (principal, serial) = (format!("operator/{name}"), serial.to_owned());
        Caller { principal, role, serial, issuer: 1, not_after: UnixMillis(0), created_at: UnixMillis(0) }
    }

    #[test]
    fn a_replaced_certificate_has_no_role_and_loses_its_connections() {
        let access = Access::default();
        let (a, b) = (caller("a", Role::Admin, "01"), caller("b", Role::Viewer, "02"));
        assert!(access.replace(vec![a, b, caller("c", Role::Viewer, "03")]).is_empty());
        assert_eq!(access.role("operator/a", "01"), Ok(Role::Admin));
        let mut cut = access.replace(vec![caller("a", Role::Admin, "04"), caller("b", Role::Admin, "02")]);
        cut.sort();
        let all = |name: &str| (format!("operator/{name}"), None);
        assert_eq!(cut, [("operator/a".to_owned(), Some("04".to_owned())), all("b"), all("c")]);
        assert_eq!(access.role("operator/a", "01"), Err(Reason::CertificateRevoked));
        assert_eq!(access.role("operator/a", "04"), Ok(Role::Admin));
        assert_eq!(access.role("operator/c", "03"), Err(Reason::PermissionDenied));
    }
}
