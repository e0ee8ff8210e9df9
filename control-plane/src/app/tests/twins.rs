//! Two hosts with one identity: what is noticed, who is let out, and what the other
//! one can still do.

use muster_common::{
    ids::{InstanceId, NodeId},
    reason::Reason,
    tls::spiffe::Principal,
};
use muster_domain::{
    certificate::NodeCertificate,
    liveness::State,
    revocation::{Revocation, Subject},
    sighting::{Kept, Suspicion},
};
use muster_store::{WriteAuthority as _, WriteNodes as _};
use rcgen::KeyPair;
use std::time::Duration;

use super::{
    bench::{Bench, NOW, alice, issued, stamp, whole},
    identity::{audited, by, csr_of, hello_of, known, reason, request},
};
use crate::{
    app::{Error, recovery, speaker::By},
    ca::csr,
    session::{frames::Hello, ports::Desk as _},
};

/// Locked up for two processes, 1 and 2, and released as the second.
async fn released(bench: &Bench) -> NodeId {
    let id = bench.node(1).await;
    for instance in [1, 2, 1] {
        bench.hello(id, &hello_of(instance)).unwrap();
    }
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
    bench.app.release_quarantine(&alice(), id, Some(InstanceId::from_u128(2)), String::new()).await.unwrap();
    id
}

/// It has its new certificate, and has spoken with it.
async fn renewed(bench: &Bench, id: NodeId, instance: u128) -> String {
    let key = csr_of(&KeyPair::generate().unwrap());
    let serial = bench.app.node(&whole(), id).unwrap().node.certificate.current.serial;
    let by = By { instance: Some(InstanceId::from_u128(instance)), serial: serial.to_string() };
    bench.app.renew(&alice(), id, &by, &key).await.unwrap();
    let next = bench.app.node(&whole(), id).unwrap().node.certificate.next.unwrap().serial;
    bench.hello_with(id, &next, &hello_of(instance)).unwrap();
    next.to_string()
}

/// What is done with a request that was let through before somebody decided.
async fn let_through(bench: &Bench, id: NodeId, by: &By) -> Option<Reason> {
    let key = csr::public_key(&csr_of(&KeyPair::generate().unwrap())).unwrap();
    let done = bench.app.certify(id, by, key, stamp(), |_| Ok(None)).await;
    done.err().as_ref().and_then(reason)
}

#[tokio::test]
async fn two_processes_that_take_turns_are_both_locked_up_and_named() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    for instance in [1, 1, 2] {
        bench.hello(id, &hello_of(instance)).unwrap();
        assert_eq!(bench.app.node(&whole(), id).unwrap().node.quarantine, None);
    }
    let (session, _) = bench.hello(id, &hello_of(1)).unwrap();
    let node = bench.app.node(&whole(), id).unwrap().node;
    assert_eq!(node.liveness.state, State::Quarantined);
    assert_eq!(node.quarantine.as_ref().unwrap().reason, Suspicion::TwoProcesses);
    assert_eq!(bench.app.trust(&session).quarantine.map(|(reason, _)| reason), Some("TwoProcesses"));
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
    assert!(bench.stored(id).await.quarantine.is_some(), "also after a restart");
    let events = audited(&bench, "nodes.quarantine").await;
    assert_eq!(events.len(), 1, "one event for both");
    for instance in [1, 2] {
        assert!(events[0].contains(&InstanceId::from_u128(instance).to_string()), "{}", events[0]);
    }
}

#[tokio::test]
async fn who_is_locked_up_gets_nothing_until_a_person_lets_it_out() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello_of(1)).unwrap();
    bench.app.quarantine_node(&alice(), id, "to look at it".to_owned()).await.unwrap();
    let order = bench.ordered().await.remove(0);
    assert!(bench.app.tickets(&session).is_empty());
    assert_eq!(order.state, muster_domain::command::State::Queued, "its host cannot have it");
    assert_eq!(bench.app.node(&whole(), id).unwrap().node.liveness.state, State::Quarantined);
    bench.app.release_quarantine(&alice(), id, None, String::new()).await.unwrap();
    assert_eq!(bench.app.node(&whole(), id).unwrap().node.liveness.state, State::Online);
    assert_eq!(bench.app.trust(&session).quarantine, None);
    bench.app.hand_out().await.unwrap();
    assert_eq!(bench.app.tickets(&session).len(), 1);
}

#[tokio::test]
async fn of_two_twins_the_one_that_a_person_names_goes_on_alone() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    for instance in [1, 2, 1] {
        bench.hello(id, &hello_of(instance)).unwrap();
    }
    let (right, stranger) = (InstanceId::from_u128(2), InstanceId::from_u128(9));
    let unknown = bench.app.release_quarantine(&alice(), id, Some(stranger), String::new()).await;
    assert!(matches!(unknown, Err(Error::Invalid { .. })));
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
    bench.app.release_quarantine(&alice(), id, Some(right), "rack 7".to_owned()).await.unwrap();
    assert_eq!(bench.hello(id, &hello_of(1)).unwrap_err().reason, Reason::Quarantined);
    let (session, _) = bench.hello(id, &hello_of(2)).unwrap();
    assert_eq!(bench.app.trust(&session).renew.map(|renew| renew.0), Some(Duration::ZERO));
    // It renews; from then on the certificate that both had is worth nothing.
    let key = csr_of(&KeyPair::generate().unwrap());
    let wrong = bench.app.renew(&alice(), id, &by(Some(1)), &key).await;
    assert_eq!(reason(&wrong.unwrap_err()), Some(Reason::Quarantined));
    bench.app.renew(&alice(), id, &by(Some(2)), &key).await.unwrap();
    let next = bench.app.node(&whole(), id).unwrap().node.certificate.next.unwrap().serial;
    bench.hello_with(id, &next, &hello_of(2)).unwrap();
    bench.until(|| !bench.app.revocations.all().is_empty()).await;
    assert_eq!(bench.app.node_may_speak(id, "1"), Err(Reason::CertificateRevoked));
    assert_eq!(bench.app.node_may_speak(id, &next.to_string()), Ok(()));
    assert_eq!(bench.app.node(&whole(), id).unwrap().node.quarantine, None);
}

#[tokio::test]
async fn another_machine_with_the_same_identity_is_locked_up_at_its_first_word() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    bench.write(move |tx| Ok(tx.node_set_quarantine(id, None, Some(&[1; 32]))?)).await;
    bench.app.follow().await.unwrap();
    let on = |machine: u8| Hello { machine_fingerprint: vec![machine; 32], ..hello_of(u128::from(machine)) };
    bench.hello(id, &on(1)).unwrap();
    assert_eq!(bench.app.node(&whole(), id).unwrap().node.quarantine, None);
    bench.hello(id, &on(2)).unwrap();
    let found = bench.app.node(&whole(), id).unwrap().node.quarantine.unwrap();
    assert_eq!(found.reason, Suspicion::OtherMachine);
}

#[tokio::test]
async fn of_two_with_one_key_only_the_one_that_a_person_kept_recovers_also_after_a_restart() {
    let bench = Bench::following().await;
    let (id, key) = known(&bench, Duration::ZERO).await;
    let serial = bench.stored(id).await.certificate.current.serial;
    let (right, wrong) = (InstanceId::from_u128(2), InstanceId::from_u128(1));
    for instance in [1, 2, 1] {
        bench.hello_with(id, &serial, &hello_of(instance)).unwrap();
    }
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
    let next = KeyPair::generate().unwrap();
    let by = |instance| recovery::Request { instance, ..request(&bench, id, &key, &next) };
    let locked = bench.app.recover(by(Some(right))).await;
    assert_eq!(reason(&locked.unwrap_err()), Some(Reason::Quarantined));
    bench.app.release_quarantine(&alice(), id, Some(right), "rack 7".to_owned()).await.unwrap();
    assert_eq!(bench.stored(id).await.kept.map(|kept| kept.instance), Some(right), "it survives a restart");
    for twin in [Some(wrong), None] {
        let refused = bench.app.recover(by(twin)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::Quarantined), "{twin:?}");
    }
    bench.app.recover(by(Some(right))).await.unwrap();
    let recovered = bench.stored(id).await.certificate.next.unwrap().serial;
    bench.hello_with(id, &recovered, &hello_of(2)).unwrap();
    let next = renewed(&bench, id, 2).await;
    bench.until(|| bench.app.revocations.check(&Principal::Node(id), &serial.to_string()).is_err()).await;
    assert_eq!(bench.stored(id).await.kept, None, "it has a certificate of its own");
    bench.hello_with(id, &next, &hello_of(3)).unwrap();
}

#[tokio::test]
async fn a_thief_that_renewed_first_is_noticed_when_the_host_speaks() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    // The thief renews, and speaks with what it got.
    let stolen = csr_of(&KeyPair::generate().unwrap());
    bench.app.renew(&alice(), id, &by(None), &stolen).await.unwrap();
    let next = bench.app.node(&whole(), id).unwrap().node.certificate.next.unwrap().serial;
    bench.hello_with(id, &next, &hello_of(2)).unwrap();
    assert_eq!(bench.app.node_may_speak(id, "1"), Err(Reason::CertificateRevoked));
    bench
        .app
        .suspect(id, Suspicion::ReplacedCertificate, "1".to_owned(), [192, 0, 2, 9].into())
        .await
        .unwrap();
    let found = bench.app.node(&whole(), id).unwrap().node.quarantine.unwrap();
    assert_eq!(found.reason, Suspicion::ReplacedCertificate);
    assert_eq!(found.seen.last().unwrap().remote.to_string(), "192.0.2.9");
}

#[tokio::test]
async fn a_twin_cannot_have_the_node_removed() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let leave = async |serial: &str| {
        let left = bench.app.leave(&alice(), id, serial.to_owned(), String::new()).await;
        left.err().as_ref().and_then(reason)
    };
    for instance in [1, 2, 1] {
        bench.hello(id, &hello_of(instance)).unwrap();
    }
    assert_eq!(leave("1").await, Some(Reason::Quarantined), "noticed, and perhaps not stored yet");
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
    assert_eq!(leave("1").await, Some(Reason::Quarantined));
    let right = InstanceId::from_u128(2);
    bench.app.release_quarantine(&alice(), id, Some(right), String::new()).await.unwrap();
    assert_eq!(leave("1").await, Some(Reason::Quarantined), "both have this certificate");
    let next = renewed(&bench, id, 2).await;
    bench.until(|| bench.app.node(&whole(), id).unwrap().node.kept.is_none()).await;
    assert_eq!(leave("1").await, Some(Reason::CertificateRevoked));
    assert_eq!(bench.stored(id).await.id, id);
    assert_eq!(leave(&next).await, None);
    assert!(bench.app.node(&whole(), id).is_err());
}

#[tokio::test]
async fn who_was_not_kept_cannot_have_the_node_locked_up_again() {
    let bench = Bench::following().await;
    let (id, key) = known(&bench, Duration::from_secs(3600)).await;
    let serial = bench.stored(id).await.certificate.current.serial;
    bench.write(move |tx| Ok(tx.node_set_quarantine(id, None, Some(&[1; 32]))?)).await;
    bench.app.follow().await.unwrap();
    let on =
        |instance: u128, machine: u8| Hello { machine_fingerprint: vec![machine; 32], ..hello_of(instance) };
    bench.hello_with(id, &serial, &on(1, 1)).unwrap();
    bench.hello_with(id, &serial, &on(2, 2)).unwrap();
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
    let (right, wrong) = (InstanceId::from_u128(1), InstanceId::from_u128(2));
    bench.app.release_quarantine(&alice(), id, Some(right), String::new()).await.unwrap();
    for instance in [Some(wrong), None] {
        let next = KeyPair::generate().unwrap();
        let asked = recovery::Request {
            instance,
            machine_fingerprint: vec![2; 32],
            ..request(&bench, id, &key, &next)
        };
        let refused = bench.app.recover(asked).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::Quarantined));
    }
    assert_eq!(bench.stored(id).await.quarantine, None);
    bench.hello_with(id, &serial, &on(1, 1)).unwrap();
}

#[tokio::test]
async fn a_certificate_from_before_a_renewal_is_noticed_once() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    bench
        .write(move |tx| {
            Ok(tx.node_set_certificate(id, &NodeCertificate { current: issued("2", 2), next: None })?)
        })
        .await;
    bench.app.follow().await.unwrap();
    bench.hello_with(id, "2", &hello_of(1)).unwrap();
    let knock = || bench.app.suspect_replaced(id, "1", NOW, [192, 0, 2, 9].into());
    knock();
    bench.until(|| bench.app.node(&whole(), id).unwrap().node.quarantine.is_some()).await;
    let found = bench.stored(id).await.quarantine.unwrap();
    assert_eq!(
        (found.reason, found.seen.last().unwrap().serial.as_str()),
        (Suspicion::ReplacedCertificate, "1")
    );
    let right = InstanceId::from_u128(1);
    bench.app.release_quarantine(&alice(), id, Some(right), String::new()).await.unwrap();
    assert!(bench.app.revocations.check(&Principal::Node(id), "1").is_err(), "at once");
    assert_eq!(bench.app.revocations.check(&Principal::Node(id), "2"), Ok(()), "it has no other yet");
    knock();
    renewed(&bench, id, 1).await;
    bench.until(|| bench.app.node(&whole(), id).unwrap().node.kept.is_none()).await;
    knock();
    bench.write(move |tx| Ok(tx.node_set_recoveries(id, 0)?)).await;
    assert_eq!(bench.stored(id).await.quarantine, None);
    assert_eq!(audited(&bench, "nodes.quarantine").await.len(), 1);
}

#[tokio::test]
async fn a_renewal_that_a_twin_began_before_it_was_told_off_is_refused_in_the_write() {
    let bench = Bench::following().await;
    let id = released(&bench).await;
    let twin = by(Some(1));
    assert_eq!(let_through(&bench, id, &twin).await, Some(Reason::Quarantined));
    let next = renewed(&bench, id, 2).await;
    // Whether or not what both had is revoked already.
    let refused = let_through(&bench, id, &twin).await;
    assert!(matches!(refused, Some(Reason::Quarantined | Reason::CertificateRevoked)), "{refused:?}");
    bench.until(|| bench.app.node(&whole(), id).unwrap().node.kept.is_none()).await;
    assert_eq!(let_through(&bench, id, &twin).await, Some(Reason::CertificateRevoked));
    let held = bench.stored(id).await.certificate;
    assert!(held.serials().any(|serial| *serial == *next) && held.newest() == 2, "{held:?}");
}

#[tokio::test]
async fn what_the_store_knows_and_memory_does_not_yet_counts_in_the_write() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    bench.app.follow().await.unwrap();
    let subject = Subject::Serial("1".to_owned());
    let revocation = Revocation { subject, reason: "stolen".to_owned(), at: NOW, by: String::new() };
    bench.write(move |tx| Ok(tx.revocation_put(&revocation)?)).await;
    let key = csr_of(&KeyPair::generate().unwrap());
    let refused = bench.app.renew(&alice(), id, &by(None), &key).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateRevoked));
    assert_eq!(bench.stored(id).await.certificate.next, None);
}

#[tokio::test]
async fn the_right_one_that_started_anew_before_it_renewed_can_be_named() {
    let bench = Bench::following().await;
    let id = released(&bench).await;
    assert_eq!(bench.hello(id, &hello_of(3)).unwrap_err().reason, Reason::Quarantined);
    let turned_away = bench.app.node(&whole(), id).unwrap().turned_away;
    assert_eq!(turned_away.iter().map(|seen| seen.instance).collect::<Vec<_>>(), [InstanceId::from_u128(3)]);
    let again = InstanceId::from_u128(3);
    bench.app.release_quarantine(&alice(), id, Some(again), "restarted".to_owned()).await.unwrap();
    assert!(bench.app.node(&whole(), id).unwrap().turned_away.is_empty());
    assert_eq!(bench.hello(id, &hello_of(2)).unwrap_err().reason, Reason::Quarantined);
    bench.hello(id, &hello_of(3)).unwrap();
    renewed(&bench, id, 3).await;
    bench.until(|| bench.app.revocations.check(&Principal::Node(id), "1").is_err()).await;
    assert_eq!(bench.stored(id).await.kept, None);
}

#[tokio::test]
async fn what_an_unfinished_release_has_not_revoked_is_revoked_by_the_next_one() {
    let bench = Bench::following().await;
    let id = released(&bench).await;
    // The process that was kept has a certificate of its own, and is locked up before
    // what it had in common was revoked.
    let next = NodeCertificate { current: issued("2", 2), next: None };
    bench.write(move |tx| Ok(tx.node_set_certificate(id, &next)?)).await;
    bench.app.quarantine_node(&alice(), id, String::new()).await.unwrap();
    let right = Some(InstanceId::from_u128(2));
    bench.app.release_quarantine(&alice(), id, right, String::new()).await.unwrap();
    let kept = bench.stored(id).await.kept.unwrap();
    assert_eq!(kept.serials, ["1", "2"]);
    // What a release before this one does late takes nothing from it.
    let earlier = Kept { instance: InstanceId::from_u128(2), serials: vec!["1".to_owned()] };
    bench.app.revoke_replaced(id, earlier);
    bench.until(|| bench.app.revocations.check(&Principal::Node(id), "1").is_err()).await;
    assert_eq!(bench.stored(id).await.kept, Some(kept));
}

#[tokio::test]
async fn a_session_of_a_twin_is_the_nodes_no_more_as_soon_as_another_was_released() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    for instance in [1, 2] {
        bench.hello(id, &hello_of(instance)).unwrap();
    }
    let (twin, _) = bench.hello(id, &hello_of(1)).unwrap();
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
    bench.ordered().await;
    // Whoever released it went away before it was told that it is done.
    let (alice, right) = (alice(), InstanceId::from_u128(2));
    let released = bench.app.release_quarantine(&alice, id, Some(right), String::new());
    let _ = tokio::time::timeout(Duration::ZERO, released).await;
    bench.until(|| bench.app.node(&whole(), id).unwrap().node.kept.is_some()).await;
    assert!(bench.app.tickets(&twin).is_empty());
    assert_eq!(bench.app.node(&whole(), id).unwrap().live.map(|live| live.instance), None);
    let (session, _) = bench.hello(id, &hello_of(2)).unwrap();
    assert_eq!(bench.app.node(&whole(), id).unwrap().node.quarantine, None, "it is no twin of itself");
    bench.app.hand_out().await.unwrap();
    assert_eq!(bench.app.tickets(&session).len(), 1);
}

#[tokio::test]
async fn certificates_from_before_a_release_raise_no_suspicion_after_it() {
    let bench = Bench::following().await;
    let id = released(&bench).await;
    let next = renewed(&bench, id, 2).await;
    bench.until(|| bench.app.node(&whole(), id).unwrap().node.kept.is_none()).await;
    let knock = |began| bench.app.suspect_replaced(id, "0", began, [192, 0, 2, 9].into());
    knock(issued("1", 1).not_before);
    bench.write(move |tx| Ok(tx.node_set_recoveries(id, 0)?)).await;
    assert_eq!(bench.stored(id).await.quarantine, None);
    assert_eq!(bench.app.node_may_speak(id, &next), Ok(()));
    knock(issued("1", 1).not_before + Duration::from_secs(1));
    bench.until(|| bench.app.node(&whole(), id).unwrap().node.quarantine.is_some()).await;
}
