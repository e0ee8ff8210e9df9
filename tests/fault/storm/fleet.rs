//! Control planes with their database and their hosts, all of which end and begin at once.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use muster_cluster::Cluster;
use muster_common::clock::{Clock, Instant};
use muster_proto::admin::v1::NodeCounts;
use muster_tests::{
    eventually::eventually,
    operator::Operator,
    plane::{Options, Plane, http_get},
    replicas::{Replicas, about},
    swarms::{Counts, Swarms},
};
use rustix::process::Signal;

/// Between heartbeats, where nothing is configured.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Waits of agents, where nothing is configured. A small fleet has shorter ones, as CI has no minute for it.
const RECONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A fleet that is not smaller than this is measured, and nothing of it is shortened.
const WHOLE: usize = 1000;
/// Sessions of one process of hosts: as many as it has descriptors for, and some to spare.
const PER_PROCESS: usize = 15_000;
/// Of the database: what a commit said is on the disk.
const DURABLE: &str = "fsync = on\nfull_page_writes = on\nshared_buffers = 256MB\nmax_wal_size = 1GB\n";
/// Until control planes that were told to end have ended.
const ENDED_WITHIN: Duration = Duration::from_secs(120);
/// Until they are ready again, with so many nodes to read.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// Until all are back: this, and a second for each so many sessions.
const BACK_WITHIN: Duration = Duration::from_secs(60);
const BACK_PER_SECOND: u32 = 50;
/// Between two looks at the fleet.
const LOOK: Duration = Duration::from_millis(100);

/// How everything ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By SIGKILL, the database, too.
    Killed,
    /// By SIGTERM: nodes are told when to come back. The database stays.
    Stopped,
}

/// All of it. Dropped: ended, hosts first.
pub(super) struct Fleet {
    swarms: Swarms,
    pub(super) planes: Vec<Plane>,
    database: Option<Cluster>,
    sessions: usize,
    /// How long it took until all were there for the first time.
    pub(super) connected: Duration,
    _folder: tempfile::TempDir,
}

/// How the fleet came back, since the control planes answered: until so many in a hundred were there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Crowd {
    pub(super) half: Duration,
    pub(super) most: Duration,
    pub(super) all: Duration,
}

/// What the nodes' doors count.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Door {
    pub(super) handshakes: u64,
    pub(super) turned_away: u64,
}

impl Fleet {
    pub(super) async fn start(count: usize, sessions: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = (count > 1).then(|| Cluster::start(DURABLE));
        let defaults = Options::default();
        let options = Options {
            store_url: database.as_ref().map(Cluster::database),
            heartbeat: HEARTBEAT,
            reconnect: if sessions < WHOLE { defaults.reconnect } else { RECONNECT },
            log: "warn".to_owned(),
            ..defaults
        };
        let planes = match count {
            1 => vec![Plane::start(folder.path(), &options).await],
            _ => Replicas::start(folder.path(), count, &options).await.planes,
        };
        let join = planes[0].join(i32::try_from(sessions).unwrap(), &[]).await;
        // Nothing but the agents' own backoff keeps them from coming all at once.
        let processes = sessions.div_ceil(PER_PROCESS).max(2);
        let mut swarms = Swarms::new(processes, sessions, sessions, &join).unwrap();
        swarms.enroll(sessions).await.unwrap();
        let addresses: Vec<SocketAddr> = planes.iter().map(|plane| plane.addresses().agents).collect();
        let begun = Clock::System.monotonic();
        swarms.open(&addresses).await.unwrap();
        let connected = Clock::System.monotonic() - begun;
        let fleet = Self { swarms, planes, database, sessions, connected, _folder: folder };
        // Who is slow to come in for the first time may be gone in between.
        fleet.until_all_are_online(begun, |_| ()).await;
        fleet
    }

    /// Whether it is measured.
    pub(super) const fn is_whole(&self) -> bool {
        self.sessions >= WHOLE
    }

    pub(super) async fn operators(&self) -> Vec<Operator> {
        join_all(self.planes.iter().map(Plane::operator)).await
    }

    /// Ends all control planes at once.
    pub(super) async fn end(&mut self, ending: Ending) {
        let signal = if ending == Ending::Killed { Signal::KILL } else { Signal::TERM };
        self.planes.iter_mut().for_each(|plane| plane.process().signal(signal));
        if let (Some(database), Ending::Killed) = (&self.database, ending) {
            tokio::task::block_in_place(|| database.kill());
        }
        for plane in &mut self.planes {
            let process = plane.process();
            let ended = || std::future::ready(process.has_ended());
            eventually("the control plane has ended", ENDED_WITHIN, ended).await;
        }
    }

    /// Starts all that has ended, and waits until all control planes are ready; answers how long the
    /// database took of that.
    pub(super) async fn begin(&mut self, ending: Ending) -> Duration {
        let begun = Clock::System.monotonic();
        if let (Some(database), Ending::Killed) = (&self.database, ending) {
            tokio::task::block_in_place(|| database.start_again());
        }
        let database = Clock::System.monotonic() - begun;
        self.planes.iter_mut().for_each(|plane| plane.launch(&[]));
        join_all(self.planes.iter().map(|plane| plane.ready_within(READY_WITHIN))).await;
        database
    }

    /// Waits until each control plane shows all nodes online, and never one that is gone.
    pub(super) async fn come_back(&self, since: Instant) -> Crowd {
        let nobody_is_gone = |nodes: &NodeCounts| {
            assert_eq!((nodes.offline, nodes.expired), (0, 0), "nobody is gone: {nodes:?}");
        };
        self.until_all_are_online(since, nobody_is_gone).await
    }

    async fn until_all_are_online(&self, since: Instant, look: impl Fn(&NodeCounts)) -> Crowd {
        let operators = self.operators().await;
        let within =
            BACK_WITHIN + Duration::from_secs(1) * u32::try_from(self.sessions).unwrap() / BACK_PER_SECOND;
        let (mut crowd, all) = (Crowd::default(), i64::try_from(self.sessions).unwrap());
        loop {
            let mut least = all;
            for operator in &operators {
                let nodes = about(operator).await.nodes.unwrap();
                look(&nodes);
                least = least.min(nodes.online);
            }
            let took = Clock::System.monotonic() - since;
            for (share, at) in [(50, &mut crowd.half), (99, &mut crowd.most), (100, &mut crowd.all)] {
                if at.is_zero() && least * 100 >= all * share {
                    *at = took;
                }
            }
            if least == all {
                return crowd;
            }
            assert!(took < within, "in {within:?} {least} of {all} came back");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Processor time of each control plane since its start, and of the database at the end.
    pub(super) fn cpu(&mut self) -> Vec<Duration> {
        let planes = self.planes.iter_mut().map(|plane| plane.process().cpu());
        planes.chain(self.database.as_ref().map(Cluster::cpu)).collect()
    }

    /// Memory of each control plane, in KiB.
    pub(super) fn memory(&mut self) -> Vec<u64> {
        self.planes.iter_mut().map(|plane| plane.process().rss_kib()).collect()
    }

    /// What all hosts have counted.
    pub(super) async fn counts(&mut self) -> Counts {
        let counts = self.swarms.counts().await.unwrap();
        counts.iter().fold(Counts::default(), |all, it| Counts {
            beats: all.beats + it.beats,
            lost: all.lost + it.lost,
            offered: all.offered + it.offered,
            opened: all.opened + it.opened,
        })
    }

    /// What all nodes' doors have counted since their control planes started.
    pub(super) async fn door(&self) -> Door {
        let mut door = Door::default();
        for plane in &self.planes {
            let text = http_get(plane.addresses().console, "/metrics").await.expect("it says its numbers");
            let sum = |name: &str| -> u64 {
                let values = text.lines().filter(|line| line.starts_with(name));
                values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
            };
            door.handshakes += sum("muster_handshakes_total{door=\"agents\"");
            door.turned_away += sum("muster_door_limits_total{door=\"agents\"");
        }
        door
    }
}
