//! Issuers of programs' identities: who changes them at the same time, and what follows.

use futures_util::future::join_all;
use muster_common::reason::Reason;
use muster_store::{ReadWorkloadIssuers as _, WriteWorkloadIssuers as _};

use super::bench::{Bench, alice};
use crate::{app::Error, ca::workload::make};

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
async fn a_rotation_that_was_stored_and_not_taken_in_comes_into_force_at_the_next_turn() {
    let bench = Bench::new().await; // it does not follow its store by itself
    let app = &bench.app;
    let made = make(
        app.workloads.dir(),
        &app.fixed.trust_domain,
        2,
        app.fixed.workload.issuer_life,
        super::bench::NOW,
    );
    let stored = muster_domain::workload::Issuers::first(made.unwrap());
    let put = stored.clone();
    bench.write(move |tx| Ok(tx.workload_issuers_put(&put)?)).await;
    assert_eq!(app.workloads.standings().newest, 1);
    app.turn_workloads().await.unwrap();
    assert_eq!(app.workloads.standings(), stored);
    let known = app.store.read(|tx| tx.workload_issuers().map_err(Error::from)).await.unwrap();
    assert_eq!(known, stored);
    assert!(!app.workloads.dir().join("workload/1").exists(), "and the keys of the former are gone");
}
