//! A store that has forgotten what hosts and certificates of its own tell.

use std::time::Duration;

use muster_common::{generation::Generation, ids::NodeId};
use muster_domain::{
    item::{ItemState, ItemVersion},
    revocation::{Revocation, Subject},
    sighting::Suspicion,
};
use muster_store::{WriteAuthority as _, WriteHistories as _};
use rcgen::KeyPair;

use super::{
    bench::{Bench, NOW, alice, hello, ledger, whole},
    identity::csr_of,
};
use crate::{
    ca::{Certificate, csr},
    session::frames::Hello,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Restored an hour after the backup was made, and started.
async fn restored() -> Bench {
    let bench = Bench::following().await;
    bench.write(|tx| Ok(tx.history_begin(2, NOW, NOW + HOUR)?)).await;
    let bench = bench.killed().await;
    bench.follow();
    bench
}

fn why(bench: &Bench, id: NodeId) -> Option<Suspicion> {
    bench.app.node(&whole(), id).unwrap().node.quarantine.map(|it| it.reason)
}

async fn come(bench: &Bench, id: NodeId, said: &Hello) {
    bench.hello(id, said).unwrap();
    bench.until(|| bench.app.fleet.with(id, |entry| !entry.locking).unwrap()).await;
}

#[tokio::test]
async fn who_knows_more_is_held_once_by_its_own_word_or_that_of_its_items() {
    let bench = restored().await;
    let id = bench.node(1).await;
    come(&bench, id, &hello(ledger(1, 1))).await;
    assert_eq!(why(&bench, id), None, "it was told nothing");
    let version = ItemVersion {
        generation: Generation::new(1, 900),
        version: "7".to_owned(),
        sha256: muster_common::digest::Sha256::of(b"x"),
    };
    let state = ItemState { running: Some(version), ..super::reports::item(1) };
    let told = Hello { items: vec![state], ..hello(ledger(1, 2)) };
    come(&bench, id, &told).await;
    assert_eq!(why(&bench, id), Some(Suspicion::NewerThanStore));
    assert_eq!(bench.app.accept_restored(&alice(), "", String::new(), false).await.unwrap(), 1);
    assert_eq!(bench.app.accept_restored(&alice(), "", String::new(), true).await.unwrap(), 1);
    come(&bench, id, &told).await;
    assert_eq!(why(&bench, id), None, "a person has accepted it");
    let more = Hello { newest: Generation::new(1, 901), ..hello(ledger(1, 3)) };
    come(&bench, id, &more).await;
    assert_eq!(why(&bench, id), Some(Suspicion::NewerThanStore));
}

#[tokio::test]
async fn a_release_for_another_reason_undoes_nothing_of_which_nobody_was_told() {
    let bench = restored().await;
    let id = bench.node(1).await;
    bench.app.quarantine_node(&alice(), id, String::new()).await.unwrap();
    come(&bench, id, &Hello { newest: Generation::new(1, 900), ..hello(ledger(1, 1)) }).await;
    assert_eq!(why(&bench, id), Some(Suspicion::ByOperator));
    let release = async || bench.app.release_quarantine(&alice(), id, None, String::new()).await.unwrap();
    release().await;
    assert_eq!(why(&bench, id), Some(Suspicion::NewerThanStore));
    release().await;
    assert_eq!(why(&bench, id), None);
    assert_eq!(bench.stored(id).await.accepted, Some(Box::new(Generation::new(1, 900))));
}

#[tokio::test]
async fn a_certificate_of_the_lost_time_is_found_unless_it_was_revoked_or_another_came_after_it() {
    let bench = restored().await;
    let id = bench.node(1).await;
    let made = |after: u64| {
        let key = csr::public_key(&csr_of(&KeyPair::generate().unwrap())).unwrap();
        bench.app.ca.issue_node(id, &key, 24 * HOUR, NOW + Duration::from_secs(after)).unwrap()
    };
    let show = |it: &Certificate| {
        bench.app.find_lost(id, (&it.serial, it.not_before), &it.leaf_der, [192, 0, 2, 9].into());
        bench.app.node(&whole(), id).unwrap().node.certificate.current.serial
    };
    let [first, second, stolen, after] = [600, 900, 1200, 4000].map(made);
    let subject = Subject::Serial(stolen.serial.clone());
    let revocation = Revocation { subject, reason: "stolen".to_owned(), at: NOW, by: String::new() };
    bench.write(move |tx| Ok(tx.revocation_put(&revocation)?)).await;
    bench.app.follow().await.unwrap();
    assert_eq!(show(&second), *second.serial);
    for other in [&first, &stolen, &after] {
        assert_eq!(show(other), *second.serial);
    }
    let stored = async {
        while bench.stored(id).await.certificate.current.serial != *second.serial {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stored).await.expect("it is stored");
}
