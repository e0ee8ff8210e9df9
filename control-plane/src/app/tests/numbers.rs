//! Numbers are taken where it happens, once.

use std::time::Duration;

use muster_common::{clock::Clock, ids::NodeId};
use muster_domain::{command::State, liveness::Event, rollout::Share};

use super::{
    bench::{Bench, hello, ledger, said},
    rollouts::{Fleet, plan, version},
};
use crate::session::{
    frames::{Heartbeat, Load},
    hub::Handle,
    ports::{Closed, Inbox as _},
};

const INTERVAL: Duration = Duration::from_secs(15);

fn beat(seq: u64) -> Heartbeat {
    Heartbeat { seq, state_hash: None, load: Load::default(), conditions: Vec::new() }
}

fn shows(bench: &Bench, line: &str) {
    let text = bench.app.metrics.encode();
    assert!(text.lines().any(|it| it == line), "{line} is missing in {text}");
}

/// A node whose stream is open and silent, by the clock of the sweeps.
fn told_offline(bench: &Bench, id: NodeId) {
    let silent = Clock::System.monotonic() + INTERVAL * 3;
    for _ in 0..2 {
        bench.app.fleet.with(id, |mut entry| bench.app.observe(&mut entry, Event::Tick, silent));
    }
}

fn connected(bench: &Bench, id: NodeId) -> Handle {
    bench.hello(id, &hello(ledger(1, 1))).unwrap().0
}

#[tokio::test]
async fn a_node_that_was_there_counts_as_told_wrong_and_one_that_came_back_does_not() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let session = connected(&bench, id);
    bench.app.heard(&session, beat(1));
    shows(&bench, "muster_heartbeat_lateness_seconds_bucket{le=\"0.0\"} 1");

    told_offline(&bench, id);
    shows(&bench, "muster_liveness_changes_total{state=\"offline\",reason=\"Silent\"} 1");
    bench.app.heard(&session, beat(2));
    shows(&bench, "muster_false_offline_total{how=\"heartbeat\"} 1");
    // It was not there for a while: what is late about it is told by its state.
    shows(&bench, "muster_heartbeat_lateness_seconds_count 1");

    told_offline(&bench, id);
    bench.app.clock.advance(INTERVAL);
    connected(&bench, id);
    shows(&bench, "muster_false_offline_total{how=\"session\"} 1");

    told_offline(&bench, id);
    bench.app.clock.advance(INTERVAL + Duration::from_millis(1));
    let session = connected(&bench, id);
    shows(&bench, "muster_false_offline_total{how=\"session\"} 1");
    bench.app.closed(&session, &Closed::Lost);
    shows(&bench, "muster_sessions_closed_total{why=\"lost\"} 1");
}

#[tokio::test]
async fn a_command_is_open_in_one_state_and_ends_once() {
    let bench = Bench::following().await;
    let id = bench.node(1).await;
    let session = connected(&bench, id);
    let order = bench.ordered().await.remove(0);
    bench.app.show_orders(&bench.app.sweep(None).orders);
    shows(&bench, "muster_commands{kind=\"run-script\",state=\"delivered\"} 1");
    bench.app.command(&session, said(&order, 1, State::Running)).unwrap();
    bench.app.command(&session, said(&order, 2, State::Failed)).unwrap();
    bench.app.record().await.unwrap();
    bench.app.command(&session, said(&order, 2, State::Failed)).unwrap();
    bench.app.record().await.unwrap();
    let stored = *bench.app.store.committed().borrow();
    assert!(bench.app.feed.reached(stored, Duration::from_secs(10)).await);
    bench.app.show_orders(&bench.app.sweep(None).orders);
    shows(&bench, "muster_commands{kind=\"run-script\",state=\"delivered\"} 0");
    shows(&bench, "muster_commands_ended_total{kind=\"run-script\",state=\"failed\",reason=\"\"} 1");
    shows(&bench, "muster_command_seconds_count{kind=\"run-script\"} 1");
}

#[tokio::test]
async fn what_a_rollout_brings_is_counted_by_node_and_by_change() {
    let fleet = Fleet::new(false).await;
    let bench = &fleet.bench;
    fleet.begin(Some(version(2)), plan(Share::Count(0))).await;
    bench.app.turn_rollouts().await.unwrap();
    fleet.answer(|_| true);
    bench.app.turn_rollouts().await.unwrap();
    bench.app.take_numbers();
    shows(bench, "muster_rollouts{phase=\"running\"} 1");
    shows(bench, "muster_rollout_nodes{outcome=\"done\"} 2");
    shows(bench, "muster_rollout_nodes{outcome=\"untouched\"} 18");
    // The two of the first step: the change is theirs alone.
    shows(bench, "muster_convergence_nodes{change=\"newest\"} 2");

    fleet.run(|_| true).await;
    let stored = *bench.app.store.committed().borrow();
    assert!(bench.app.feed.reached(stored, Duration::from_secs(10)).await);
    bench.app.take_numbers();
    shows(bench, "muster_rollouts_ended_total{phase=\"succeeded\"} 1");
    shows(bench, "muster_rollouts{phase=\"running\"} 0");
    shows(bench, "muster_rollout_nodes{outcome=\"done\"} 0");
    shows(bench, "muster_feed_behind_revisions 0");
    shows(bench, "muster_replicas 1");
}
