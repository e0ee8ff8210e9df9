//! A release is brought to a fleet in steps, and two hosts cannot run it. Five hosts in CI;
//! `make soak` says how many (`MUSTER_HOSTS`): docs/reports/release-rollout.md.

use std::{fmt::Write as _, time::Duration};

use muster_common::{
    build_info::version,
    clock::{Clock, Instant},
};
use muster_proto::{
    admin::v1::{
        self as pb, Liveness, RolloutPhase, RolloutStanding, create_rollout_request, rollout_step, share,
    },
    types::v1::{ErrorReason, FailureCause, ItemOutcome},
};
use muster_tests::{
    eventually::eventually,
    host::Host,
    operator::{Operator, reported},
    releases::Publisher,
    soak::{number, report},
    sysctl::Raised,
};
use serde_json::Value;

const ITEM: &str = "release/agent";
const NEW: &str = "0.2.0";
/// A host takes the next word only when the one before is over.
const UPGRADES: Duration = Duration::from_secs(600);
/// In CI, and watched for seconds. With more, all are upgraded in the end.
const FEW: usize = 5;
/// Every host's systemd and services take inotify instances of root, which has 128 on most machines:
/// too few for 17 hosts.
const INOTIFY: u64 = 20;
/// What keeps all but the version of before from starting on a bad host.
const BAD: &str = "/etc/systemd/system/muster-node-agent.service.d/bad.conf";
/// Seconds until it ends after each start. The second one fails while the first one's failure can
/// be looked at.
const BAD_AFTER: [u32; 2] = [0, 5];

/// Hosts, those of the ring `first` before those of the ring `rest`. The first two are bad.
struct Fleet {
    hosts: Vec<Host>,
    operator: Operator,
    publisher: Publisher,
    begun: Instant,
    figures: String,
    _limit: Raised,
}

impl Fleet {
    async fn new(count: usize) -> Self {
        let begun = Clock::System.monotonic();
        let limit = Raised::to("fs/inotify/max_user_instances", INOTIFY * count as u64);
        let publisher = Publisher::start().await;
        let mut hosts = Vec::new();
        for (ring, size) in [("first", first_of(count)), ("rest", count - first_of(count))] {
            let join = publisher.plane.join(i32::try_from(size).unwrap(), &[("ring", ring)]).await;
            for n in 0..size {
                let mut host = publisher.host_in_slots(&format!("{ring}-{n}"), "").await;
                host.watches_shortly();
                host.connect(&join);
                hosts.push(host);
            }
        }
        for (host, after) in hosts.iter().zip(BAD_AFTER) {
            let is_before =
                format!("/opt/muster/current/bin/muster-node-agent version | grep -qF ' {} '", version());
            let ends = format!("sleep {after}; echo nothing for this host >&2; exit 3");
            let line = format!("ExecStartPre=/bin/sh -c \"{is_before} || {{ {ends}; }}\"");
            host.write(BAD, &format!("[Service]\n{line}\n"));
            host.run("systemctl daemon-reload");
        }
        let operator = publisher.plane.operator().await;
        let figures = String::new();
        let mut fleet = Self { hosts, operator, publisher, begun, figures, _limit: limit };
        fleet.until_all_run(version()).await;
        fleet.publisher.release(&fleet.operator, version(), "").await;
        fleet.publisher.release(&fleet.operator, NEW, "").await;
        fleet.publisher.publish(&fleet.operator).await;
        fleet.assign().await;
        fleet.figure("hosts are up and their agents connected");
        fleet
    }

    /// All hosts are to run what they run: that is the way back.
    async fn assign(&self) {
        let target = pb::ReleaseTarget { version: version().to_owned(), channel: String::new() };
        let assignment = Some(pb::Assignment {
            name: "agents".to_owned(),
            selector: "*".to_owned(),
            target: Some(pb::assignment::Target::Release(target)),
            ..Default::default()
        });
        let request = pb::CreateAssignmentRequest { assignment, validate_only: false };
        self.operator.assignments.clone().create_assignment(request).await.unwrap();
        for host in &self.hosts {
            let has = |node: &pb::Node| {
                reported(node, ITEM).is_some_and(|it| it.outcome() == ItemOutcome::Unchanged)
            };
            self.operator.until("the host says that it runs that", &host.node, has).await;
        }
    }

    /// Begins: first one ring, then all. One host may fail.
    async fn begin(&self) -> String {
        let step = |reach| pb::RolloutStep { reach: Some(reach), ..Default::default() };
        let first = step(rollout_step::Reach::Selector("ring=first".to_owned()));
        let plan = pb::RolloutPlan {
            steps: vec![first, step(rollout_step::Reach::Percent(100))],
            max_failed: Some(pb::Share { part: Some(share::Part::Count(1)) }),
            ..Default::default()
        };
        let release = pb::ReleaseTarget { version: NEW.to_owned(), channel: String::new() };
        let request = pb::CreateRolloutRequest {
            assignment: "agents".to_owned(),
            target: Some(create_rollout_request::Target::Release(release)),
            plan: Some(plan),
            ..Default::default()
        };
        let begun = self.operator.rollouts.clone().create_rollout(request).await.unwrap();
        begun.into_inner().rollout.unwrap().id
    }

    async fn until_phase(&self, id: &str, phase: RolloutPhase) -> pb::Rollout {
        let request = pb::GetRolloutRequest { id: id.to_owned() };
        eventually(&format!("the rollout is {phase:?}"), UPGRADES, || async {
            let answer = self.operator.rollouts.clone().get_rollout(request.clone()).await.ok()?;
            answer.into_inner().rollout.filter(|it| it.phase() == phase)
        })
        .await
    }

    async fn explain(&self, host: &Host) -> pb::ExplainItemResponse {
        let request = pb::ExplainItemRequest { id: host.node.clone(), item: ITEM.to_owned() };
        self.operator.nodes.clone().explain_item(request).await.unwrap().into_inner()
    }

    /// How the nodes stand, in the order of the hosts, with the reason of who failed.
    async fn standings(&self, id: &str) -> Vec<(RolloutStanding, String)> {
        let request = pb::ListRolloutNodesRequest { id: id.to_owned(), page_size: 100, ..Default::default() };
        let nodes = self.operator.rollouts.clone().list_rollout_nodes(request).await.unwrap().into_inner();
        let of = |host: &Host| {
            let node = nodes.nodes.iter().find(|node| node.node_id == host.node).unwrap();
            (node.standing(), node.failure.clone())
        };
        self.hosts.iter().map(of).collect()
    }

    async fn until_all_run(&self, version: &str) {
        for host in &self.hosts {
            let runs = |node: &pb::Node| {
                let online = node.connection.as_ref().is_some_and(|it| it.liveness() == Liveness::Online);
                online && node.agent_version == version
            };
            self.operator.until(&format!("{version} runs"), &host.node, runs).await;
            let said = host.sh("/opt/muster/current/bin/muster-node-agent version");
            assert_eq!(said.split_whitespace().nth(1), Some(version));
        }
    }

    /// Seconds since the last one.
    fn figure(&mut self, what: &str) {
        let now = Clock::System.monotonic();
        writeln!(self.figures, "| {what} | {:.0} s |", (now - self.begun).as_secs_f64()).unwrap();
        self.begun = now;
    }
}

const fn first_of(count: usize) -> usize {
    count * 3 / 5
}

/// What a host itself keeps of its last upgrade, if it has had one.
fn last(host: &Host) -> Option<Value> {
    let said = host.exec(&["muster-node-agent", "upgrade", "--status", "--json"]);
    serde_json::from_slice::<Value>(&said.stdout).ok().filter(|status| status["to"].is_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_two_hosts_cannot_run_stops_goes_back_everywhere_and_says_why() {
    let count = usize::try_from(number("MUSTER_HOSTS", FEW as u64)).unwrap();
    let mut fleet = Fleet::new(count).await;
    let id = fleet.begin().await;

    // One failure is borne. It is told: by the host, in the rollout, to who asks about the node.
    let refused = eventually("the first bad host has refused it", UPGRADES, || async {
        Some(fleet.explain(&fleet.hosts[0]).await).filter(|it| it.verdict == "Refused")
    })
    .await;
    let error = refused.reported.as_ref().unwrap().error.as_ref().unwrap();
    assert_eq!((error.reason(), error.cause()), (ErrorReason::VersionDidNotStart, FailureCause::Content));
    assert!(String::from_utf8_lossy(&error.output).contains("nothing for this host"), "{error:?}");
    let why = |about: &str| refused.reasons.iter().find(|it| it.about == about).unwrap().text.as_str();
    assert!(why("Rollout").contains("in step 1 of 2: this node has failed"), "{}", why("Rollout"));
    assert!(why("Host").contains("it tried version 0.2.0, and failed: VERSION_DID_NOT_START"));
    assert_eq!(fleet.explain(&fleet.hosts[count - 1]).await.verdict, "WaitsForRollout");
    let standings = fleet.standings(&id).await;
    assert_eq!(standings[0], (RolloutStanding::Failed, "VERSION_DID_NOT_START".to_owned()));
    assert_eq!(standings[count - 1], (RolloutStanding::Untouched, String::new()));
    fleet.figure("from the begin to the first failure");

    // The second is too many: nobody else is touched, and who has it goes back.
    let turned = fleet.until_phase(&id, RolloutPhase::RollingBack).await;
    fleet.figure("to the second, which turned it round");
    assert_eq!((turned.reason.as_str(), turned.step), ("TooManyFailed", 1));
    let back = fleet.until_phase(&id, RolloutPhase::RolledBack).await;
    fleet.figure("until all had returned");
    let progress = back.progress.unwrap();
    assert_eq!(progress.failures, [("VERSION_DID_NOT_START".to_owned(), 2)].into());
    assert_eq!((progress.failed, progress.touched as usize), (2, first_of(count)), "{}", back.message);
    fleet.until_all_run(version()).await;
    for n in 0..count {
        let expected = match n {
            0 | 1 => Some((NEW, "rolled-back")),
            n if n < first_of(count) => Some((version(), "committed")),
            _ => None,
        };
        // One that was just starting again, and so not heard, was not waited for.
        eventually(&format!("host {n}: {expected:?}"), UPGRADES, || {
            let last = last(&fleet.hosts[n]);
            let ended = last.as_ref().map(|it| (it["to"].as_str().unwrap(), it["state"].as_str().unwrap()));
            std::future::ready((ended == expected).then_some(()))
        })
        .await;
        eventually(&format!("host {n} is in sync"), UPGRADES, || async {
            (fleet.explain(&fleet.hosts[n]).await.verdict == "InSync").then_some(())
        })
        .await;
    }

    if count > FEW {
        fleet.mended().await;
    }
    fleet.report();
}

impl Fleet {
    /// What failed is tried again where it is begun again, and all get it.
    async fn mended(&mut self) {
        for host in &self.hosts {
            host.run(&format!("rm -f {BAD} && systemctl daemon-reload"));
        }
        let id = self.begin().await;
        let done = self.until_phase(&id, RolloutPhase::Succeeded).await;
        self.figure("mended, and begun again: until all had it, in two steps");
        assert_eq!(done.progress.unwrap().done as usize, self.hosts.len());
        self.until_all_run(NEW).await;
    }

    fn report(&mut self) {
        let memory = self.publisher.plane.process().rss_kib() / 1024;
        let head = format!("| | |\n|---|---|\n| hosts | {} |\n", self.hosts.len());
        let tail = format!("| memory of the control plane in the end | {memory} MiB |\n");
        report("release-rollout.md", &format!("{head}{}{tail}", self.figures));
    }
}
