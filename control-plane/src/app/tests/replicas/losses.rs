//! Many nodes lost at once, which the replica that leads tells of, or the next one that does.

use muster_domain::{audit::Filter, mass_loss::Limits};
use muster_store::ReadAudit as _;

use super::*;

async fn told(bench: &Bench) -> usize {
    let filter = Filter { action_prefix: "fleet.mass_loss".to_owned(), ..Filter::default() };
    let read =
        bench.app.store.read(move |tx| Ok::<_, crate::app::Error>(tx.audit_after(0, &filter, 9)?.len()));
    read.await.unwrap()
}

/// Both see that twenty nodes are lost and no more follow, and the second one leaves it to the first.
async fn lost(pair: &(Bench, Bench)) {
    for number in 1..=20 {
        let id = pair.0.node(number).await;
        pair.1.app.follow().await.unwrap();
        for bench in [&pair.0, &pair.1] {
            bench.app.fleet.with(id, |entry| bench.app.lost(&entry, liveness::State::Online)).unwrap();
        }
    }
    let limits = Limits::from_interval(pair.0.app.fixed.session.heartbeat_interval);
    pass(limits.quiet, &[&pair.0, &pair.1]).await;
    assert!(pair.0.app.leads() && !pair.1.app.leads());
    pair.1.app.tell_losses().await.unwrap();
    assert_eq!(told(&pair.1).await, 0);
}

#[tokio::test]
async fn a_mass_loss_that_nobody_told_of_is_told_by_the_next_one_that_leads() {
    let pair = Bench::pair().await;
    lost(&pair).await;
    pass(LEASE + BEAT, &[&pair.1]).await;
    assert!(pair.1.app.leads());
    for _ in 0..2 {
        pair.1.app.tell_losses().await.unwrap();
        assert_eq!(told(&pair.1).await, 1, "once");
    }
}

#[tokio::test]
async fn a_mass_loss_that_was_told_of_is_not_told_again_by_the_next_one_that_leads() {
    let pair = Bench::pair().await;
    lost(&pair).await;
    pair.0.app.tell_losses().await.unwrap();
    assert_eq!(told(&pair.1).await, 1);
    pass(LEASE + BEAT, &[&pair.1]).await;
    assert!(pair.1.app.leads());
    pair.1.app.tell_losses().await.unwrap();
    assert_eq!(told(&pair.1).await, 1);
}
