//! The test hosts themselves: booted, in a network of their own, and gone without a trace.

use std::{fs, io::Read as _, net::TcpListener, path::Path};

use muster_proto::{admin::v1::Liveness, types::v1::CommandState};
use muster_tests::{
    eventually::{LONG, eventually},
    host::Host,
    netns::Network,
    operator::script,
    plane::Plane,
};

/// What may be left of hosts: their groups, networks and mounts.
fn traces(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        found.push(entry.path().join(name));
    }
    found.push(Path::new("/run/netns").join(name));
    let mut found: Vec<String> =
        found.iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(name)).map(str::to_owned));
    found
}

#[tokio::test]
async fn a_host_boots_into_the_fleet_and_stays_in_it_over_a_reboot_and_a_loss_of_power() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::create();
    let plane = Plane::in_network(folder.path(), &network).await;
    let mut host = Host::boot(folder.path(), "host", &network).await;
    let name = host.namespace().name().to_owned();
    host.install_agent("[commands]\nrun-script = true\n");
    host.connect(&plane.join(1, &[]).await);
    // Only now: a connection that asks nothing for a while is closed.
    let operator = plane.operator().await;
    let node = operator.until_liveness(&host.node, Liveness::Online).await;
    let first = node.connection.unwrap().session_id;
    let told = operator.start("*", script("cat /etc/hostname")).await;
    let command = operator.ended(&told, LONG).await.remove(&host.node).unwrap();
    assert_eq!(command.state(), CommandState::Succeeded);
    assert_eq!(command.stdout.as_ref(), format!("{name}\n").as_bytes(), "it runs in the host");

    host.write("/root/kept", "kept");
    let boot = host.boot_id();
    host.reboot().await;
    assert_ne!(host.boot_id(), boot);
    let second = eventually("it is back", LONG, || async {
        let session = operator.node(&host.node).await?.connection?.session_id;
        (session != first).then_some(session)
    })
    .await;
    let boot = host.boot_id();
    host.power_cut().await;
    assert_ne!(host.boot_id(), boot);
    eventually("it is back", LONG, || async {
        let session = operator.node(&host.node).await?.connection?.session_id;
        (session != second).then_some(())
    })
    .await;
    assert_eq!(host.read("/root/kept").as_deref(), Some("kept"));

    // What limits a unit has is held, or no test of limits says anything.
    let hog = host.exec(&[
        "systemd-run",
        "--quiet",
        "--wait",
        "-p",
        "MemoryMax=32M",
        "-p",
        "MemorySwapMax=0",
        "tail",
        "/dev/zero",
    ]);
    assert!(!hog.status.success());
    let pids = host.exec(&[
        "systemd-run",
        "--quiet",
        "--wait",
        "-p",
        "TasksMax=3",
        // A group that is empty is not always noticed here.
        "-p",
        "TimeoutStopSec=1s",
        "sh",
        "-c",
        "sleep 9 & sleep 9 & sleep 9 & sleep 9 &",
    ]);
    assert!(!pids.status.success());

    host.poweroff().await;
    assert_eq!(operator.until_liveness(&host.node, Liveness::Offline).await.id, host.node);
    drop(host);
    assert_eq!(traces(&name), Vec::<String>::new());
}

#[tokio::test]
async fn a_host_that_is_dropped_while_it_works_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::create();
    let host = Host::boot(folder.path(), "host", &network).await;
    let name = host.namespace().name().to_owned();
    host.run("systemd-run --quiet sh -c 'trap : TERM; while :; do setsid sleep 600 & sleep 0.2; done'");
    assert!(!traces(&name).is_empty());
    drop(host);
    assert_eq!(traces(&name), Vec::<String>::new());
    let group = format!("/{name}/");
    let groups = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("cgroup")).ok();
    // The machine's first process may take a moment to bury who was left to it.
    eventually("all its processes are gone", LONG, || {
        let mut left = fs::read_dir("/proc").unwrap().flatten().filter_map(groups);
        std::future::ready((!left.any(|groups| groups.contains(&group))).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn a_namespace_reaches_its_network_unless_it_is_cut_off() {
    let network = Network::create();
    let namespace = network.join();
    let listener = TcpListener::bind((network.gateway(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let say = |word: &str| {
        let line = format!("exec 3<>/dev/tcp/{}/{port}; echo {word} >&3", network.gateway());
        namespace.command("timeout").args(["5", "bash", "-c", &line]).output().unwrap().status.success()
    };
    assert!(say("here"));
    let (mut stream, from) = listener.accept().unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!((heard.as_str(), from.ip()), ("here\n", namespace.address().into()));
    namespace.cut();
    assert!(!say("lost"));
    namespace.heal(&network);
    assert!(say("again"));
}
