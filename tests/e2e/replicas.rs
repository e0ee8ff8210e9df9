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
    binaries,
    eventually::{LONG, eventually},
    operator::{Operator, script},
    plane::Options,
    replicas::{Replicas, about},
    swarm::{self, Swarm},
    versions,
};
use tonic::Streaming;

/// The release that comes after this one.
const NEWER: &str = "99.0.0";

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
async fn replicas_that_are_upgraded_one_after_another_lose_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer/muster-control-plane");
    versions::make(&binaries::path("muster-control-plane"), NEWER, &newer);
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
            plane.install(&newer);
            plane.serve(&[]).await;
            let operator = replicas.planes[number].operator().await;
            assert_eq!(about(&operator).await.version, NEWER);
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
    let system = about(&operator).await;
    assert!(system.revision > since);
    assert!(system.replicas.iter().all(|replica| replica.version == NEWER), "{:?}", system.replicas);
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
async fn replicas_of_the_release_before_serve_a_store_that_was_migrated_and_are_not_started_on_it() {
    let (folder, url) = (tempfile::tempdir().unwrap(), Cluster::shared().database());
    let options = Options { store_url: Some(url.clone()), ..Options::default() };
    let mut replicas = Replicas::start(folder.path(), 2, &options).await;
    let join = replicas.planes[0].join(2, &[]).await;
    let mut first = Agent::host(folder.path(), "first", OPEN);
    first.connect(&join);
    first.run();
    let operators = [replicas.planes[0].operator().await, replicas.planes[1].operator().await];
    operators[1].until_liveness(&first.node, Liveness::Online).await;
    migrate_as_the_next_release(&url);
    // What they had prepared fits no more, and their connections are new ones.
    let others = "datname = current_database() AND pid <> pg_backend_pid()";
    Cluster::shared()
        .sql(&url, &format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}"));
    let mut second = Agent::host(folder.path(), "second", OPEN);
    second.connect(&join);
    second.run();
    for operator in &operators {
        operator.until_liveness(&second.node, Liveness::Online).await;
        order(operator, 2).await;
    }
    rename(&operators[0], "renamed").await;
    eventually("the other one reads the change", LONG, || async {
        let nodes = [operators[1].node(&first.node).await?, operators[1].node(&second.node).await?];
        nodes.iter().any(|node| node.display_name == "renamed").then_some(())
    })
    .await;
    // Who stops it cannot go back.
    let plane = &mut replicas.planes[1];
    plane.process().stop().await;
    let mut refused = plane.spawn(&[]);
    assert!(!refused.ended().await.success());
    let log = refused.log();
    assert!(log.contains("the database has schema") && log.contains("Use the newer release"), "{log}");
    operators[0].until_liveness(&second.node, Liveness::Online).await;
    order(&operators[0], 2).await;
}

/// Does to a database what a next release may do to it: each table gets a column that this release
/// does not know, there is a table more, and the feed tells of a change to it.
fn migrate_as_the_next_release(url: &str) {
    let sql = |text: &str| Cluster::shared().sql(url, text);
    let tables = sql("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()");
    assert!(tables.lines().count() > 30, "{tables}");
    for table in tables.lines() {
        sql(&format!("ALTER TABLE {table} ADD COLUMN of_the_next_release TEXT NOT NULL DEFAULT ''"));
    }
    sql("CREATE TABLE of_the_next_release (id TEXT PRIMARY KEY)");
    sql("WITH next AS (UPDATE feed SET revision = revision + 1 RETURNING revision) \
         INSERT INTO changes (revision, kind, id) SELECT revision, 'of-the-next-release', 'x' FROM next");
    sql("INSERT INTO migrations (version, name) SELECT max(version) + 1, 'next' FROM migrations");
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
