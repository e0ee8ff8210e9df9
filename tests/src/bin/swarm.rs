//! Hosts of a swarm in a process of their own, of which there can be several: a process has
//! only so many descriptors. `muster-swarm FIRST LAST AT_ONCE JOIN_STRING`: hosts FIRST to
//! LAST of the fleet, the last one excluded, are this process's to make.
//!
//! It does what it is told on standard input, and says a line when that is done:
//! `enroll N` (N hosts more), `open ADDRESS,ADDRESS` (sessions of those that have none, with
//! whichever of these control planes), `received N` (waits until its hosts were offered so many
//! items), `counts` (heartbeats sent, sessions lost, items offered, sessions opened). It ends with
//! its input.
#![allow(clippy::print_stdout)]

use std::{net::SocketAddr, ops::Range, sync::atomic::Ordering, time::Duration};

use anyhow::{Context as _, bail, ensure};
use muster_common::join::JoinString;
use muster_tests::{
    limits,
    swarm::{self, Counters, Identity, Swarm},
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(600);

struct Hosts {
    join: JoinString,
    /// Those that are not enrolled yet.
    left: Range<usize>,
    at_once: usize,
    waiting: Vec<Identity>,
    swarms: Vec<Swarm>,
}

fn main() -> anyhow::Result<()> {
    limits::raise_open_files();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [first, last, at_once, join] = args.as_slice() else { bail!("FIRST LAST AT_ONCE JOIN_STRING") };
    let (left, join) = (first.parse()?..last.parse()?, join.parse()?);
    let mut hosts = Hosts { join, left, at_once: at_once.parse()?, waiting: Vec::new(), swarms: Vec::new() };
    // Its threads drive the sessions also while the next order is waited for.
    let runtime = tokio::runtime::Runtime::new()?;
    for line in std::io::stdin().lines() {
        println!("{}", runtime.block_on(hosts.told(&line?))?);
    }
    Ok(())
}

impl Hosts {
    async fn told(&mut self, line: &str) -> anyhow::Result<String> {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["enroll", count] => self.enroll(count.parse()?).await,
            ["open", addresses] => self.open(addresses).await,
            ["received", count] => self.received(count.parse()?).await,
            ["counts"] => {
                let counts = [
                    self.sum(|it| it.beats.load(Ordering::Relaxed)),
                    self.sum(|it| it.lost.load(Ordering::Relaxed)),
                    self.sum(|it| it.received.load(Ordering::Relaxed)),
                    self.sum(|it| it.opened.load(Ordering::Relaxed)),
                ];
                Ok(counts.map(|count| count.to_string()).join(" "))
            }
            _ => bail!("{line:?} is no order"),
        }
    }

    async fn enroll(&mut self, count: usize) -> anyhow::Result<String> {
        let end = self.left.start + count;
        ensure!(end <= self.left.end, "more hosts than this process may make");
        let joins = std::slice::from_ref(&self.join);
        self.waiting.extend(swarm::enroll_dealt(joins, self.left.start..end).await?);
        self.left.start = end;
        Ok("enrolled".to_owned())
    }

    async fn open(&mut self, addresses: &str) -> anyhow::Result<String> {
        let addresses: Vec<SocketAddr> = addresses.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let identities = std::mem::take(&mut self.waiting);
        let (swarm, all) = (Swarm::start_at(&addresses, &identities, self.at_once), identities.len() as u64);
        let counters = &swarm.counters;
        ensure!(counters.reach(&counters.opened, all, LIMIT).await, "not all sessions came up");
        self.swarms.push(swarm);
        Ok("open".to_owned())
    }

    async fn received(&self, count: u64) -> anyhow::Result<String> {
        let all = async {
            while self.sum(|it| it.received.load(Ordering::Relaxed)) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LIMIT, all).await.context("not all hosts were offered it")?;
        Ok("received".to_owned())
    }

    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.swarms.iter().map(|swarm| of(&swarm.counters)).sum()
    }
}
