//! Certificates that were issued after the backup was made. The store does not know them,
//! and their nodes have no other.

use std::{net::IpAddr, time::Duration};

use muster_common::{
    backoff::Backoff, clock::UnixMillis, error_chain::Chain, ids::NodeId, tasks::Kind, tls::spiffe::Principal,
};
use muster_domain::{
    audit::{Note, Stamp},
    certificate::{Issued, NodeCertificate, Shown},
    revocation::Subject,
};
use muster_store::{ReadAuthority as _, ReadNodes as _, WriteNodes as _};
use serde_json::json;

use crate::{
    app::{
        App, Error,
        quarantine::{RETRY_MAX, RETRY_MIN},
    },
    ca::BACKDATE,
};

impl App {
    /// A node has shown a certificate in a handshake. If it is one of the time that was lost
    /// by a restore, it is the node's again: this authority has issued it, the store cannot
    /// have replaced it, and of two such certificates the newer one holds.
    pub(crate) fn find_lost(&self, id: NodeId, shown: (&str, UnixMillis), leaf_der: &[u8], remote: IpAddr) {
        let (serial, not_before) = shown;
        // A certificate counts in seconds: it was made within the one that begins then.
        let begin = not_before + BACKDATE;
        if !self.fixed.history.is_lost_time(begin, begin + Duration::from_secs(1)) {
            return;
        }
        let found = self.fleet.with(id, |mut entry| {
            // One that was revoked replaces none, also if nobody asks for anything with it.
            self.revocations.check(&Principal::Node(id), serial).ok()?;
            let held = &entry.node.certificate;
            let newest = held.next.as_ref().map_or(held.current.not_before, |next| next.not_before);
            // Two of one second are told apart by nobody: the one that is shown is in use.
            let is_newer = not_before >= newest && held.judge(serial) == Shown::Superseded;
            let found = self.ca.issued_before(leaf_der, held.newest() + 1).filter(|_| is_newer)?;
            // At once: this connection is to be served.
            entry.node.certificate = NodeCertificate { current: found.clone(), next: None }.without_leaves();
            Some(found)
        });
        if let Some(found) = found.flatten() {
            tracing::warn!(node = %id, serial, "node {id} has a certificate of the time between backup and restore");
            self.store_found(id, found, remote);
        }
    }

    /// Until then memory alone knows it, and its node cannot renew.
    fn store_found(&self, id: NodeId, found: Issued, remote: IpAddr) {
        let app = self.clone();
        self.tasks.spawn("found-certificate", Kind::BestEffort, async move {
            let stamp = Stamp { remote_address: remote.to_string(), ..app.own_stamp("identity.find") };
            let put = |found: Issued| {
                move |tx: &mut muster_store::WriteTx<'_>| {
                    let Some(node) = tx.node_get(id)? else { return Ok(()) };
                    let is_revoked = tx.revocation_get(&Subject::Serial(found.serial.to_string()))?.is_some();
                    if is_revoked || node.certificate.newest() >= found.generation {
                        return Ok(());
                    }
                    tx.node_set_certificate(id, &NodeCertificate { current: found.clone(), next: None })?;
                    tx.audit(Note {
                        subject: format!("node/{id}"),
                        before: json!({ "certificate_serial": node.certificate.current.serial }).to_string(),
                        after: json!({ "certificate_serial": found.serial, "generation": found.generation })
                            .to_string(),
                        ..Note::default()
                    })?;
                    Ok::<_, Error>(())
                }
            };
            let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
            while let Err(error) = app.commit(stamp.clone(), put(found.clone())).await {
                tracing::error!(node = %id, error = %Chain(&error), "the certificate of node {id} was not stored");
                tokio::select! {
                    () = app.drain.deadline() => break,
                    () = tokio::time::sleep(backoff.next_wait()) => {}
                }
            }
        });
    }
}
