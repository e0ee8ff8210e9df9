//! Packages of an agent that was built for old C libraries, on a booted host that has one: Debian 11.
//! `make soak` builds it and says where it is (`MUSTER_PORTABLE`); CI has no time for that.

use std::path::{Path, PathBuf};

use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::{
    binaries::repository,
    host::{Base, Host},
    mirror::Mirror,
    netns::Network,
    operator::Operator,
    packages::Packages,
    plane::Plane,
};

const A: &str = "1.0.0";
const B: &str = "1.1.0";

async fn until_online(operator: &Operator, host: &Host, version: &str) {
    let online = |node: &pb::Node| {
        let is_heard = node.connection.as_ref().is_some_and(|it| it.liveness() == Liveness::Online);
        node.agent_version == version && is_heard
    };
    operator.until(&format!("{version} runs"), &host.node, online).await;
}

/// Sets the repository on the host, as docs/install.md says.
fn set_repository(host: &Host, url: &str, key: &Path) {
    host.run("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*");
    host.copy_in(key, "/usr/share/keyrings/muster.asc", 0o644);
    let source = format!("deb [signed-by=/usr/share/keyrings/muster.asc] {url}/apt stable main\n");
    host.write("/etc/apt/sources.list.d/muster.list", &source);
    host.works("apt-get --quiet update");
}

#[tokio::test]
async fn a_host_with_an_old_c_library_installs_connects_is_upgraded_and_forgets() {
    let Some(programs) = std::env::var_os("MUSTER_PORTABLE") else { return };
    let programs = repository().join(PathBuf::from(programs));
    let (folder, network) = (tempfile::tempdir().unwrap(), Network::create());
    let packages = Packages::of(folder.path(), &programs);
    packages.add(A, &["node-agent"]);
    packages.add(B, &["node-agent"]);
    let repositories = packages.publish();
    let mirror = Mirror::start(&repositories, network.gateway().into());
    let plane = Plane::in_network(folder.path(), &network).await;
    let mut host = Host::boot_on(Base::Old, folder.path(), "host", &network).await;
    assert!(host.works("ldd --version").contains("2.31"), "it is Debian 11");

    set_repository(&host, &mirror.url(), &repositories.join("muster.asc"));
    host.works("apt-get --quiet --yes install muster-node-agent=1.0.0-1");
    assert!(host.works("muster-node-agent version").contains(" 1.0.0 "));
    host.connect(&plane.join(1, &[]).await);
    let operator = plane.operator().await;
    until_online(&operator, &host, A).await;

    let said = host.works("muster-node-agent upgrade --version 1.1.0 --probation 3s");
    assert!(said.contains("the agent runs version 1.1.0"), "{said}");
    until_online(&operator, &host, B).await;

    let said = host.works("muster-node-agent disconnect");
    assert!(said.contains("apt-get purge muster-node-agent"), "{said}");
    host.works("apt-get --quiet --yes purge muster-node-agent");
    host.run("! ls -d /etc/muster /var/lib/muster /run/muster /usr/bin/muster-node-agent 2>/dev/null");
}
