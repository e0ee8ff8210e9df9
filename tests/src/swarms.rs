//! A swarm in several processes, as one has only so many descriptors: each is `muster-swarm`.

use std::net::SocketAddr;

use anyhow::bail;
use muster_common::join::JoinString;

use crate::told::Told;

/// Hosts, dealt out to processes.
#[derive(Debug)]
pub struct Swarms {
    processes: Vec<Told>,
    /// How many there are.
    count: usize,
}

/// What the hosts of a process have counted so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Heartbeats that were sent.
    pub beats: u64,
    /// Sessions that broke, and nobody had said that they would end.
    pub lost: u64,
    /// Items that they were offered.
    pub offered: u64,
    /// Sessions that were opened.
    pub opened: u64,
}

impl Swarms {
    /// Processes that make `most` hosts in all, at most, and open `at_once` connections at a time.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn new(processes: usize, most: usize, at_once: usize, join: &JoinString) -> anyhow::Result<Self> {
        let (each, at_once) = (most.div_ceil(processes), (at_once / processes).max(1).to_string());
        let process = |n: usize| {
            let (first, last) = ((n * each).to_string(), ((n + 1) * each).to_string());
            Told::start("muster-swarm", &[&first, &last, &at_once, &join.to_string()])
        };
        Ok(Self { processes: (0..processes).map(process).collect::<anyhow::Result<_>>()?, count: 0 })
    }

    /// Gives identities to as many hosts as are missing to this number.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn enroll(&mut self, size: usize) -> anyhow::Result<()> {
        let (before, all) = (self.count, self.processes.len());
        self.count = size;
        self.all(|n| format!("enroll {}", share(size, all, n) - share(before, all, n))).await.map(drop)
    }

    /// Opens the sessions of all that have none, with control planes that serve one store.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn open(&mut self, addresses: &[SocketAddr]) -> anyhow::Result<()> {
        let all: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        self.all(|_| format!("open {}", all.join(","))).await.map(drop)
    }

    /// Waits until each host was offered one item more than when these were counted.
    ///
    /// # Errors
    /// If that takes too long.
    pub async fn received(&mut self, before: &[Counts]) -> anyhow::Result<()> {
        let (all, processes) = (self.count, self.processes.len());
        let target = |n: usize| before[n].offered + share(all, processes, n) as u64;
        self.all(|n| format!("received {}", target(n))).await.map(drop)
    }

    /// What each process has counted.
    ///
    /// # Errors
    /// If one has ended.
    pub async fn counts(&mut self) -> anyhow::Result<Vec<Counts>> {
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
            let told: anyhow::Result<Vec<String>> = processes.iter_mut().map(Told::line).collect();
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
        let [beats, lost, offered, opened] = numbers.as_slice() else {
            bail!("{line:?} is not four numbers")
        };
        Ok(Self { beats: *beats, lost: *lost, offered: *offered, opened: *opened })
    }
}

/// How many of `all` the process `n` of several has.
fn share(all: usize, processes: usize, n: usize) -> usize {
    all * (n + 1) / processes - all * n / processes
}
