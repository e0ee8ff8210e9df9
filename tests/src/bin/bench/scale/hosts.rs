//! Hosts in several processes.

use std::net::SocketAddr;

use anyhow::bail;
use muster_common::join::JoinString;

use crate::{AT_ONCE, sessions::Bare};

/// Hosts, dealt out to processes.
pub(super) struct Hosts {
    processes: Vec<Bare>,
    /// How many there are.
    count: usize,
}

/// What the hosts of a process have counted so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) beats: u64,
    pub(super) lost: u64,
    /// Items that they were offered.
    pub(super) offered: u64,
}

impl Hosts {
    /// Processes that make `most` hosts in all, at most.
    pub(super) fn new(processes: usize, most: usize, join: &JoinString) -> anyhow::Result<Self> {
        let (each, at_once) = (most.div_ceil(processes), (AT_ONCE / processes).max(1).to_string());
        let process = |n: usize| {
            let (first, last) = ((n * each).to_string(), ((n + 1) * each).to_string());
            Bare::start_of("muster-swarm", &[&first, &last, &at_once, &join.to_string()])
        };
        Ok(Self { processes: (0..processes).map(process).collect::<anyhow::Result<_>>()?, count: 0 })
    }

    /// Gives identities to as many hosts as are missing to this number.
    pub(super) async fn enroll(&mut self, size: usize) -> anyhow::Result<()> {
        let (before, all) = (self.count, self.processes.len());
        self.count = size;
        self.all(|n| format!("enroll {}", share(size, all, n) - share(before, all, n))).await.map(drop)
    }

    /// Opens the sessions of all that have none.
    pub(super) async fn open(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.all(|_| format!("open {address}")).await.map(drop)
    }

    /// Waits until each host was offered one item more than when these were counted.
    pub(super) async fn received(&mut self, before: &[Counts]) -> anyhow::Result<()> {
        let (all, processes) = (self.count, self.processes.len());
        let target = |n: usize| before[n].offered + share(all, processes, n) as u64;
        self.all(|n| format!("received {}", target(n))).await.map(drop)
    }

    /// What each process has counted.
    pub(super) async fn counts(&mut self) -> anyhow::Result<Vec<Counts>> {
        let told = self.all(|_| "counts".to_owned()).await?;
        told.iter().map(|line| Counts::read(line)).collect()
    }

    /// Tells all of them, and waits for the answers of all.
    async fn all(&mut self, order: impl Fn(usize) -> String) -> anyhow::Result<Vec<String>> {
        for (n, process) in self.processes.iter_mut().enumerate() {
            process.say(&order(n))?;
        }
        let mut processes = std::mem::take(&mut self.processes);
        let (processes, told) = tokio::task::spawn_blocking(move || {
            let told: anyhow::Result<Vec<String>> = processes.iter_mut().map(Bare::line).collect();
            (processes, told)
        })
        .await?;
        self.processes = processes;
        told
    }
}

impl Counts {
    fn read(line: &str) -> anyhow::Result<Self> {
        let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [beats, lost, offered] = numbers.as_slice() else { bail!("{line:?} is not three numbers") };
        Ok(Self { beats: *beats, lost: *lost, offered: *offered })
    }
}

/// How many of `all` the process `n` of several has.
fn share(all: usize, processes: usize, n: usize) -> usize {
    all * (n + 1) / processes - all * n / processes
}
