//! Renewal, recovery, rotation: how a node keeps its identity.

use std::time::Duration;

use muster_common::{
    digest::Sha256,
    ids::{InstanceId, NodeId},
    proof,
    reason::Reason,
    tls::spiffe::Principal,
};
use muster_domain::{
    audit::Filter,
    authority::{Move, Phase},
    certificate::NodeCertificate,
    revocation::Subject,
    sighting::Kept,
};
use muster_store::{ReadAudit as _, WriteNodes as _};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SigningKey as _};

use super::bench::{Bench, NOW, alice, hello, ledger, stamp, whole};
use crate::{
    app::{
        Error,
        authority::{self, Source},
        recovery,
        speaker::By,
    },
    ca::{Scope, csr},
    session::{frames::Hello, ports::Desk as _},
};

pub(super) fn csr_of(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub(super) fn reason(error: &Error) -> Option<Reason> {
    match error {
        Error::Refused { reason, .. } => Some(*reason),
        _ => None,
    }
}

pub(super) fn by(instance: Option<u128>) -> By {
    By { instance: instance.map(InstanceId::from_u128), serial: "1".to_owned() }
}

pub(super) fn hello_of(instance: u128) -> Hello {
    Hello { instance: InstanceId::from_u128(instance), ..hello(ledger(1, 1)) }
}

/// A node whose certificate is real, and its key.
pub(super) async fn known(bench: &Bench, ttl: Duration) -> (NodeId, KeyPair) {
    let id = bench.node(1).await;
    let key = KeyPair::generate().unwrap();
    let public = csr::public_key(&csr_of(&key)).unwrap();
    let mut issued = bench.app.issue(id, &public, 1).unwrap();
    issued.not_after = NOW + ttl;
    let pair = NodeCertificate { current: issued, next: None };
    bench.write(move |tx| Ok(tx.node_set_certificate(id, &pair)?)).await;
    bench.app.follow().await.unwrap();
    (id, key)
}

pub(super) fn request(bench: &Bench, node: NodeId, key: &KeyPair, next: &KeyPair) -> recovery::Request {
    let (challenge, csr_der) = (bench.app.begin_recovery(node).unwrap(), csr_of(next));
    let signature = key.sign(&proof::recovery(&challenge, Sha256::of(&csr_der))).unwrap();
    recovery::Request {
        node,
        challenge,
        csr_der,
        signature,
        machine_fingerprint: Vec::new(),
        instance: None,
        remote: [192, 0, 2, 7].into(),
        trace_id: String::new(),
    }
}

pub(super) async fn audited(bench: &Bench, action: &'static str) -> Vec<String> {
    let page = muster_domain::page::Page { size: 100, after: None };
    let listed = bench
        .app
        .store
        .read(move |tx| Ok::<_, Error>(tx.audit_list(&page, &Filter::default())?))
        .await
        .unwrap();
    listed
        .rows
        .into_iter()
        .filter(|entry| entry.1.stamp.action == action)
        .map(|entry| entry.1.note.after)
        .collect()
}

#[tokio::test]
async fn a_node_comes_back_by_its_key_and_by_nothing_else() {
    let bench = Bench::following().await;
    let (id, key) = known(&bench, Duration::ZERO).await;
    let (next, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let recovered = bench.app.recover(request(&bench, id, &key, &next)).await.unwrap();
    assert_eq!((recovered.generation, recovered.chain_der.len()), (2, 2));
    // The reply was lost: the same again, and it is not counted twice.
    let again = bench.app.recover(request(&bench, id, &key, &next)).await.unwrap();
    assert_eq!(again.chain_der, recovered.chain_der);
    assert_eq!(bench.stored(id).await.recoveries, 1);

    let refused = async |request| reason(&bench.app.recover(request).await.unwrap_err());
    let invalid = Some(Reason::ProofInvalid);
    assert_eq!(refused(request(&bench, id, &other, &next)).await, invalid, "another key");
    let mut replayed = request(&bench, id, &key, &next);
    replayed.csr_der = csr_of(&other);
    assert_eq!(refused(replayed).await, invalid, "a signature for another request");
    let stranger = NodeId::from_u128(77);
    assert_eq!(refused(request(&bench, stranger, &key, &next)).await, invalid, "no such node");
    let late = request(&bench, id, &key, &next);
    bench.app.clock.advance(Duration::from_secs(61));
    assert_eq!(refused(late).await, invalid, "a challenge of a minute ago");
}

#[tokio::test]
async fn recovery_ends_with_time_with_number_with_quarantine_and_with_revocation() {
    let bench = Bench::following().await;
    let (id, key) = known(&bench, Duration::ZERO).await;
    let next = || KeyPair::generate().unwrap();
    for _ in 0..2 {
        bench.app.recover(request(&bench, id, &key, &next())).await.unwrap();
    }
    let refused = async || reason(&bench.app.recover(request(&bench, id, &key, &next())).await.unwrap_err());
    assert_eq!(refused().await, Some(Reason::RecoveryLimit));
    bench.app.allow_recovery(&alice(), id).await.unwrap();
    bench.app.recover(request(&bench, id, &key, &next())).await.unwrap();

    bench.app.quarantine_node(&alice(), id, String::new()).await.unwrap();
    assert_eq!(refused().await, Some(Reason::Quarantined));
    bench.app.release_quarantine(&alice(), id, None, String::new()).await.unwrap();
    let subject = Subject::Principal(Principal::Node(id));
    bench.app.revoke(&alice(), subject.clone(), "stolen".to_owned()).await.unwrap();
    assert_eq!(refused().await, Some(Reason::CertificateRevoked));
    bench.app.delete_revocation(&alice(), subject).await.unwrap();
    bench.app.clock.advance(Duration::from_secs(86_401));
    assert_eq!(refused().await, Some(Reason::RecoveryTooLate));
}

#[tokio::test]
async fn recoveries_at_once_each_count_and_leave_one_certificate_that_waits() {
    let bench = Bench::following().await;
    let (id, key) = known(&bench, Duration::ZERO).await;
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let (one, other) = tokio::join!(
        bench.app.recover(request(&bench, id, &key, &keys[0])),
        bench.app.recover(request(&bench, id, &key, &keys[1])),
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.generation, other.generation);
    let stored = bench.stored(id).await;
    assert_eq!(stored.recoveries, 2);
    assert_eq!(stored.certificate.next.unwrap().generation, one.generation.max(other.generation));
}

#[tokio::test]
async fn who_was_removed_is_told_so_when_memory_has_forgotten_that() {
    let bench = Bench::new().await;
    let (id, key) = known(&bench, Duration::ZERO).await;
    bench.write(move |tx| Ok(tx.node_delete(id)?)).await;
    assert!(!bench.app.fleet.was_removed(id));
    let asked = request(&bench, id, &key, &KeyPair::generate().unwrap());
    assert_eq!(reason(&bench.app.recover(asked).await.unwrap_err()), Some(Reason::NodeRemoved));
}

#[tokio::test]
async fn a_certificate_that_asks_for_the_next_one_is_in_use() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let csr = || csr_of(&KeyPair::generate().unwrap());
    bench.app.renew(&alice(), id, &by(None), &csr()).await.unwrap();
    let second = bench.app.node(&whole(), id).unwrap().node.certificate.next.unwrap().serial;
    // It asks again before it opens a session; what it asked with must stay good.
    let with_second = By { instance: None, serial: second.to_string() };
    bench.app.renew(&alice(), id, &with_second, &csr()).await.unwrap();
    assert_eq!(bench.app.node_may_speak(id, &second.to_string()), Ok(()));
    bench.hello_with(id, &second, &hello_of(1)).unwrap();
    assert_eq!(bench.app.node(&whole(), id).unwrap().node.quarantine, None);
}

#[tokio::test]
async fn a_rotation_waits_for_those_that_are_connected() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello_of(1)).unwrap();
    bench.app.authority_prepare(&alice(), &Source::Own(Scope::Issuing)).await.unwrap();
    let told = bench.app.trust(&session).bundle.unwrap();
    assert_eq!((told.version, told.roots.len(), told.issuers.len()), (2, 1, 2));
    let go = async |step, forced| bench.app.authority_go(&alice(), step, forced).await;
    assert_eq!(reason(&go(Move::Activate, false).await.unwrap_err()), Some(Reason::AuthorityNotReady));
    crate::session::ports::Inbox::trust_bundle(&bench.app, &session, 2);
    assert_eq!(go(Move::Activate, false).await.unwrap().phase(), Phase::Activated);
    assert_eq!(bench.app.trust(&session).renew, Some((Duration::from_secs(60), "new-issuer")));
    assert_eq!(reason(&go(Move::Retire, false).await.unwrap_err()), Some(Reason::AuthorityNotReady));
    bench.app.renew(&alice(), id, &by(None), &csr_of(&KeyPair::generate().unwrap())).await.unwrap();
    let next = bench.app.node(&whole(), id).unwrap().node.certificate.next.unwrap();
    assert_eq!(next.issuer, 2);
    let (session, _) = bench.hello_with(id, &next.serial, &hello_of(1)).unwrap();
    assert_eq!(bench.app.trust(&session).renew, None);
    assert_eq!(go(Move::Retire, false).await.unwrap().phase(), Phase::Steady);
    assert_eq!(audited(&bench, "authority.retire").await.len(), 1);
}

#[tokio::test]
async fn a_certificate_that_waits_is_replaced_when_its_slot_issues_no_more() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello_of(1)).unwrap();
    let csr = || csr_of(&KeyPair::generate().unwrap());
    bench.app.authority_prepare(&alice(), &Source::Own(Scope::Issuing)).await.unwrap();
    bench.app.authority_go(&alice(), Move::Activate, true).await.unwrap();
    bench.app.renew(&alice(), id, &by(None), &csr()).await.unwrap();
    bench.app.authority_go(&alice(), Move::Rollback, false).await.unwrap();
    assert_eq!(bench.app.trust(&session).renew.map(|renew| renew.1), Some("new-issuer"));
    let waited_for = async || bench.app.authority().await.unwrap().1.on_next.live.first;
    assert_eq!(waited_for().await, [id], "the slot cannot be dropped yet");
    bench.app.renew(&alice(), id, &by(None), &csr()).await.unwrap();
    assert_eq!(bench.app.trust(&session).renew, None);
    assert_eq!(waited_for().await, []);
}

#[tokio::test]
async fn a_certificate_of_a_slot_that_issues_no_more_is_not_stored() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    bench.app.follow().await.unwrap();
    // By the command line: this process does not know it yet.
    let (store, trust_domain) = (&bench.app.store, "fleet.test".parse().unwrap());
    let dir = bench.app.ca.dir();
    let place = authority::Place { dir, trust_domain: &trust_domain, vault: None, recovers: true };
    authority::prepare(store, place, &Source::Own(Scope::Issuing), stamp()).await.unwrap();
    authority::go(store, place, Move::Activate, true, stamp()).await.unwrap();
    let key = csr_of(&KeyPair::generate().unwrap());
    let refused = bench.app.renew(&alice(), id, &by(None), &key).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::Overloaded));
    assert_eq!(bench.stored(id).await.certificate.next, None);
}

#[tokio::test]
async fn a_move_of_the_authority_goes_on_when_its_caller_is_gone() {
    let bench = Bench::following().await;
    let (alice, source) = (alice(), Source::Own(Scope::Issuing));
    let asked = bench.app.authority_prepare(&alice, &source);
    assert!(tokio::time::timeout(Duration::ZERO, asked).await.is_err(), "it was done at once");
    bench.until(|| bench.app.ca.authority().phase() == Phase::Prepared).await;
}

#[tokio::test]
async fn a_certificate_by_recovery_is_not_the_kept_ones_alone_yet() {
    let bench = Bench::following().await;
    let (id, key) = known(&bench, Duration::ZERO).await;
    let serial = bench.stored(id).await.certificate.current.serial;
    for instance in [1, 2, 1] {
        bench.hello_with(id, &serial, &hello_of(instance)).unwrap();
    }
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
    let right = InstanceId::from_u128(2);
    bench.app.release_quarantine(&alice(), id, Some(right), String::new()).await.unwrap();
    // The key of its recovery is on its disk, and was on that of its twin.
    let copied = KeyPair::generate().unwrap();
    let by = |instance, from: &KeyPair, to: &KeyPair| recovery::Request {
        instance: Some(InstanceId::from_u128(instance)),
        ..request(&bench, id, from, to)
    };
    bench.app.recover(by(2, &key, &copied)).await.unwrap();
    let refused = bench.app.recover(by(1, &copied, &KeyPair::generate().unwrap())).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::Quarantined));
    let recovered = bench.stored(id).await.certificate.next.unwrap().serial;
    let (session, _) = bench.hello_with(id, &recovered, &hello_of(2)).unwrap();
    assert_eq!(bench.app.trust(&session).renew.map(|renew| renew.0), Some(Duration::ZERO));
    assert!(bench.hello_with(id, &recovered, &hello_of(1)).is_err());
}

#[tokio::test]
async fn the_kept_one_that_started_anew_recovers_by_a_certificate_of_its_own() {
    let bench = Bench::following().await;
    let (id, key) = known(&bench, Duration::ZERO).await;
    let other = Kept { instance: InstanceId::from_u128(2), serials: vec!["elsewhere".to_owned()] };
    bench.write(move |tx| Ok(tx.node_set_kept(id, Some(&other))?)).await;
    bench.app.follow().await.unwrap();
    let asked = recovery::Request {
        instance: Some(InstanceId::from_u128(3)),
        ..request(&bench, id, &key, &KeyPair::generate().unwrap())
    };
    bench.app.recover(asked).await.unwrap();
    let recovered = bench.stored(id).await.certificate.next.unwrap().serial;
    bench.hello_with(id, &recovered, &hello_of(3)).unwrap();
    assert!(bench.hello_with(id, &recovered, &hello_of(2)).is_err());
}
