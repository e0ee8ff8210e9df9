//! Floods: while somebody says too much, too little or nothing, no honest host
//! goes late, operators are answered, memory stays where it was, and a number
//! says which limit was met.

mod kinds;
mod watch;

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use muster_common::{clock::Clock, tls};
use muster_tests::{
    eventually::LONG,
    frames,
    limits::raise_open_files,
    operator::Operator,
    plane::{Options, Plane, http_get},
    raw::RawNode,
    swarm::{self, Swarm},
};
use rustls::ClientConfig;

use kinds::{FLOODS, Flood};
use watch::{Seen, Watch};

use crate::{number, report};

/// Honest sessions.
const HONEST: usize = 200;
/// Between their heartbeats; they are late after one and a half of it.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Longest answer to the probe.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// What a flood may add to the memory of the control plane.
const MEMORY_KIB: u64 = 32 * 1024;

/// Where a flood goes, and what it shows there.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The door's name in the metrics.
    pub(crate) door: &'static str,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// With a certificate that may come in.
    pub(crate) tls: Arc<ClientConfig>,
    /// With no certificate.
    pub(crate) nobody: Arc<ClientConfig>,
    /// The first words of a handshake.
    pub(crate) hello: Arc<[u8]>,
    /// A method that is served there.
    pub(crate) path: &'static str,
}

struct Lab {
    plane: Plane,
    operator: Operator,
    swarm: Swarm,
    targets: Vec<Target>,
    _folder: tempfile::TempDir,
}

/// What is told of a flood.
struct Row {
    flood: &'static str,
    seconds: u64,
    said: u64,
    met: BTreeMap<&'static str, Vec<String>>,
    seen: Seen,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_reaches_the_honest_and_each_is_counted() {
    let _alone = crate::ALONE.lock().await;
    raise_open_files();
    let seconds = number("MUSTER_SECONDS", 3);
    let mut lab = Lab::new().await;
    let mut rows = Vec::new();
    let only = std::env::var("MUSTER_FLOOD").unwrap_or_default();
    for flood in FLOODS.iter().filter(|flood| flood.name.contains(&only)) {
        let row = lab.run(flood, Duration::from_secs(seconds)).await;
        eprintln!("{}", row.line());
        rows.push(row);
    }
    lab.swarm.end().await;
    let text: String = rows.iter().map(Row::line).collect();
    report("floods.md", &format!("{HEAD}{text}"));
    let failures: Vec<String> = rows.iter().flat_map(Row::failures).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

const HEAD: &str = "| flood | seconds | frames or connections | counted as | longest answer | \
    memory | honest sessions lost, late |\n|---|---|---|---|---|---|---|\n";

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { heartbeat: HEARTBEAT, log: "warn".to_owned(), ..Options::default() };
        let plane = Plane::start(folder.path(), &options).await;
        let operator = plane.operator().await;
        let out = folder.path().join("mallory");
        let told = out.to_str().unwrap();
        let _ = plane.cli(&["operator", "create", "mallory", "--role", "viewer", "--out", told]);
        let honest = plane.join(i32::try_from(HONEST).unwrap(), &[("honest", "yes")]).await;
        let join = plane.join(1, &[]).await;
        let nobody = Arc::new(plane.nobody_tls());
        let node = RawNode::enroll(&join).await.identity.client_config().unwrap();
        let of = |door, address, tls: ClientConfig, path| Target {
            door,
            address,
            hello: frames::client_hello(address, Arc::new(tls.clone())).into(),
            tls: Arc::new(tls),
            nobody: Arc::clone(&nobody),
            path,
        };
        let at = plane.addresses();
        let stranger = tls::enrollment_client_config(join.ca_pin).unwrap();
        let targets = vec![
            of("agents", at.agents, node, "/muster.agent.v1.IdentityService/RenewCertificate"),
            of("enrollment", at.enrollment, stranger, "/muster.agent.v1.EnrollmentService/Enroll"),
            of(
                "operators",
                at.operators,
                plane.tls_of(&out, "mallory"),
                "/muster.admin.v1.NodesService/ListNodes",
            ),
        ];
        let identities = swarm::enroll(&honest, HONEST).await.expect("the honest enroll");
        let swarm = Swarm::start(at.agents, &identities, 16);
        let opened = &swarm.counters.opened;
        assert!(swarm.counters.reach(opened, HONEST as u64, LONG).await, "the honest are there");
        Self { plane, operator, swarm, targets, _folder: folder }
    }

    /// Runs a flood on all its doors at once, until its time is over and each door
    /// has counted it.
    async fn run(&mut self, flood: &'static Flood, least: Duration) -> Row {
        let targets: Vec<Target> =
            self.targets.iter().filter(|target| flood.doors.contains(&target.door)).cloned().collect();
        let before = self.numbers().await;
        let watch = Watch::begin(self.plane.process().id(), &self.operator, &self.swarm.counters).await;
        let clock = Clock::System;
        let begun = clock.monotonic();
        let flooding = flood.begin(&targets, number("MUSTER_HALF_OPEN", 2000));
        let met = loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let took = clock.monotonic() - begun;
            let met = risen(&before, &self.numbers().await, &targets, flood);
            if took >= least && (met.values().all(|met| !met.is_empty()) || took > least + LONG) {
                break met;
            }
        };
        let said = flooding.end().await;
        let seen = watch.end().await;
        let seconds = (clock.monotonic() - begun).as_secs();
        Row { flood: flood.name, seconds, said, met, seen }
    }

    async fn numbers(&self) -> String {
        http_get(self.plane.addresses().console, "/metrics").await.expect("it says its numbers")
    }
}

/// By door: those of a flood's numbers that have risen there.
fn risen(
    before: &str,
    after: &str,
    targets: &[Target],
    flood: &Flood,
) -> BTreeMap<&'static str, Vec<String>> {
    let value = |text: &str, name: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    };
    let of_door = |door: &'static str| {
        let limits = flood.limits.iter().map(|limit| {
            (format!("muster_door_limits_total{{door=\"{door}\",limit=\"{limit}\"}}"), format!("`{limit}`"))
        });
        let handshakes = flood.handshakes.iter().map(|reason| {
            let name = format!("muster_handshakes_failed_total{{door=\"{door}\",reason=\"{reason}\"}}");
            (name, format!("handshake `{reason}`"))
        });
        let all = limits.chain(handshakes);
        let met = all.filter(|(name, _)| value(after, name) > value(before, name));
        (door, met.map(|(_, word)| word).collect())
    };
    targets.iter().map(|target| of_door(target.door)).collect()
}

impl Row {
    fn line(&self) -> String {
        let Self { flood, seconds, said, met, seen } = self;
        let mut text = format!("| {flood} | {seconds} | {said} |");
        for (door, met) in met {
            let _ = write!(text, " {door}: {};", met.join(", "));
        }
        let _ = writeln!(
            text,
            " | {} ms | {:+.1} MiB | {}, {} |",
            seen.longest.as_millis(),
            seen.memory_kib as f64 / 1024.0,
            seen.reopened,
            seen.late
        );
        text
    }

    fn failures(&self) -> Vec<String> {
        let Self { flood, met, seen, .. } = self;
        let mut failures = Vec::new();
        let mut holds = |holds: bool, what: String| {
            if !holds {
                failures.push(format!("{flood}: {what}"));
            }
        };
        for (door, met) in met {
            holds(!met.is_empty(), format!("no number of {door} says why"));
        }
        holds(seen.failed.is_none(), format!("the probe failed: {:?}", seen.failed));
        holds(seen.longest < ANSWERED_WITHIN, format!("the probe took {:?}", seen.longest));
        holds(seen.memory_kib < MEMORY_KIB, format!("memory grew by {} KiB", seen.memory_kib));
        holds(seen.reopened == 0, format!("{} honest sessions were opened again", seen.reopened));
        holds(seen.late == 0, format!("{} honest nodes were late", seen.late));
        failures
    }
}
