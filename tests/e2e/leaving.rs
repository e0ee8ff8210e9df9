//! Hosts leave: by their own word, or by an operator's.

use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    plane::{Options, Plane},
};

#[tokio::test]
async fn a_host_disconnects_itself() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    assert!(agent.cli(&["disconnect"]).status.success());
    assert!(operator.node(&agent.node).await.is_none(), "the node is removed at once");
    assert_eq!(agent.cli(&["disconnect"]).status.code(), Some(13));
    assert_eq!(String::from_utf8_lossy(&agent.cli(&["show", "connected"]).stdout).trim(), "false");
    // The agent goes on and waits; a new join brings the host back as another node.
    let former = agent.node.clone();
    agent.connect(&plane.join(1, &[]).await);
    assert_ne!(agent.node, former);
    operator.until_liveness(&agent.node, Liveness::Online).await;
}

#[tokio::test]
async fn a_host_forgets_the_fleet_without_telling_it() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    assert!(agent.cli(&["disconnect", "--local-only"]).status.success());
    operator.until_liveness(&agent.node, Liveness::Offline).await;
    eventually("what belonged to the node is gone", LONG, || async {
        (!agent.state().join("nodes").join(&agent.node).exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deleted_node_is_told_so_and_forgets_its_identity() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let join = plane.join(3, &[]).await;
    let mut online = Agent::start(folder.path(), "online", &join);
    let mut away = Agent::start(folder.path(), "away", &join);
    for agent in [&online, &away] {
        operator.until_liveness(&agent.node, Liveness::Online).await;
    }
    away.process().stop().await;
    for agent in [&online, &away] {
        let request = pb::DeleteNodeRequest {
            id: agent.node.clone(),
            reason: "retired".to_owned(),
            ..Default::default()
        };
        operator.nodes.clone().delete_node(request).await.unwrap();
        assert!(operator.node(&agent.node).await.is_none());
    }
    away.run(); // it learns it when it comes back
    for agent in [&online, &away] {
        eventually("the identity is forgotten", LONG, || async {
            let shown = agent.cli(&["show", "connected"]);
            (String::from_utf8_lossy(&shown.stdout).trim() == "false").then_some(())
        })
        .await;
    }
    assert!(
        online.process().is_running() && away.process().is_running(),
        "the agents wait for another fleet"
    );
}

#[tokio::test]
async fn looking_at_a_host_changes_nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::host(folder.path(), "host", "");
    let shown = agent.cli(&["show", "agent-running"]);
    assert!(shown.status.success());
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "false");
    assert!(!agent.state().exists());
}
