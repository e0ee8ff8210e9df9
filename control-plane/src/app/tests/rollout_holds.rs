//! What keeps a rollout from going on: the network, and the hosts' clocks.

use std::time::Duration;

use muster_common::{
    clock::UnixMillis,
    ids::{NodeId, SecretId},
};
use muster_domain::{
    condition::Condition,
    liveness::{Event, State},
    rollout::{Hold, Phase, Plan, Share, Window},
    secret::{Secret, SecretUse},
};
use muster_store::{WriteSecrets as _, WriteTx};

use super::{
    bench::whole,
    rollouts::{Fleet, item, plan, version},
};
use crate::{
    app::rollouts::Seen,
    session::ports::{Closed, Inbox as _},
};

impl Fleet {
    async fn seen(&self, id: muster_common::ids::RolloutId) -> Seen {
        self.bench.app.rollout(&whole(), id).await.unwrap()
    }

    /// These fall silent without a word, and are given up.
    fn lose(&self, nodes: &[NodeId]) {
        let app = &self.bench.app;
        let later = app.clock.monotonic() + Duration::from_secs(60);
        for node in nodes {
            app.closed(&self.sessions[node], &Closed::Lost);
            app.fleet.with(*node, |mut entry| app.observe(&mut entry, Event::Tick, later));
            assert_eq!(app.node(&whole(), *node).unwrap().node.liveness.state, State::Offline);
        }
    }

    /// As its agent tells it, with a clock in step.
    fn pause(&self, node: NodeId, holds: bool) {
        let since = self.bench.app.clock.now();
        let told = |kind: &str, holds| Condition {
            kind: kind.to_owned(),
            holds: Some(holds),
            reason: String::new(),
            message: String::new(),
            since,
        };
        let conditions = vec![told("ClockOk", true), told("Paused", holds)];
        self.bench.app.fleet.with(node, |mut entry| entry.conditions = conditions).unwrap();
    }

    fn nodes(&self, is_touched: bool) -> Vec<NodeId> {
        let of = |id: &&NodeId| {
            self.bench.app.fleet.with(**id, |entry| entry.node.touches.is_empty() != is_touched).unwrap()
        };
        self.sessions.keys().filter(of).copied().collect()
    }
}

#[tokio::test]
async fn nodes_that_vanish_together_freeze_a_rollout_and_do_not_turn_it_round() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    fleet.answer(|_| true);
    let (touched, untouched) = (fleet.nodes(true), fleet.nodes(false));
    assert_eq!((touched.len(), untouched.len()), (2, 18));
    fleet.lose(&[&touched[..1], &untouched[..3]].concat());
    // However long they stay away.
    for _ in 0..3 {
        fleet.bench.app.turn_rollouts().await.unwrap();
        let seen = fleet.seen(id).await;
        assert_eq!(seen.waits_for, Some(Hold::Vanished { count: 3 }));
        assert_eq!((seen.rollout.phase, seen.tally.failed), (Phase::Running, 0));
        fleet.bench.app.clock.advance(Duration::from_secs(3600));
    }
}

#[tokio::test]
async fn one_that_vanishes_after_it_got_a_change_turns_it_round() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    fleet.answer(|_| true);
    fleet.lose(&[&fleet.nodes(true)[..1], &fleet.nodes(false)[..2]].concat());
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_eq!(fleet.seen(id).await.rollout.phase, Phase::Running, "others may fall silent, too");
    fleet.bench.app.clock.advance(Duration::from_secs(61));
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert!(matches!(fleet.seen(id).await.rollout.phase, Phase::RollingBack | Phase::RolledBack));
}

#[tokio::test]
async fn a_host_that_is_paused_is_not_waited_for_and_does_not_fail_a_rollout() {
    let fleet = Fleet::new(false).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    let resting = *fleet.sessions.keys().next().unwrap();
    fleet.pause(resting, true);
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert!(!fleet.nodes(true).contains(&resting), "what rests is not touched");
    // Another one rests after it was given the change, for longer than it has to answer.
    let given = fleet.nodes(true)[0];
    fleet.pause(given, true);
    fleet.answer(|_| true);
    fleet.bench.app.clock.advance(Duration::from_secs(24 * 3600));
    fleet.bench.app.turn_rollouts().await.unwrap();
    let seen = fleet.seen(id).await;
    assert_eq!(
        (seen.rollout.phase, seen.tally.failed, seen.tally.excused),
        (Phase::Running, 0, 1),
        "{seen:?}"
    );
    let explained = fleet.bench.app.explain_item(&whole(), given, item()).await.unwrap();
    assert!(explained.reasons.iter().any(|it| it.about == "Paused" && !it.holds), "{explained:?}");

    fleet.pause(given, false);
    fleet.bench.app.turn_rollouts().await.unwrap();
    let seen = fleet.seen(id).await;
    assert_eq!(
        (seen.rollout.phase, seen.tally.failed, seen.tally.excused),
        (Phase::Running, 0, 0),
        "{seen:?}"
    );
    fleet.bench.app.clock.advance(Duration::from_secs(24 * 3600));
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_ne!(
        fleet.seen(id).await.rollout.phase,
        Phase::Running,
        "its time counts from the end of the pause"
    );
}

#[tokio::test]
async fn nodes_wait_for_their_window_and_are_told_when_it_opens() {
    let fleet = Fleet::new(false).await;
    // The clock of these tests stands at 22:13:20 UTC; no host names a time zone.
    let window = Window { days: Vec::new(), start_minute: 23 * 60, minutes: 60 };
    let id = fleet.begin(Some(version(2)), Plan { windows: vec![window], ..plan(Share::Count(0)) }).await;
    fleet.bench.app.turn_rollouts().await.unwrap();
    let seen = fleet.seen(id).await;
    assert!(matches!(seen.waits_for, Some(Hold::Window { .. })), "{:?}", seen.waits_for);
    let opens = seen.opens_at.unwrap();
    assert_eq!(opens, UnixMillis(1_700_002_800_000), "23:00:00");
    assert_eq!(fleet.nodes(true), []);
    fleet.bench.app.clock.advance(opens.since(fleet.bench.app.clock.now()));
    fleet.bench.app.turn_rollouts().await.unwrap();
    assert_eq!(fleet.nodes(true).len(), 2);
}

#[tokio::test]
async fn a_key_that_is_missing_brings_a_change_to_no_further_node_and_fails_none() {
    let fleet = Fleet::new(false).await;
    let lost = |tx: &mut WriteTx<'_>| {
        let (id, key_id) = (SecretId::from_u128(1), "lost".to_owned());
        tx.secret_put(&Secret { id, key_id, sealed: Vec::new() })?;
        Ok(tx.secret_use("web", 2, &SecretUse { id, path: "/etc/key".to_owned() })?)
    };
    fleet.bench.write(lost).await;
    let id = fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    for _ in 0..3 {
        fleet.bench.app.turn_rollouts().await.unwrap();
        fleet.answer(|_| true);
        fleet.bench.app.clock.advance(Duration::from_secs(3600));
    }
    let seen = fleet.seen(id).await;
    assert_eq!((fleet.nodes(true).len(), seen.waits_for), (2, Some(Hold::Answers { count: 2 })));
    assert_eq!((seen.rollout.phase, seen.tally.failed), (Phase::Running, 0));
}
