//! Faults of the network between hosts, control plane, operators and database, each party in
//! a network namespace of its own: what happens meanwhile is recorded, and what must hold of
//! every history is asked of it when all is well again.
//!
//! One short round for each engine of the store in CI; `make soak` has it go on for
//! `MUSTER_NETWORK_SECONDS`. The seed decides which trouble comes when.

mod afar;
mod client;
mod ending;
mod figures;
mod hosts;
mod lab;
mod nemesis;
mod orders;
mod outcast;
mod seats;
mod values;
mod watchers;
mod whom;
mod writers;

use std::time::Duration;

use muster_tests::{
    faults::{Fate, Fault, Way, With},
    history::check::judge,
    netns::{Namespace, Network},
};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{number, report};
use figures::Round;
use lab::{Engine, Lab};
use nemesis::Nemesis;

/// Control planes on one PostgreSQL.
const PLANES: usize = 3;
/// Seconds of trouble, in CI.
const SECONDS: u64 = 10;
/// So many are enough for some quiet in the middle of them.
const LONG: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_hold_holds_over_faults_of_the_network_on_sqlite() {
    Box::pin(round(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_hold_holds_over_faults_of_the_network_on_postgresql() {
    Box::pin(round(Engine::Postgres)).await;
}

async fn round(engine: Engine) {
    let _alone = crate::ALONE.lock().await;
    let seconds = number("MUSTER_NETWORK_SECONDS", SECONDS);
    let seed = number("MUSTER_SEED", rand::rng().next_u64() % 1_000_000);
    eprintln!("network: {engine:?}, {seconds} seconds of trouble, MUSTER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let planes = if engine == Engine::Postgres { PLANES } else { 1 };
    let lab = Lab::new(engine, planes, seed).await;
    let parties = lab.begin(&mut random).await;
    let mut nemesis = Nemesis::new(&lab, &mut random);
    nemesis.keep_quiet(&lab).await;
    let begun = lab.recorder.now();
    let (within, half) = (Duration::from_secs(seconds), Duration::from_secs(seconds / 2));
    let mut is_late = false;
    while lab.recorder.now() < begun + within {
        if !is_late && lab.recorder.now() > begun + half {
            is_late = true;
            if seconds >= LONG {
                nemesis.keep_quiet(&lab).await;
            }
        }
        let strike = nemesis.strike(&lab, random.random_range(Nemesis::lengths(seconds)), &mut random);
        let bar = async {
            if is_late {
                lab.bar_the_outcasts().await;
            }
        };
        tokio::join!(strike, bar);
    }
    parties.end_writers().await;
    ending::settle(&lab, &parties.writers).await;
    ending::tell(&lab, &parties).await;
    let history = lab.recorder.history();
    let verdicts = judge(&history);
    let (nemesis, lab) = (&nemesis, &lab);
    let round =
        Round { lab, nemesis, parties: &parties, seed, seconds, history: &history, verdicts: &verdicts };
    let text = round.table();
    eprintln!("{text}");
    report(&format!("network-{}.md", engine.name()), &text);
    let broken: Vec<_> = verdicts
        .iter()
        .flat_map(|verdict| verdict.broken.iter().map(move |how| format!("{}: {how}", verdict.name)))
        .collect();
    if !broken.is_empty() {
        report(&format!("network-{}-{seed}.history", engine.name()), &format!("{history:#?}"));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    for verdict in &verdicts {
        assert!(verdict.looked_at > 0, "nothing was seen of {}: {}", verdict.name, verdict.promise);
    }
    figures::enough_happened(&history, seconds);
}

/// Whether a host reaches another one within so many seconds: it asks it something, and has an
/// answer.
fn reaches(from: &Namespace, to: &Namespace, within: &str) -> bool {
    let address = to.address().to_string();
    let mut ask = from.command("timeout");
    // A port that nobody listens on says so at once, if it is reached.
    let line = format!("exec 3<>/dev/tcp/{address}/9");
    let told = ask.args([within, "bash", "-c", &line]).output().expect("there is an ip");
    String::from_utf8_lossy(&told.stderr).contains("refused")
}

#[test]
fn faults_of_a_namespace_are_what_they_are_called() {
    let network = Network::create();
    let (near, far) = (network.join(), network.join());
    let suffer = |fate, way, with| near.suffer(Fault { fate, way, with });
    let there = || reaches(&near, &far, "10");
    let back = || reaches(&far, &near, "10");
    let not_there = || !reaches(&near, &far, "0.5");
    let not_back = || !reaches(&far, &near, "0.5");
    assert!(there() && back(), "nothing is in the way yet");
    suffer(Fate::Dropped, Way::Both, With::Everybody);
    assert!(not_there() && not_back(), "all is dropped");
    suffer(Fate::Dropped, Way::In, With::Port(9));
    assert!(there() && not_back(), "a port of it is not heard");
    suffer(Fate::Dropped, Way::Out, With::Address(far.address()));
    assert!(not_there() && not_back(), "it hears and is not heard");
    suffer(Fate::Lost(0), Way::Both, With::Everybody);
    assert!(there(), "nothing of a hundred is lost");
    suffer(Fate::Lost(99), Way::Both, With::Everybody);
    assert!(not_there(), "all but one of a hundred are lost");
    near.mend();
    assert!(there() && back(), "all is well again");
    drop((near, far, network));
}
