//! When everybody comes at once, or the store does not keep up: who is served, who is told to
//! come again, and that nothing is lost.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use muster_cluster::Cluster;
use muster_common::{reason::Reason, tls};
use muster_proto::{
    admin::v1 as pb,
    agent::v1::{
        self as agent, enrollment_service_client::EnrollmentServiceClient, session_request::Kind,
        session_response::Kind as Answer,
    },
};
use muster_tests::{
    eventually::{LONG, eventually},
    frames,
    operator::{Operator, reason},
    plane::{Options, Plane, http_get},
    raw::{RawNode, hello},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

/// Connections of the storm at once: more than may wait.
const STORM: usize = 300;
/// Of them may wait.
const LINE: &str = "64";
/// Writes that wait: more than fit into two commits.
const WRITES: usize = 640;
/// Calls at once on one connection of an operator.
const STREAMS: usize = 64;

/// Says the first words of a handshake and waits for the end of the connection, again and again.
async fn comes_again(address: SocketAddr, words: Arc<[u8]>) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        if stream.write_all(&words).await.is_ok() {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        }
    }
}

/// Keeps everybody from taking the revision row until it is let go, or the test has failed.
const HOLD: &str = "DO $$ BEGIN LOCK TABLE feed IN EXCLUSIVE MODE; \
    WHILE clock_timestamp() < now() + interval '2 minutes' \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = 'let_go') \
    LOOP PERFORM pg_sleep(0.05); END LOOP; END $$";

async fn set_brake(operator: &Operator, on: bool) {
    let request = pb::SetRolloutBrakeRequest { pulled: on, reason: "storm".to_owned() };
    operator.rollouts.clone().set_rollout_brake(request).await.unwrap();
}

#[tokio::test]
async fn while_the_line_of_nodes_is_full_operators_come_in_and_the_brake_holds() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    for (key, value) in [("handshakes-per-second", "10"), ("waiting", LINE), ("waiting-per-address", LINE)] {
        plane.configure_in("doors.agents", key, value);
    }
    plane.serve(&[]).await;
    let join = plane.join(2, &[]).await;
    let (inside, late) = (RawNode::enroll(&join).await, RawNode::enroll(&join).await);
    let session = inside.session().await;
    let address = plane.addresses().agents;
    let tls = inside.identity.client_config().unwrap();
    let words: Arc<[u8]> = frames::client_hello(address, Arc::new(tls)).into();
    let mut storm = JoinSet::new();
    for _ in 0..STORM {
        storm.spawn(comes_again(address, Arc::clone(&words)));
    }
    let full = "muster_door_limits_total{door=\"agents\",limit=\"waiting-per-address\"}";
    let plane = &plane;
    let turned_away = |more_than: u64| async move {
        eventually("the line is full", LONG, || async {
            let met = plane.metric(full).await;
            (met > more_than).then_some(met)
        })
        .await
    };
    let mut met = turned_away(0).await;
    for on in [true, false, true] {
        // Each time by a handshake of its own, while others are turned away at the nodes' door.
        let operator = plane.operator().await;
        set_brake(&operator, on).await;
        let brake = operator.rollouts.clone().get_rollout_brake(pb::GetRolloutBrakeRequest {}).await;
        assert_eq!(brake.unwrap().into_inner().brake.is_some(), on);
        met = turned_away(met).await;
    }
    session.say(Kind::Heartbeat(agent::Heartbeat { seq: 1, ..Default::default() })).await;
    eventually("a session that was open is heard", LONG, || async {
        (plane.metric("muster_heartbeats_total").await > 0).then_some(())
    })
    .await;
    storm.shutdown().await;
    eventually("afterwards nodes come in again", LONG, || async {
        late.open(Kind::Hello(hello())).await.ok()
    })
    .await;
}

#[tokio::test]
async fn nodes_are_sent_away_for_as_long_as_it_takes_to_let_them_in_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options { heartbeat: LONG, ..Options::default() });
    plane.configure_in("doors.agents", "handshakes-per-second", "2");
    plane.serve(&[]).await;
    let join = plane.join(8, &[]).await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(RawNode::enroll(&join).await.session().await);
    }
    let ended = plane.process().stop();
    let told = async {
        let mut spreads = Vec::new();
        for session in &mut sessions {
            while let Ok(Some(message)) = session.next().await {
                if let Some(Answer::Reconnect(reconnect)) = message.kind {
                    spreads.push((reconnect.after_ms, reconnect.spread_ms));
                }
            }
        }
        spreads
    };
    let (spreads, ended) = tokio::join!(told, ended);
    assert!(ended.success());
    assert_eq!(spreads, [(0, 4000); 8], "eight nodes, two in a second");
}

/// How long the oldest write waits.
async fn behind(plane: &Plane) -> Duration {
    let text = http_get(plane.addresses().console, "/metrics").await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix("muster_writes_behind_seconds "));
    Duration::from_secs_f64(value.map_or(0.0, |value| value.parse().unwrap()))
}

/// Many writes of operators at once.
async fn flood(plane: &Plane) -> JoinSet<Result<(), tonic::Status>> {
    let mut writes = JoinSet::new();
    for connection in 0..WRITES / STREAMS {
        let operator = plane.operator().await;
        for number in 0..STREAMS {
            let mut groups = operator.groups.clone();
            let name = format!("g{connection}-{number}");
            let group = pb::Group { name, selector: "role=web".to_owned(), ..Default::default() };
            let request = pb::CreateGroupRequest { group: Some(group), ..Default::default() };
            writes.spawn(async move { groups.create_group(request).await.map(drop) });
        }
    }
    writes
}

/// Places of entries in the audit, of the brake and of each group.
async fn places(operator: &Operator) -> (Vec<u64>, Vec<u64>) {
    let (mut brake, mut groups, mut page_token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let request = pb::ListAuditEntriesRequest { page_size: 500, page_token, ..Default::default() };
        let page = operator.audit.clone().list_audit_entries(request).await.unwrap().into_inner();
        for entry in page.entries {
            match entry.action.as_str() {
                "rollouts.brake" => brake.push(entry.seq),
                "groups.create" => groups.push(entry.seq),
                _ => {}
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (brake, groups);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_behind_the_brake_overtakes_and_strangers_are_told_to_come_later() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::shared());
    let database = cluster.database();
    let options = Options { store_url: Some(database.clone()), ..Options::default() };
    let mut plane = Plane::init(folder.path(), &options);
    plane.configure_in("store", "lock-timeout", "\"1m\"");
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let join = plane.join(1, &[]).await;
    let place = database.clone();
    let slow = tokio::task::spawn_blocking(move || cluster.sql(&place, HOLD));
    let mut writes = flood(&plane).await;
    eventually("the store is behind", LONG, || async {
        (behind(&plane).await >= Duration::from_secs(1)).then_some(())
    })
    .await;

    let tls = Arc::new(tls::enrollment_client_config(join.ca_pin).unwrap());
    let channel =
        muster_node_agent::dial::channel(&plane.addresses().enrollment.to_string(), tls).await.unwrap();
    let enroll = agent::EnrollRequest { token: join.secret.clone(), ..Default::default() };
    let refused = EnrollmentServiceClient::new(channel).enroll(enroll).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::Overloaded), "{refused}");
    assert!(refused.message().contains("behind"), "{refused}");
    assert_eq!(plane.metric("muster_shed_total{lane=\"enrollment\"}").await, 1);
    // The brake is the last that comes, and is there when a later call is answered.
    tokio::join!(set_brake(&operator, true), async {
        operator.rollouts.clone().get_rollout_brake(pb::GetRolloutBrakeRequest {}).await.unwrap();
        cluster.sql(&database, "CREATE TABLE let_go ()");
    });
    while let Some(written) = writes.join_next().await {
        written.unwrap().unwrap();
    }
    slow.await.unwrap();

    let (brake, groups) = places(&operator).await;
    let overtaken = groups.iter().filter(|seq| **seq > brake[0]).count();
    assert!(brake.len() == 1 && groups.len() == WRITES, "everything was written, once");
    assert!(overtaken >= WRITES / 2, "it came last, and went before {overtaken} of {WRITES}");
    eventually("then the stranger comes in", LONG, || async { behind(&plane).await.is_zero().then_some(()) })
        .await;
    RawNode::enroll(&join).await;
}
