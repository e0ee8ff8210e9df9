//! Hosts come, live, fall silent, and are called by other names.

use std::time::Duration;

use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    plane::{Options, Plane, http_get},
};
use rustix::process::Signal;

#[tokio::test]
async fn a_host_enrolls_and_is_online_with_its_facts_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "web-1", &plane.join(1, &[("role", "web")]).await);
    let node = operator.until_liveness(&agent.node, Liveness::Online).await;
    assert_eq!(node.display_name, "web-1");
    assert_eq!(node.labels.get("role").map(String::as_str), Some("web"));
    assert_eq!(node.connection.unwrap().key_exchange, "X25519MLKEM768");
    let node = operator.until("the facts are known", &agent.node, |node| node.facts.is_some()).await;
    let facts = node.facts.unwrap();
    assert!(!facts.hostname.is_empty() && facts.cpu_count > 0 && facts.memory_bytes > 0, "{facts:?}");
    let node = operator.until("conditions are known", &agent.node, |node| !node.conditions.is_empty()).await;
    assert!(node.conditions.iter().any(|condition| condition.r#type == "ClockOk"));
    let shown = agent.cli(&["show", "session"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "connected");
    let ages = ["certificate-issued", "certificate-renewed-from", "certificate-expires"].map(|name| {
        let shown = agent.cli(&["show", name]);
        String::from_utf8(shown.stdout).unwrap()
    });
    assert!(ages.is_sorted() && ages[0].starts_with("20"), "{ages:?}");
    let metrics = http_get(plane.addresses().console, "/metrics").await.unwrap();
    assert!(metrics.contains("muster_sessions 1"), "{metrics}");
    assert!(metrics.contains("key_exchange=\"X25519MLKEM768\""), "{metrics}");
}

#[tokio::test]
async fn a_silent_host_goes_late_then_offline_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { heartbeat: Duration::from_secs(1), ..Options::default() };
    let plane = Plane::start(folder.path(), &options).await;
    let operator = plane.operator().await;
    let mut agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    let first = operator.until_liveness(&agent.node, Liveness::Online).await;
    agent.process().signal(Signal::STOP);
    let late = operator.until_liveness(&agent.node, Liveness::Late).await;
    assert!(since(&late) > since(&first), "the state says since when");
    let offline = operator.until_liveness(&agent.node, Liveness::Offline).await;
    assert!(!offline.connection.unwrap().reason.is_empty());
    agent.process().signal(Signal::CONT);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    // A stream that closes is noticed at once, not after missed heartbeats.
    agent.kill();
    operator.until_liveness(&agent.node, Liveness::Offline).await;
}

fn since(node: &pb::Node) -> (i64, i32) {
    let since = node.connection.as_ref().unwrap().since.unwrap();
    (since.seconds, since.nanos)
}

#[tokio::test]
async fn selectors_pick_by_label_and_fact() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agents = Vec::new();
    for (name, role) in [("web-1", "web"), ("web-2", "web"), ("db-1", "db")] {
        agents.push(Agent::start(
            folder.path(),
            name,
            &plane.join(1, &[("role", role), ("env", "test")]).await,
        ));
    }
    for agent in &agents {
        operator.until("the facts are known", &agent.node, |node| node.facts.is_some()).await;
    }
    let count = async |selector: &str| operator.select(selector).await.len();
    assert_eq!(count("role=web").await, 2);
    assert_eq!(count("role in (web,db),env=test").await, 3);
    assert_eq!(count("role!=web").await, 1);
    assert_eq!(count("!role").await, 0);
    assert_eq!(count(&format!("facts.architecture={},role=db", std::env::consts::ARCH)).await, 1);
    assert_eq!(count("facts.architecture=vax").await, 0);
    // Pages: every node once, in one order.
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListNodesRequest { page_size: 2, page_token, ..Default::default() };
        let page = operator.nodes.clone().list_nodes(request).await.unwrap().into_inner();
        assert_eq!(page.total_size, 3);
        seen.extend(page.nodes.into_iter().map(|node| node.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut expected: Vec<String> = agents.iter().map(|agent| agent.node.clone()).collect();
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_name_changes_without_a_new_identity_or_session() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "old-name", &plane.join(1, &[]).await);
    let before = operator.until_liveness(&agent.node, Liveness::Online).await;
    let node = pb::Node { id: agent.node.clone(), display_name: "new-name".to_owned(), ..Default::default() };
    let request = pb::UpdateNodeRequest { node: Some(node), ..Default::default() };
    operator.nodes.clone().update_node(request).await.unwrap();
    let after = operator.node(&agent.node).await.unwrap();
    assert_eq!(after.display_name, "new-name");
    eventually("the host knows its new name", LONG, || async {
        let shown = agent.cli(&["show", "display-name"]);
        (String::from_utf8_lossy(&shown.stdout).trim() == "new-name").then_some(())
    })
    .await;
    let after = operator.node(&agent.node).await.unwrap();
    assert_eq!(after.connection.unwrap().session_id, before.connection.unwrap().session_id);
    assert_eq!(after.certificate.unwrap().serial, before.certificate.unwrap().serial);
}

#[tokio::test]
async fn a_watch_tells_what_is_there_then_every_change_and_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let join = plane.join(3, &[("role", "web")]).await;
    let first = Agent::start(folder.path(), "one", &join);
    operator.until_liveness(&first.node, Liveness::Online).await;
    let watch = async |resume_token: String| {
        let request = pb::WatchNodesRequest { selector: "role=web".to_owned(), resume_token };
        operator.nodes.clone().watch_nodes(request).await.unwrap().into_inner()
    };
    let mut stream = watch(String::new()).await;
    let mut seen = Vec::new();
    let token = loop {
        let message = stream.message().await.unwrap().unwrap();
        match message.event.unwrap() {
            pb::watch_nodes_response::Event::Upserted(node) => seen.push(node.id),
            pb::watch_nodes_response::Event::Bookmark(_) => break message.resume_token,
            pb::watch_nodes_response::Event::RemovedId(id) => panic!("{id} was not removed"),
        }
    };
    assert_eq!(seen, std::slice::from_ref(&first.node));
    drop(stream);
    // What happens while nobody watches is told on return.
    let second = Agent::start(folder.path(), "two", &join);
    let mut stream = watch(token).await;
    let next = async {
        loop {
            if let Some(pb::watch_nodes_response::Event::Upserted(node)) =
                stream.message().await.unwrap().unwrap().event
                && node.id == second.node
            {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, next).await.expect("the second node is told");
}

#[tokio::test]
async fn a_certificate_is_renewed_at_half_life_and_the_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { certificate_ttl: Duration::from_secs(12), ..Options::default() };
    let plane = Plane::start(folder.path(), &options).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    let first = operator.until_liveness(&agent.node, Liveness::Online).await.certificate.unwrap();
    let renewed =
        |node: &pb::Node| node.certificate.as_ref().is_some_and(|it| it.generation > first.generation);
    let node = operator.until("the renewed certificate is in use", &agent.node, renewed).await;
    assert_ne!(node.certificate.unwrap().serial, first.serial);
    operator.until_liveness(&agent.node, Liveness::Online).await;
}

#[tokio::test]
async fn a_restarted_control_plane_blames_nobody_and_all_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    // Facts are shown when they are stored, and that it is online is stored with them.
    operator.until("what it is, is stored", &agent.node, |node| node.facts.is_some()).await;
    agent.process().signal(Signal::STOP); // it cannot be back before we look
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let state = operator.node(&agent.node).await.unwrap().connection.unwrap();
    assert_eq!((state.liveness(), state.reason.as_str()), (Liveness::Unknown, "ControlPlaneAway"));
    agent.process().signal(Signal::CONT);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    plane.process().signal(Signal::TERM);
    assert!(plane.process().ended().await.success(), "it drains and ends in peace");
}
