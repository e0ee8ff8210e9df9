//! Those who watch rollouts.

use std::{sync::Arc, time::Duration};

use muster_common::reason::Reason;
use muster_domain::{
    access::{Permission, Scope},
    rollout::Share,
};

use super::{
    bench::whole,
    rollouts::{Fleet, plan, version},
};
use crate::app::Error;

#[tokio::test]
async fn all_who_watch_a_rollout_share_its_looks_and_each_is_asked_for_its_rights() {
    let fleet = Fleet::new(false).await;
    let app = &fleet.bench.app;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    let mut one = app.watch_rollout(&whole(), id).await.unwrap();
    let mut other = app.watch_rollout(&whole(), id).await.unwrap();
    let (first, second) = (one.look(&whole()).await.unwrap(), other.follow(&whole()).await.unwrap());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!((first.tally.touched, app.rollouts.watched()), (0, 1));
    app.turn_rollouts().await.unwrap();
    let moved = async {
        while one.look(&whole()).await.unwrap().is_none_or(|seen| seen.tally.touched == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), moved).await.expect("what moves is seen");

    let stranger = Scope::whole("operator/mallory", Permission::Read);
    let denied = other.follow(&stranger).await.map(drop);
    assert!(matches!(denied, Err(Error::Refused { reason: Reason::PermissionDenied, .. })), "{denied:?}");
    let elsewhere = Scope { reach: "env=nowhere".parse().unwrap(), ..whole() };
    let missing = other.look(&elsewhere).await.map(drop);
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    drop((one, other));
    fleet.bench.until(|| app.rollouts.watched() == 0).await;
}
