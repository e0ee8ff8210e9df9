//! Issuers of programs' identities: who changes them at the same time, and what follows.

use futures_util::future::join_all;
use muster_common::{ids::SecretId, reason::Reason};
use muster_domain::workload::{Issuer, Issuers};
use muster_store::{
    ReadSecrets as _, ReadWorkloadIssuers as _, WriteSecrets as _, WriteWorkloadIssuers as _,
};

use super::bench::{Bench, NOW, alice, stamp};
use crate::{
    app::Error,
    ca::workload::{keys_of, make},
    vault::Vault,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_rotate_at_once_leave_keys_that_the_next_start_can_use() {
    let bench = Bench::following().await;
    let alice = alice();
    let rotated = join_all((0..8).map(|_| bench.app.rotate_workloads(&alice, true))).await;
    assert!(rotated.iter().all(Result::is_ok), "{rotated:?}");
    assert_eq!(bench.app.workloads.standings().newest, 9, "each made one of its own");
    let carefully = join_all((0..8).map(|_| bench.app.rotate_workloads(&alice, false))).await;
    let refused =
        |done: &Result<(), Error>| matches!(done, Err(Error::Refused { reason: Reason::StateConflict, .. }));
    assert_eq!(carefully.iter().filter(|done| done.is_ok()).count(), 1);
    assert_eq!(carefully.iter().filter(|done| refused(done)).count(), 7);
    bench.killed().await;
}

#[tokio::test]
async fn keys_that_are_not_here_come_from_the_store() {
    let bench = Bench::following().await;
    let (app, alice) = (&bench.app, alice());
    app.rotate_workloads(&alice, true).await.unwrap();
    let folder = app.workloads.dir().join("workload/2");
    let key = std::fs::read(folder.join("issuing.key")).unwrap();
    let begun_anew = async || {
        let (dir, rules) = (app.workloads.dir(), app.fixed.workload.rules());
        crate::app::workloads::open(&app.store, &app.vault, dir, &app.fixed.trust_domain, rules, stamp())
            .await
    };
    // As with a folder from before the rotation, and with one of another replica that was as quick.
    for others in [false, true] {
        std::fs::remove_dir_all(&folder).unwrap();
        if others {
            make(app.workloads.dir(), &app.fixed.trust_domain, 2, app.fixed.workload.issuer_life, NOW)
                .unwrap();
            assert_ne!(std::fs::read(folder.join("issuing.key")).unwrap(), key);
        }
        assert_eq!(begun_anew().await.unwrap().standings(), app.workloads.standings());
        assert_eq!(std::fs::read(folder.join("issuing.key")).unwrap(), key);
    }
    // Without the key of the store's secrets it is told.
    std::fs::remove_dir_all(&folder).unwrap();
    let (dir, rules) = (app.workloads.dir(), app.fixed.workload.rules());
    let locked = Vault::locked();
    let domain = &app.fixed.trust_domain;
    assert!(crate::app::workloads::open(&app.store, &locked, dir, domain, rules, stamp()).await.is_err());
}

#[tokio::test]
async fn keys_from_before_there_was_a_place_for_them_are_left_in_the_store() {
    let bench = Bench::following().await;
    let app = &bench.app;
    let mut before = app.workloads.standings();
    let first = before.all[0].secret.take();
    bench.write(move |tx| Ok(tx.workload_issuers_put(&before)?)).await;
    app.turn_workloads().await.unwrap();
    let secret = app.workloads.standings().all[0].secret;
    assert!(secret.is_some() && secret != first);
    let keys = app.store.read(|tx| tx.secret_of_issuer(1).map_err(Error::from)).await.unwrap().unwrap();
    let folder = app.workloads.dir().join("workload/1");
    let here = ["issuing.key", "jwt.key"].map(|name| std::fs::read(folder.join(name)).unwrap());
    assert_eq!(*app.vault.decrypt(&keys).unwrap(), here.concat());
}

#[tokio::test]
async fn a_rotation_that_was_stored_and_not_taken_in_comes_into_force_at_the_next_turn() {
    let bench = Bench::new().await; // it does not follow its store by itself
    let app = &bench.app;
    let made = make(app.workloads.dir(), &app.fixed.trust_domain, 2, app.fixed.workload.issuer_life, NOW);
    let keys = keys_of(app.workloads.dir(), 2).unwrap().unwrap();
    let secret = app.vault.encrypt(SecretId::from_u128(9), &keys).unwrap();
    let stored = Issuers::first(Issuer { secret: Some(secret.id), ..made.unwrap() });
    let put = stored.clone();
    bench
        .write(move |tx| {
            tx.secret_put(&secret)?;
            Ok(tx.workload_issuers_put(&put)?)
        })
        .await;
    assert_eq!(app.workloads.standings().newest, 1);
    app.turn_workloads().await.unwrap();
    assert_eq!(app.workloads.standings(), stored);
    let known = app.store.read(|tx| tx.workload_issuers().map_err(Error::from)).await.unwrap();
    assert_eq!(known, stored);
    assert!(!app.workloads.dir().join("workload/1").exists(), "and the keys of the former are gone");
}
