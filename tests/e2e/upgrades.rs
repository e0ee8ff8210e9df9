//! The agent of a host becomes another version of itself, or stays what it was.

use muster_common::build_info::version;
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{CommandSpec, RunScript, command_spec::Kind},
};
use muster_tests::{
    eventually::{LONG, eventually},
    host::Host,
    netns::Network,
    operator::Operator,
    plane::Plane,
    releases::Releases,
};
use serde_json::Value;

const RULES: &str = "[commands]\nrun-script = true\n";
const AGENT: &str = "/usr/bin/muster-node-agent";

/// A host whose agent is in slots, and releases for it.
struct Lab {
    host: Host,
    operator: Operator,
    releases: Releases,
    _plane: Plane,
    _network: Network,
    _temporary: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let releases = Releases::new(temporary.path());
        let network = Network::create();
        let plane = Plane::in_network(temporary.path(), &network).await;
        let mut host = Host::boot(temporary.path(), "host", &network).await;
        host.install_in_slots(releases.program(), RULES);
        host.connect(&plane.join(1, &[]).await);
        let operator = plane.operator().await;
        operator.until_liveness(&host.node, Liveness::Online).await;
        Self { host, operator, releases, _plane: plane, _network: network, _temporary: temporary }
    }

    /// Brings the archive of a release onto the host; `first` as in [`Releases::pack`].
    fn release(&self, version: &str, first: &str) {
        let packed = self.releases.pack(version, first);
        self.host.copy_in(&packed, &format!("/root/{version}.tar.zst"), 0o644);
    }

    /// Upgrades by hand; the answer and the exit status.
    fn upgrade(&self, version: &str, limits: [&str; 2]) -> (Value, i32) {
        let archive = format!("/root/{version}.tar.zst");
        let words = [AGENT, "upgrade", "--json", "--version", version, "--archive", &archive];
        let limits = ["--probation", limits[0], "--patience", limits[1]];
        let done = self.host.exec(&[&words[..], &limits[..]].concat());
        let answer = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
            panic!(
                "{error}: {} {}",
                String::from_utf8_lossy(&done.stdout),
                String::from_utf8_lossy(&done.stderr)
            )
        });
        (answer, done.status.code().unwrap())
    }

    async fn until_version(&self, version: &str) -> pb::Node {
        let runs = |node: &pb::Node| node.agent_version == version && is_online(node);
        self.operator.until(&format!("{version} runs"), &self.host.node, runs).await
    }

    async fn unit_pid(&self, unit: &str) -> String {
        eventually("the unit runs", LONG, || {
            let pid = self.host.sh(&format!("systemctl show --property MainPID --value {unit}"));
            std::future::ready(Some(pid.trim().to_owned()).filter(|pid| pid != "0"))
        })
        .await
    }
}

#[tokio::test]
async fn an_agent_in_slots_is_upgraded_or_returns_and_the_version_is_blamed_only_for_what_it_did() {
    let mut lab = Lab::new().await;
    let survivor = RunScript {
        script: "echo $$ > /root/survivor; while :; do sleep 1; done".to_owned(),
        survive_restart: true,
        ..Default::default()
    };
    let survivor = CommandSpec { kind: Some(Kind::RunScript(survivor)) };
    lab.operator.start("*", survivor).await;
    eventually("the script runs", LONG, || std::future::ready(lab.host.read("/root/survivor"))).await;

    lab.release("0.2.0", "");
    let (answer, code) = lab.upgrade("0.2.0", ["3s", "60s"]);
    assert_eq!((answer["state"].as_str(), code), (Some("committed"), 0), "{answer}");
    assert_eq!((answer["from"].as_str(), answer["to"].as_str()), (Some(version()), Some("0.2.0")));
    lab.until_version("0.2.0").await;
    let (answer, code) = lab.upgrade("0.2.0", ["3s", "60s"]);
    assert_eq!((answer["error"]["code"].as_str(), code), (Some("UPGRADE_REFUSED"), 47), "it runs already");

    // What is none of it, and what calls itself otherwise, changes nothing.
    lab.host.write("/root/0.3.0.tar.zst", "nothing of the kind");
    let (answer, code) = lab.upgrade("0.3.0", ["3s", "60s"]);
    assert_eq!((answer["kind"].as_str(), code), (Some("invalid"), 47), "{answer}");
    lab.host.run("cp /root/0.2.0.tar.zst /root/0.3.0.tar.zst");
    let (answer, _) = lab.upgrade("0.3.0", ["3s", "60s"]);
    assert_eq!((answer["state"].as_str(), answer["kind"].as_str()), (Some("refused"), Some("invalid")));
    assert!(answer["cause"].as_str().unwrap().contains("says that it is 0.2.0"), "{answer}");

    // What ends at once, what never connects, what connects and ends: each is blamed.
    lab.release("0.3.1", "echo this is broken >&2; exit 3");
    lab.release("0.3.2", "export HTTPS_PROXY=http://127.0.0.1:9 NO_PROXY=");
    lab.release("0.3.3", "(sleep 5; kill -9 $$) &");
    for (version, limits, kind) in [
        ("0.3.1", ["3s", "60s"], "crashed"),
        ("0.3.2", ["3s", "12s"], "silent"),
        ("0.3.3", ["15s", "60s"], "crashed"),
    ] {
        let (answer, code) = lab.upgrade(version, limits);
        assert_eq!((answer["state"].as_str(), code), (Some("rolled-back"), 48), "{version}: {answer}");
        assert_eq!(
            (answer["kind"].as_str(), answer["blames-version"].as_bool()),
            (Some(kind), Some(true)),
            "{answer}"
        );
        let told = answer["output"].as_str().unwrap();
        assert!(version != "0.3.1" || told.contains("this is broken"), "{told}");
        lab.until_version("0.2.0").await;
    }

    // Who asks may go, the watchdog and the agent may be killed, the host may lose its power.
    lab.release("0.4.0", "");
    let words = "upgrade --version 0.4.0 --archive /root/0.4.0.tar.zst --probation 8s";
    lab.host.run(&format!("systemd-run --quiet --unit by-hand {AGENT} {words}"));
    let watchdog = lab.unit_pid("muster-upgrade").await;
    lab.host.run(&format!("systemctl stop by-hand; kill -9 {watchdog}"));
    lab.until_version("0.4.0").await;
    let pid = lab.host.agent_pid();
    lab.host.run(&format!("kill -9 {pid}"));
    let script = lab.host.read("/root/survivor").unwrap();
    // It goes on through it all.
    lab.host.run(&format!("kill -0 {}", script.trim()));
    lab.unit_pid("muster-upgrade").await;
    lab.host.power_cut().await;
    let status = || {
        let said = lab.host.exec(&[AGENT, "upgrade", "--status", "--json"]);
        serde_json::from_slice::<Value>(&said.stdout).unwrap()
    };
    let over = eventually("it is over", LONG, || {
        let status = status();
        std::future::ready(
            ["committed", "rolled-back"].contains(&status["state"].as_str().unwrap()).then_some(status),
        )
    })
    .await;
    assert_eq!((over["state"].as_str(), over["to"].as_str()), (Some("committed"), Some("0.4.0")), "{over}");
    lab.until_version("0.4.0").await;
    assert_eq!(lab.host.sh("readlink /opt/muster/current").trim(), "slots/a");

    // An older one is a version like others.
    let (answer, code) = lab.upgrade("0.2.0", ["3s", "60s"]);
    assert_eq!((answer["state"].as_str(), code), (Some("committed"), 0), "{answer}");
    lab.until_version("0.2.0").await;
}

fn is_online(node: &pb::Node) -> bool {
    node.connection.as_ref().is_some_and(|it| it.liveness() == Liveness::Online)
}
