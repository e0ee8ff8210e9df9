//! Several replicas on one store: one fleet, whichever is asked and whichever ends.

use std::{collections::HashMap, time::Duration};

use muster_cluster::Cluster;
use muster_common::clock::Clock;
use muster_proto::{
    admin::v1::{self as pb, Liveness, watch_nodes_response},
    types::v1::CommandState,
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, script},
    plane::Options,
    replicas::{Replicas, about},
    swarm::{self, Swarm},
};
use tonic::Streaming;

async fn three(folder: &std::path::Path) -> Replicas {
    let options = Options {
        store_url: Some(Cluster::shared().database()),
        heartbeat: Duration::from_secs(2),
        ..Options::default()
    };
    Replicas::start(folder, 3, &options).await
}

/// A script runs on every node, once.
async fn order(operator: &Operator, count: usize) {
    let operation = operator.start("*", script("echo done")).await;
    let commands = operator.ended(&operation, LONG).await;
    assert_eq!(commands.len(), count);
    for command in commands.values() {
        assert_eq!(command.state(), CommandState::Succeeded, "{}", command.message);
        assert_eq!(command.stdout.as_ref(), b"done\n");
    }
}

fn replica_of(node: &pb::Node) -> String {
    node.connection.as_ref().map(|connection| connection.replica.clone()).unwrap_or_default()
}

/// Which replica has a node.
async fn place(operator: &Operator, id: &str) -> usize {
    let node = operator.until("it is held", id, |node| !replica_of(node).is_empty()).await;
    replica_of(&node).strip_prefix('r').unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_fleet_is_one_whichever_replica_is_asked_and_loses_none_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut replicas = three(folder.path()).await;
    let join = replicas.planes[0].join(3, &[]).await;
    let mut agents = Vec::new();
    for name in ["a", "b", "c"] {
        let mut agent = Agent::host(folder.path(), name, OPEN);
        agent.connect(&join);
        agent.run();
        agents.push(agent);
    }
    let mut operators = Vec::new();
    for plane in &replicas.planes {
        operators.push(plane.operator().await);
    }
    for operator in &operators {
        for agent in &agents {
            operator.until_liveness(&agent.node, Liveness::Online).await;
        }
    }
    for operator in &operators {
        order(operator, agents.len()).await;
    }
    // The one that has the first agent dies; another takes the agent, and nobody is gone.
    let lost = place(&operators[0], &agents[0].node).await;
    replicas.planes[lost].kill();
    let left: Vec<usize> = (0..3).filter(|number| *number != lost).collect();
    let asked = &operators[left[0]];
    asked
        .until("it is with another replica", &agents[0].node, |node| {
            let now = replica_of(node);
            !now.is_empty() && now != format!("r{lost}")
        })
        .await;
    for agent in &agents {
        asked.until_liveness(&agent.node, Liveness::Online).await;
    }
    order(&operators[left[1]], agents.len()).await;
    eventually("the dead one is lost, and another leads", LONG, || async {
        let system = about(asked).await;
        let leaders = system.replicas.iter().filter(|replica| replica.leads).count();
        (system.replicas.len() == 2 && leaders == 1).then_some(())
    })
    .await;
    replicas.planes[lost].serve(&[]).await;
    replicas.all_here().await;
    order(&replicas.planes[lost].operator().await, agents.len()).await;
}

#[tokio::test]
async fn replicas_that_are_started_anew_one_after_another_lose_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let mut replicas = three(folder.path()).await;
    let count = 60;
    let join = replicas.planes[0].join(i32::try_from(count).unwrap(), &[]).await;
    let members = swarm::enroll_members(&join, count).await.unwrap();
    let swarm = Swarm::start_members(members, 16);
    let operator = replicas.planes[0].operator().await;
    let online = |operator: Operator| async move {
        let nodes = about(&operator).await.nodes.unwrap();
        (nodes.online == 60 && nodes.total == 60).then_some(())
    };
    eventually("all are online", LONG, || online(operator.clone())).await;
    let spread = about(&operator).await.replicas;
    eventually("each replica has some of them", LONG, || async {
        about(&operator).await.replicas.iter().all(|replica| replica.sessions > 0).then_some(())
    })
    .await;
    assert_eq!(spread.len(), 3);
    let since = about(&operator).await.revision;
    for number in 0..3 {
        let other = replicas.planes[(number + 1) % 3].operator().await;
        let (begun, mark) = (watched(&other).await, format!("round-{number}"));
        let restart = async {
            let plane = &mut replicas.planes[number];
            plane.process().stop().await;
            plane.serve(&[]).await;
            let operator = replicas.planes[number].operator().await;
            eventually("all are online", LONG, || online(operator.clone())).await;
            order_all(&operator, count).await;
            rename(&operator, &mark).await;
        };
        let ((), seen) = tokio::join!(restart, states(begun, &mark));
        // To another one they are gone and back, and never late.
        assert!(seen.contains_key(&Liveness::Online), "{seen:?}");
        assert!(!seen.contains_key(&Liveness::Late) && !seen.contains_key(&Liveness::Offline), "{seen:?}");
    }
    let operator = replicas.planes[0].operator().await;
    // The one that was started last gets some of the others' nodes.
    eventually("each replica has some of them", LONG, || async {
        about(&operator).await.replicas.iter().all(|replica| replica.sessions > 0).then_some(())
    })
    .await;
    let operator = replicas.planes[1].operator().await;
    assert!(about(&operator).await.revision > since);
    swarm.end().await;
}

/// A watch of the fleet.
async fn watched(operator: &Operator) -> Streaming<pb::WatchNodesResponse> {
    operator.nodes.clone().watch_nodes(pb::WatchNodesRequest::default()).await.unwrap().into_inner()
}

/// Gives one of the nodes a name.
async fn rename(operator: &Operator, name: &str) {
    let id = operator.select("*").await.remove(0);
    let node = Some(pb::Node { id, display_name: name.to_owned(), ..Default::default() });
    operator.nodes.clone().update_node(pb::UpdateNodeRequest { node, ..Default::default() }).await.unwrap();
}

/// How nodes are said to be, each with one of which it was said, until one of them has this name.
async fn states(mut watch: Streaming<pb::WatchNodesResponse>, name: &str) -> HashMap<Liveness, String> {
    let mut seen = HashMap::new();
    while let Some(message) = watch.message().await.unwrap() {
        let Some(watch_nodes_response::Event::Upserted(node)) = message.event else { continue };
        seen.insert(node.connection.unwrap().liveness(), node.id);
        if node.display_name == name {
            return seen;
        }
    }
    panic!("the watch ended; it had seen {seen:?}");
}

async fn order_all(operator: &Operator, count: usize) {
    let operation = operator.start("*", script("true")).await;
    let commands = operator.ended(&operation, LONG).await;
    let done = commands.values().filter(|command| command.state() == CommandState::Succeeded).count();
    assert_eq!(done, count);
}

#[tokio::test]
async fn who_is_denied_is_cut_off_on_every_replica() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = three(folder.path()).await;
    let join = replicas.planes[0].join(30, &[]).await;
    let swarm = Swarm::start_members(swarm::enroll_members(&join, 30).await.unwrap(), 16);
    let operator = replicas.planes[0].operator().await;
    eventually("each replica has some of them", LONG, || async {
        let system = about(&operator).await;
        let is_spread = system.replicas.iter().all(|replica| replica.sessions > 0);
        (is_spread && system.nodes?.online == 30).then_some(())
    })
    .await;
    for number in 0..3 {
        let held = |node: &pb::Node| replica_of(node) == format!("r{number}");
        let mut found = Vec::new();
        for id in operator.select("*").await {
            found.extend(operator.node(&id).await.filter(held));
        }
        let id = found.first().unwrap().id.clone();
        let begun = Clock::System.monotonic();
        let request = pb::RevokeRequest { subject: format!("node/{id}"), reason: "stolen".to_owned() };
        operator.identity.clone().revoke(request).await.unwrap();
        operator.until("its session is cut", &id, |node| replica_of(node).is_empty()).await;
        let passed = Clock::System.monotonic() - begun;
        assert!(passed < Duration::from_secs(2), "{passed:?}");
    }
    swarm.end().await;
}
