//! Commands as a model: the real parts of both programs in one process, and everything
//! that may go wrong between them, from one seed.
//!
//! Real are the agent's ledger, its commands task and its session over a way in memory;
//! the control plane's sessions, use-cases, decisions and store. What orders do is counted
//! where nothing is ever taken back. No thread but the story's decides what comes next, so a
//! seed tells the same story again; only the moment of heartbeats, which decide when reports
//! without an answer are said again, and the order of acknowledgements are chance.
//!
//! 200 seeds in CI, `MUSTER_SEEDS` of them in `make soak`; `MUSTER_SEED` repeats one.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod begin;
mod deeds;
mod events;
mod host;
mod plane;
mod story;
mod told;
mod truth;
mod way;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_common::clock::Clock;
use muster_tests::binaries::repository;
use rand::Rng as _;

use story::Story;
use told::Told;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Tells one story; a fault in it comes with its seed and all that led to it.
fn tell(seed: u64) -> Result<Told, String> {
    let mut story = Story::new(seed);
    let told = catch_unwind(AssertUnwindSafe(|| story.tell()));
    told.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("MUSTER_SEED={seed}: {}\n{}", text.unwrap_or_default(), story.trace().join("\n"))
    })
}

#[test]
fn every_command_is_done_at_most_once_and_ends_once_whatever_happens() {
    let single = number("MUSTER_SEED");
    let first = single.unwrap_or_else(|| u64::from(rand::rng().next_u32()));
    let seeds = if single.is_some() { 1 } else { number("MUSTER_SEEDS").unwrap_or(200) };
    eprintln!("model: {seeds} seeds from MUSTER_SEED={first}");
    let (next, begun) = (AtomicU64::new(0), Clock::System.monotonic());
    let (all, faults) = (Mutex::new(Told::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(4, |cores| 2 * cores.get()) {
            scope.spawn(|| {
                muster_common::tasks::block_in_place();
                while faults.lock().unwrap().is_empty() {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= seeds {
                        return;
                    }
                    match tell(first + n) {
                        Ok(told) => all.lock().unwrap().add(&told),
                        Err(fault) => faults.lock().unwrap().push(fault),
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    let seconds = (Clock::System.monotonic() - begun).as_secs_f64();
    let report = all.into_inner().unwrap().print(seeds, first, seconds);
    eprintln!("{report}");
    let folder = repository().join("target/soak");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("commands-model.md"), report).unwrap();
}
