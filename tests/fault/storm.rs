//! A restart storm: all control planes, and their database, end at once and are started again. The
//! whole fleet comes back by the backoff of its own agents, while operators call at a steady rate
//! as soon as anybody answers. Nobody is said to be offline, everybody is back in time, and the
//! operators are served.
//!
//! Small in CI; whole with `MUSTER_STORM` sessions of one control plane on a file, and
//! `MUSTER_STORM_REPLICAS` of three on PostgreSQL, dialled directly.

mod fleet;
mod operators;
mod seen;
mod watcher;

use std::time::Duration;

use muster_common::clock::Clock;
use rand::Rng as _;

use crate::{number, report};
use fleet::{Ending, Fleet};
use operators::Callers;
use seen::{Seen, Storm};
use watcher::Watcher;

/// Sessions in CI.
const FEW: u64 = 150;
/// Replicas where there are several.
const COUNT: usize = 3;
/// Calls of operators while nothing goes on, with which those of the storm are compared.
const CALM: usize = 50;
/// The same of a fleet that is measured.
const CALM_WHOLE: usize = 1000;
/// Of so many sessions one may end without a word when its process is told to end: on a busy machine some are
/// cut off before they are told.
const UNTOLD: u64 = 50;
/// Of a hundred calls ninety-nine take no longer in the storm. Whoever starves waits for longer.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_is_started_anew_has_its_whole_fleet_back_and_serves_operators_meanwhile() {
    run(1, number("MUSTER_STORM", FEW), "storm-one.md").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_all_end_with_their_database_have_the_whole_fleet_back_and_serve_operators_meanwhile() {
    run(COUNT, number("MUSTER_STORM_REPLICAS", FEW), "storm-replicas.md").await;
}

async fn run(planes: usize, sessions: u64, file: &str) {
    let _alone = crate::ALONE.lock().await;
    let seed = number("MUSTER_SEED", rand::rng().next_u64() % 1_000_000);
    eprintln!("storm: {sessions} sessions of {planes} control planes, MUSTER_SEED={seed}");
    let mut fleet = Fleet::start(planes, usize::try_from(sessions).unwrap()).await;
    let mut seen = Seen::new(seed, sessions, planes, fleet.connected);
    let callers = Callers::start(&fleet, seed).await;
    callers.until(if fleet.is_whole() { CALM_WHOLE } else { CALM }).await;
    let calm = callers.end().await;
    assert!(calm.failed.is_empty(), "calls failed while nothing went on: {:?}", calm.failed);
    seen.calm(&calm);
    for ending in [Ending::Killed, Ending::Stopped] {
        let storm = storm(&mut fleet, ending, seed).await;
        eprintln!("storm: {ending:?}, all ready {:?} after it; {:?}", storm.ready, storm.crowd);
        seen.storm(storm);
    }
    let text = seen.print();
    eprintln!("{text}");
    report(file, &text);
    // First what was found, then whether it is good enough.
    seen.storms.iter().for_each(|storm| judge(storm, sessions));
}

/// Ends everything, starts it again, and looks on until all are back.
async fn storm(fleet: &mut Fleet, ending: Ending, seed: u64) -> Storm {
    let clock = Clock::System;
    let before = fleet.counts().await;
    let ended = clock.monotonic();
    fleet.end(ending).await;
    let down = clock.monotonic() - ended;
    let database = fleet.begin(ending).await;
    let (ready, ready_cpu) = (clock.monotonic(), fleet.cpu());
    let watcher = Watcher::start(fleet).await;
    let callers = Callers::start(fleet, seed).await;
    let crowd = fleet.come_back(ready).await;
    let back = clock.monotonic();
    let (cpu, memory) = (fleet.cpu(), fleet.memory());
    let calls = callers.end().await;
    let told = watcher.end().await;
    let after = fleet.counts().await;
    Storm {
        ending,
        down,
        database,
        ready: ready - ended,
        back: back - ended,
        crowd,
        cpu: cpu.iter().zip(&ready_cpu).map(|(all, ready)| (*ready, *all)).collect(),
        memory,
        calls,
        told,
        opened: after.opened - before.opened,
        lost: after.lost - before.lost,
        door: fleet.door().await,
    }
}

fn judge(storm: &Storm, sessions: u64) {
    let Storm { ending, calls, told, .. } = storm;
    assert!(told.events >= sessions, "{ending:?}: the watcher was told of {} nodes", told.events);
    assert!(told.gone.is_empty(), "{ending:?}: nobody is gone: {:?}", told.gone);
    assert!(storm.opened >= sessions, "{ending:?}: {} sessions were opened anew", storm.opened);
    match ending {
        Ending::Killed => assert!(storm.lost >= sessions, "{} sessions broke", storm.lost),
        Ending::Stopped => {
            assert!(storm.lost * UNTOLD <= sessions, "{} were not told to come back", storm.lost);
        }
    }
    assert!(calls.failed.is_empty(), "{ending:?}: calls of operators failed: {:?}", calls.failed);
    let all = calls.all();
    assert!(
        all.p99 < SERVED_WITHIN,
        "{ending:?}: of {} calls one in a hundred took {:?}",
        all.count,
        all.p99
    );
}
