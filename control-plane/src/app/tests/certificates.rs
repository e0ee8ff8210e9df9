//! Certificates: what is in use is never lost, whoever writes in between.

use muster_common::reason::Reason;
use muster_domain::certificate::NodeCertificate;
use muster_store::WriteNodes as _;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::bench::{Bench, alice, hello, issued, ledger};
use crate::app::speaker::By;

fn request(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key).unwrap().der().to_vec()
}

/// A node with a next certificate, known to the store and to memory.
async fn with_next(bench: &Bench, serial: &'static str) -> muster_common::ids::NodeId {
    let id = bench.node(1).await;
    let pair = NodeCertificate { current: issued("1", 1), next: Some(Box::new(issued(serial, 2))) };
    bench.write(move |tx| Ok(tx.node_set_certificate(id, &pair)?)).await;
    bench.app.follow().await.unwrap();
    id
}

#[tokio::test]
async fn a_first_use_that_came_too_late_fails_nobodys_reports() {
    let bench = Bench::new().await;
    let (id, other) = (with_next(&bench, "2").await, bench.node(2).await);
    bench.hello_with(id, "2", &hello(ledger(1, 1))).unwrap();
    bench.hello(other, &hello(ledger(2, 1))).unwrap();
    // The store gets another one before the first use of this one is stored.
    let replaced = NodeCertificate { current: issued("1", 1), next: Some(Box::new(issued("3", 3))) };
    let pair = replaced.clone();
    bench.write(move |tx| Ok(tx.node_set_certificate(id, &pair)?)).await;
    bench.app.record().await.unwrap();
    assert_eq!(bench.stored(id).await.certificate, replaced);
    assert_eq!(bench.stored(id).await.ledger, Some(ledger(1, 1)), "the rest of its news is stored");
    assert_eq!(bench.stored(other).await.ledger, Some(ledger(2, 1)));
    let known = bench.app.fleet.with(id, |entry| entry.node.certificate.clone());
    assert_eq!(known, Some(replaced.without_leaves()), "and memory knows what the store has");
}

#[tokio::test]
async fn a_first_use_is_stored_and_the_older_one_is_refused_from_then_on() {
    let bench = Bench::new().await;
    let id = with_next(&bench, "2").await;
    bench.hello_with(id, "2", &hello(ledger(1, 1))).unwrap();
    // What the feed reads meanwhile is older than what was shown.
    bench.write(move |tx| Ok(tx.node_edit(id, "new-name", &muster_domain::labels::Labels::new())?)).await;
    bench.app.follow().await.unwrap();
    let refused = bench.hello_with(id, "1", &hello(ledger(1, 1))).unwrap_err();
    assert_eq!(refused.reason, Reason::CertificateRevoked);
    bench.app.record().await.unwrap();
    assert_eq!(bench.stored(id).await.certificate, NodeCertificate { current: issued("2", 2), next: None });
}

#[tokio::test]
async fn a_repeated_renewal_gets_the_same_certificate_and_another_key_a_higher_number() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let (first, second) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let once = bench.app.renew(&alice(), id, &by(), &request(&first)).await.unwrap();
    let again = bench.app.renew(&alice(), id, &by(), &request(&first)).await.unwrap();
    assert_eq!((once.generation, &once.chain_der), (2, &again.chain_der));
    let other = bench.app.renew(&alice(), id, &by(), &request(&second)).await.unwrap();
    assert_eq!(other.generation, 3, "a number is given once");
    // Two at once: both are answered, and the store has one of them.
    let (third, fourth) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let (actor, third, fourth) = (alice(), request(&third), request(&fourth));
    let by = by();
    let both =
        tokio::join!(bench.app.renew(&actor, id, &by, &third), bench.app.renew(&actor, id, &by, &fourth));
    let mut generations = [both.0.unwrap().generation, both.1.unwrap().generation];
    generations.sort_unstable();
    assert_eq!(generations, [4, 5]);
    assert_eq!(bench.stored(id).await.certificate.newest(), 5);
}

#[tokio::test]
async fn a_renewal_keeps_what_is_in_use_though_its_first_use_is_not_stored_yet() {
    let bench = Bench::following().await;
    let id = with_next(&bench, "2").await;
    bench.hello_with(id, "2", &hello(ledger(1, 1))).unwrap();
    let key = KeyPair::generate().unwrap();
    let shown = By { serial: "2".to_owned(), ..by() };
    bench.app.renew(&alice(), id, &shown, &request(&key)).await.unwrap();
    let stored = bench.stored(id).await.certificate;
    assert_eq!((stored.current.serial.to_string().as_str(), stored.newest()), ("2", 3));
    bench.app.record().await.unwrap();
    assert_eq!(bench.stored(id).await.certificate, stored);
    bench.hello_with(id, "2", &hello(ledger(1, 2))).unwrap();
}

fn by() -> By {
    By { instance: None, serial: "1".to_owned() }
}
