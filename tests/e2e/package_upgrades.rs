//! The agent of a host that was installed from a package becomes another version by the
//! host's own package manager.

use std::path::Path;

use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::{
    host::Host, mirror::Mirror, netns::Network, operator::Operator, packages::Packages, plane::Plane,
};
use serde_json::Value;

const A: &str = "1.0.0";
const B: &str = "1.1.0";

struct Lab {
    host: Host,
    operator: Operator,
    mirror: Mirror,
    plane: Plane,
    _network: Network,
    _folder: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::create();
        let packages = Packages::new(folder.path());
        packages.add(A, &["node-agent"]);
        packages.add(B, &["node-agent"]);
        let repositories = packages.publish();
        let mirror = Mirror::start(&repositories, network.gateway().into());
        let plane = Plane::in_network(folder.path(), &network).await;
        let host = Host::boot(folder.path(), "host", &network).await;
        set_repository(&host, &mirror.url(), &repositories.join("muster.asc"));
        let operator = plane.operator().await;
        Self { host, operator, mirror, plane, _network: network, _folder: folder }
    }

    async fn connect(&mut self) {
        self.host.connect(&self.plane.join(1, &[]).await);
        self.until_version(A).await;
    }

    /// Upgrades by hand; the answer and the exit status.
    fn upgrade(&self, version: &str) -> (Value, i32) {
        let words = ["muster-node-agent", "upgrade", "--json", "--version", version, "--probation", "3s"];
        let done = self.host.exec(&words);
        let answer = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
            panic!(
                "{error}: {} {}",
                String::from_utf8_lossy(&done.stdout),
                String::from_utf8_lossy(&done.stderr)
            )
        });
        (answer, done.status.code().unwrap())
    }

    async fn becomes(&self, version: &str) {
        let (answer, code) = self.upgrade(version);
        assert_eq!((answer["state"].as_str(), code), (Some("committed"), 0), "{answer}");
        self.until_version(version).await;
    }

    fn stays(&self, version: &str, kind: &str) {
        let pid = self.host.agent_pid();
        let (answer, code) = self.upgrade(version);
        assert_eq!((answer["state"].as_str(), code), (Some("refused"), 47), "{answer}");
        assert_eq!(answer["kind"].as_str(), Some(kind), "{answer}");
        assert_eq!(self.host.agent_pid(), pid, "nothing has changed");
    }

    async fn until_version(&self, version: &str) {
        let runs = |node: &pb::Node| {
            let online = node.connection.as_ref().is_some_and(|it| it.liveness() == Liveness::Online);
            online && node.facts.as_ref().is_some_and(|facts| facts.agent_version == version)
        };
        self.operator.until(&format!("{version} runs"), &self.host.node, runs).await;
    }
}

fn set_repository(host: &Host, url: &str, key: &Path) {
    host.run("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*");
    host.copy_in(key, "/usr/share/keyrings/muster.asc", 0o644);
    let source = format!("deb [signed-by=/usr/share/keyrings/muster.asc] {url}/apt stable main\n");
    host.write("/etc/apt/sources.list.d/muster.list", &source);
    host.run("apt-get --quiet update && apt-get --quiet --yes install muster-node-agent=1.0.0-1 2>&1");
}

#[tokio::test]
async fn apt_brings_an_agent_to_a_version_and_back_and_a_mirror_that_dies_changes_nothing() {
    let mut lab = Lab::new().await;
    lab.connect().await;
    lab.stays("9.9.9", "package-unknown");
    lab.mirror.break_off_after(1_000_000);
    lab.stays(B, "repository-unreachable");
    lab.mirror.heal();
    lab.becomes(B).await;
    lab.becomes(A).await;
}
