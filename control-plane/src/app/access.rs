//! Who may call: the principals with their bindings, and nodes by their certificates.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use muster_common::{ids::NodeId, reason::Reason, tls::spiffe::Principal};
use muster_domain::{
    access::{Asked, Binding, Caller, Rights, Scope},
    certificate::Shown,
    revocation::Subject,
};

use super::App;

/// Known callers and what they are bound to, in memory.
#[derive(Debug, Default)]
pub struct Access(ArcSwap<HashMap<String, Known>>);

/// One caller.
#[derive(Debug, Clone)]
struct Known {
    serial: String,
    rights: Rights,
}

impl Access {
    /// The nodes on which a principal with this certificate has what is asked.
    ///
    /// # Errors
    /// Why it has it nowhere: it is not known, has another certificate, or no
    /// binding allows it.
    pub fn scope(&self, principal: &str, serial: &str, asked: Asked) -> Result<Scope, Reason> {
        match self.0.load().get(principal) {
            Some(known) if known.serial == serial => scope(known, principal, asked),
            Some(_) => Err(Reason::CertificateRevoked),
            None => Err(Reason::PermissionDenied),
        }
    }

    /// What has become of the scope of a call that goes on: bindings change. `None`: nothing is left.
    #[must_use]
    pub fn scope_now(&self, before: &Scope, fleet: bool) -> Option<Scope> {
        let asked = Asked { permission: before.permission, fleet };
        scope(self.0.load().get(&before.principal)?, &before.principal, asked).ok()
    }

    /// The certificate that a principal has. `None`: it has none.
    #[must_use]
    pub fn serial(&self, principal: &str) -> Option<String> {
        self.0.load().get(principal).map(|known| known.serial.clone())
    }

    /// What a principal is bound to. `None`: it has no certificate.
    #[must_use]
    pub fn rights(&self, principal: &str) -> Option<Rights> {
        self.0.load().get(principal).map(|known| known.rights.clone())
    }

    /// Puts others in the place of these. Answers whose connections are to be
    /// cut: all, or those without the certificate that is named. Whoever has
    /// other bindings keeps them: each call is judged anew, and watches follow.
    pub fn replace(&self, callers: Vec<Caller>, bindings: &[Binding]) -> Vec<(String, Option<String>)> {
        let know = |caller: Caller| {
            let rights = Rights::of(&caller.principal, bindings);
            (caller.principal, Known { serial: caller.serial, rights })
        };
        let now: HashMap<String, Known> = callers.into_iter().map(know).collect();
        let before = self.0.load_full();
        let mut changed = Vec::new();
        for (principal, old) in before.iter() {
            match now.get(principal) {
                Some(new) if new.serial == old.serial => {}
                Some(new) => changed.push((principal.clone(), Some(new.serial.clone()))),
                None => changed.push((principal.clone(), None)),
            }
        }
        self.0.store(Arc::new(now));
        changed
    }
}

fn scope(known: &Known, principal: &str, asked: Asked) -> Result<Scope, Reason> {
    let reach = known.rights.reach(asked).ok_or(Reason::PermissionDenied)?;
    Ok(Scope { principal: principal.to_owned(), permission: asked.permission, reach })
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
    use muster_domain::access::{Permission, Role};

    use super::*;

    fn caller(name: &str, serial: &str) -> Caller {
        let (principal, serial) = (format!("operator/{name}"), serial.to_owned());
        Caller { principal, serial, issuer: 1, not_after: UnixMillis(0), created_at: UnixMillis(0) }
    }

    fn binding(principal: &str, role: Role, selector: &str) -> Binding {
        Binding {
            name: format!("{principal}-{}", role.as_str()),
            principal: principal.parse().unwrap(),
            role,
            selector: selector.to_owned(),
            created_at: UnixMillis(0),
            created_by: String::new(),
        }
    }

    const COMMAND: Asked = Asked { permission: Permission::Command, fleet: false };

    #[test]
    fn a_replaced_certificate_has_no_scope_and_loses_its_connections() {
        let access = Access::default();
        let all = [binding("operator/*", Role::Admin, "*")];
        let three = ["a", "b", "c"].map(|name| caller(name, name));
        assert!(access.replace(three.to_vec(), &all).is_empty());
        assert!(access.scope("operator/a", "a", COMMAND).is_ok_and(|scope| scope.is_whole()));
        let mut cut = access.replace(vec![caller("a", "d"), caller("b", "b")], &all);
        cut.sort();
        let name = |name: &str| format!("operator/{name}");
        assert_eq!(cut, [(name("a"), Some("d".to_owned())), (name("c"), None)]);
        assert_eq!(access.scope("operator/a", "a", COMMAND), Err(Reason::CertificateRevoked));
        assert!(access.scope("operator/a", "d", COMMAND).is_ok());
        assert_eq!(access.scope("operator/c", "c", COMMAND), Err(Reason::PermissionDenied));
    }

    #[test]
    fn a_call_that_goes_on_sees_its_bindings_change() {
        let access = Access::default();
        let of = |selector: &str| [binding("operator/a", Role::Operator, selector)];
        access.replace(vec![caller("a", "a")], &of("env=dev"));
        let before = access.scope("operator/a", "a", COMMAND).unwrap();
        assert!(access.replace(vec![caller("a", "a")], &of("env=test")).is_empty(), "nothing is cut");
        assert_eq!(access.scope_now(&before, false).unwrap().reach.to_string(), "env=test");
        assert_eq!(access.scope_now(&before, true), None, "not on every node");
        access.replace(vec![caller("a", "a")], &[]);
        assert_eq!(access.scope_now(&before, false), None);
        assert_eq!(access.scope("operator/a", "a", COMMAND), Err(Reason::PermissionDenied));
    }
}
