//! Whether who shows a certificate speaks for its node: asked of memory before the
//! work, and of memory and the store in the write, for what outlives the moment.
//!
//! Memory is ahead of the store in what was shown first and in what was noticed;
//! the store is ahead in what was decided.

use muster_common::{
    ids::{InstanceId, NodeId},
    reason::Reason,
    tls::spiffe::Principal,
};
use muster_domain::{certificate::Shown, node::Node, revocation::Subject};
use muster_store::ReadAuthority;
use parking_lot::MutexGuard;

use super::{App, Error, fleet::Entry};

/// Who asks for something that lasts.
#[derive(Debug, Clone)]
pub struct By {
    /// The process, if it said which.
    pub instance: Option<InstanceId>,
    /// The certificate that it shows, or whose key it holds.
    pub serial: String,
}

impl App {
    /// Whether it speaks for the node, as far as memory knows. A node that is no more
    /// is not judged here.
    pub(super) fn speaks(&self, id: NodeId, by: &By) -> Result<(), Error> {
        let revoked = |reason| Error::refused(reason, "the node or its certificate is revoked");
        self.revocations.check(&Principal::Node(id), &by.serial).map_err(revoked)?;
        let look = |entry: MutexGuard<'_, Entry>| {
            if entry.locking {
                return Err(quarantined());
            }
            of_node(&entry.node, by)
        };
        self.fleet.with(id, look).unwrap_or(Ok(()))
    }

    /// Whether it speaks for the node, as it is at this moment, in a write.
    pub(super) fn speaks_now<R: ReadAuthority>(
        &self,
        tx: &mut R,
        stored: &Node,
        by: &By,
    ) -> Result<(), Error> {
        self.speaks(stored.id, by)?;
        of_node(stored, by)?;
        let subjects = [Subject::Principal(Principal::Node(stored.id)), Subject::Serial(by.serial.clone())];
        for subject in subjects {
            if tx.revocation_get(&subject)?.is_some() {
                return Err(Error::refused(Reason::CertificateRevoked, format!("{subject} is revoked")));
            }
        }
        Ok(())
    }
}

fn of_node(node: &Node, by: &By) -> Result<(), Error> {
    if node.quarantine.is_some() {
        return Err(quarantined());
    }
    only_kept(node, by.instance, &by.serial).map_err(|(reason, text)| Error::refused(reason, text))?;
    match node.certificate.judge(&by.serial) {
        Shown::Current | Shown::Next => Ok(()),
        Shown::Superseded => Err(Error::refused(Reason::CertificateRevoked, superseded(&by.serial))),
    }
}

/// Refuses whoever is not the one process as which the node was released.
pub(super) fn only_kept(
    node: &Node,
    instance: Option<InstanceId>,
    serial: &str,
) -> Result<(), (Reason, &'static str)> {
    if node.kept.as_ref().is_some_and(|kept| kept.excludes(instance, serial)) {
        return Err((Reason::Quarantined, NOT_KEPT));
    }
    Ok(())
}

/// To whoever was not kept.
pub(super) const NOT_KEPT: &str = "another process was released as this node; this one is not it";

/// To whoever shows a certificate that is none of the node's any more.
pub(super) fn superseded(serial: &str) -> String {
    format!("certificate {serial} was replaced by a newer one")
}

/// The refusal of whatever a node in quarantine asks for.
pub(super) fn quarantined() -> Error {
    Error::refused(Reason::Quarantined, "the node is in quarantine; a person must release it")
}
