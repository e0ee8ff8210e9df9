//! No upgrade bricks a host: at each step of it each fault, on booted hosts. Each time the host
//! ends with an agent that runs and has a session, without anybody's help once the fault is
//! over, and a version is blamed only for what it did itself.
//!
//! Small in CI: each step with one fault, each fault some times. `MUSTER_BRICK=all`: each with
//! each; another word: those of them that have it in what is printed of them.
//! `MUSTER_BRICK_HOSTS`: how many at once.

mod fetch;
mod lab;
mod matrix;
mod run;

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex, time::Duration};

use fetch::Fetching;
use lab::{Lab, Releases};
use matrix::Run;
use muster_common::clock::Clock;
use muster_node_agent::upgrader::machine::End;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use run::Ended;

use crate::number;

#[test]
fn no_fault_at_any_step_of_an_upgrade_leaves_a_host_without_its_agent() {
    let _alone = crate::ALONE.blocking_lock();
    let seed = number("MUSTER_SEED", rand::rng().next_u64() % 1_000_000);
    let mut random = StdRng::seed_from_u64(seed);
    let (runs, brought) = wanted(&mut random);
    let hosts = number("MUSTER_BRICK_HOSTS", 4);
    eprintln!("brick: {} upgrades by hand on {hosts} hosts, MUSTER_SEED={seed}", runs.len());
    let folder = tempfile::tempdir().unwrap();
    let releases = Releases::make(folder.path());
    let begun = Clock::System.monotonic();
    let count = runs.len() + brought.len();
    let (by_hand, bringing) = (hosts.min(runs.len() as u64), hosts.div_ceil(2).min(brought.len() as u64));
    let (left, brought, ended) = (Mutex::new(runs), Mutex::new(brought), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for host in 0..by_hand {
            let (left, ended, releases) = (&left, &ended, &releases);
            scope.spawn(move || on_one_host(seed + host, releases, left, ended));
        }
        for host in 0..bringing {
            let (brought, ended, releases) = (&brought, &ended, &releases);
            scope.spawn(move || on_one_that_brings(seed + hosts + host, releases, brought, ended));
        }
    });
    let ended = ended.into_inner().unwrap();
    assert_eq!(ended.len(), count);
    let report = report(&ended, seed, hosts, Clock::System.monotonic() - begun);
    eprintln!("{report}");
    crate::report("brick.md", &report);
}

/// Upgrades by hand, and such as are brought.
fn wanted(random: &mut StdRng) -> (Vec<Run>, Vec<Run>) {
    let Ok(word) = std::env::var("MUSTER_BRICK") else {
        return (matrix::sample(random), fetch::sample(random));
    };
    let is_wanted = |run: &Run| word == "all" || format!("{run:?}").contains(&word);
    let of = |runs: Vec<Run>| runs.into_iter().filter(is_wanted).collect();
    (of(matrix::all(random)), of(fetch::all()))
}

fn on_one_host(seed: u64, releases: &Releases, left: &Mutex<Vec<Run>>, ended: &Mutex<Vec<Ended>>) {
    runtime().block_on(async {
        let mut random = StdRng::seed_from_u64(seed);
        let mut lab = Lab::new(releases, None).await;
        while let Some(run) = next(left) {
            let over = lab.run(run, &mut random).await;
            note(over, ended);
        }
    });
}

fn on_one_that_brings(seed: u64, releases: &Releases, left: &Mutex<Vec<Run>>, ended: &Mutex<Vec<Ended>>) {
    runtime().block_on(async {
        let mut random = StdRng::seed_from_u64(seed);
        let mut host = Fetching::new(releases).await;
        while let Some(run) = next(left) {
            let over = host.run(run, &mut random).await;
            note(over, ended);
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn next(left: &Mutex<Vec<Run>>) -> Option<Run> {
    let next = left.lock().unwrap().pop();
    if let Some(run) = next {
        eprintln!("brick: begins {run:?}");
    }
    next
}

fn note(over: Ended, ended: &Mutex<Vec<Ended>>) {
    eprintln!("brick: {:?}: {} after {:?}", over.run, word(&over.end), over.took);
    ended.lock().unwrap().push(over);
}

fn word(end: &End) -> &'static str {
    match end {
        End::Committed => "kept",
        End::Refused(why) if why.kind.blames_version() => "refused, blamed",
        End::RolledBack(why) if why.kind.blames_version() => "went back, blamed",
        End::Refused(_) => "refused",
        End::RolledBack(_) => "went back",
        End::Failed(_) => "failed",
    }
}

fn report(ended: &[Ended], seed: u64, hosts: u64, took: Duration) -> String {
    let mut text = format!(
        "{} upgrades on {hosts} hosts, seed {seed}, {} s.\n\n| version | fault | upgrades | ends | longest until all was well, s |\n|---|---|---|---|---|\n",
        ended.len(),
        took.as_secs()
    );
    let mut rows: BTreeMap<_, Vec<&Ended>> = BTreeMap::new();
    for one in ended {
        rows.entry((one.run.version, one.run.fault)).or_default().push(one);
    }
    for ((version, fault), of) in rows {
        let mut ends: BTreeMap<_, usize> = BTreeMap::new();
        for one in &of {
            *ends.entry(word(&one.end)).or_default() += 1;
        }
        let ends: Vec<String> = ends.iter().map(|(word, count)| format!("{word} {count}")).collect();
        let longest = of.iter().map(|one| one.took.as_secs()).max().unwrap_or(0);
        let (count, ends) = (of.len(), ends.join(", "));
        let _ = writeln!(text, "| {version:?} | {fault:?} | {count} | {ends} | {longest} |");
    }
    text
}
