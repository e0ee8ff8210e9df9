//! Who may come in where.

use std::{sync::Arc, time::Duration};

use muster_common::{reason::Reason, tls};
use muster_node_agent::{
    dial,
    identity::{Store, Wish, enroll},
};
use muster_proto::{
    admin::v1 as pb,
    agent::v1::{
        self as agent, enrollment_service_client::EnrollmentServiceClient, session_request::Kind,
        session_service_client::SessionServiceClient,
    },
};
use muster_tests::{
    eventually::{LONG, eventually},
    operator::{Operator, reason},
    plane::{Options, Plane, http_get},
    raw::{RawNode, hello},
};
use tonic::Code;

async fn plane(folder: &std::path::Path) -> Plane {
    Plane::start(folder, &Options::default()).await
}

#[tokio::test]
async fn a_nodes_certificate_is_refused_where_operators_call_and_the_reverse() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let as_node =
        Operator::connect(plane.addresses().operators, node.identity.client_config().unwrap()).await;
    let refused = as_node.nodes.clone().list_nodes(pb::ListNodesRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, Some(Reason::WrongKindOfCaller)));
    let tls = Arc::new(plane.operator_tls());
    let channel = dial::channel(&plane.addresses().agents.to_string(), tls).await.unwrap();
    let first = tokio_stream::once(agent::SessionRequest { kind: Some(Kind::Hello(hello())) });
    let refused = SessionServiceClient::new(channel).session(first).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, Some(Reason::WrongKindOfCaller)));
}

#[tokio::test]
async fn a_node_is_told_its_kind_by_reflection_and_health_too() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let tls = Arc::new(node.identity.client_config().unwrap());
    let channel = dial::channel(&plane.addresses().operators.to_string(), tls).await.unwrap();
    for (what, refused) in every_open_service(channel).await {
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::PermissionDenied, Some(Reason::WrongKindOfCaller)),
            "{what}"
        );
    }
}

/// How calls end that need no role: reflection of both versions, and health.
async fn every_open_service(channel: tonic::transport::Channel) -> Vec<(&'static str, tonic::Status)> {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::{v1, v1alpha};
    let mut reflection = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let new = reflection.server_reflection_info(tokio_stream::once(v1::ServerReflectionRequest::default()));
    let mut reflection = v1alpha::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let old =
        reflection.server_reflection_info(tokio_stream::once(v1alpha::ServerReflectionRequest::default()));
    let (new, old) = (new.await.map(drop), old.await.map(drop));
    let mut health = HealthClient::new(channel);
    let check = health.check(HealthCheckRequest::default()).await.map(drop);
    let watch = health.watch(HealthCheckRequest::default()).await.map(drop);
    let calls = [("reflection v1", new), ("reflection v1alpha", old), ("health", check), ("watch", watch)];
    calls.into_iter().map(|(what, answer)| (what, answer.expect_err(what))).collect()
}

#[tokio::test]
async fn the_enrollment_port_knows_nothing_but_enrollment() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let join = plane.join(1, &[]).await;
    let tls = Arc::new(tls::enrollment_client_config(join.ca_pin).unwrap());
    let channel = dial::channel(&plane.addresses().enrollment.to_string(), tls).await.unwrap();
    let operator = Operator::over(channel.clone());
    let refused = operator.nodes.clone().list_nodes(pb::ListNodesRequest::default()).await.unwrap_err();
    assert!(matches!(refused.code(), Code::Unimplemented | Code::PermissionDenied), "{refused:?}");
    let empty =
        EnrollmentServiceClient::new(channel).enroll(agent::EnrollRequest::default()).await.unwrap_err();
    assert_eq!((empty.code(), reason(&empty)), (Code::InvalidArgument, Some(Reason::CsrInvalid)));
}

#[tokio::test]
async fn a_role_allows_what_it_allows_and_the_audit_has_every_write_and_denial() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let certs = folder.path().join("viewer");
    let out = certs.to_str().unwrap();
    let _ = plane.cli(&["operator", "create", "victor", "--role", "viewer", "--out", out]);
    let viewer = Operator::connect(plane.addresses().operators, plane.tls_of(&certs, "victor")).await;
    let admin = plane.operator().await;
    // Made by another process: the serving one learns of it within a second or so.
    eventually("the viewer is known", LONG, || async {
        viewer.nodes.clone().list_nodes(pb::ListNodesRequest::default()).await.ok()
    })
    .await;
    let refused = viewer
        .join_tokens
        .clone()
        .create_join_token(pb::CreateJoinTokenRequest::default())
        .await
        .unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, Some(Reason::PermissionDenied)));
    admin.join_tokens.clone().create_join_token(pb::CreateJoinTokenRequest::default()).await.unwrap();
    let entries = eventually("both are in the audit", LONG, || async {
        let request = pb::ListAuditEntriesRequest { page_size: 100, ..Default::default() };
        let entries = admin.audit.clone().list_audit_entries(request).await.unwrap().into_inner().entries;
        let denied = entries.iter().any(|entry| entry.denied && entry.actor == "operator/victor");
        let made =
            entries.iter().any(|entry| entry.actor == "operator/admin" && entry.action.contains("token"));
        (denied && made).then_some(entries)
    })
    .await;
    let chain: Vec<u64> =
        entries.iter().filter(|entry| entry.replica == "a").map(|entry| entry.seq).collect();
    assert!(chain.windows(2).all(|pair| pair[0] == pair[1] + 1), "the newest first, without gaps: {chain:?}");
    assert!(plane.cli(&["audit", "verify"]).contains("every entry fits"), "the chain holds");
}

#[tokio::test]
async fn two_hundred_silent_connections_keep_no_operator_out() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    for address in [plane.addresses().operators, plane.addresses().agents] {
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        let (tls, text) = (Arc::new(plane.operator_tls()), address.to_string());
        let came_in = tokio::time::timeout(Duration::from_secs(3), dial::channel(&text, tls));
        let channel = came_in.await.expect("before the silent ones are given up").expect("a connection");
        if address == plane.addresses().operators {
            Operator::over(channel).system.get_system(pb::GetSystemRequest {}).await.unwrap();
        }
        drop(silent);
    }
    let line = "muster_door_limits_total{door=\"operators\",limit=\"silent-per-address\"}";
    let metrics = http_get(plane.addresses().console, "/metrics").await.unwrap();
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_keeps_its_turn_for_a_moment_only() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let address = plane.addresses().operators;
    // The first words of a real client, said by many who then say nothing more.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trap = listener.local_addr().unwrap().to_string();
    let catch = async {
        let (mut caught, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 16 * 1024];
        let length = caught.read(&mut hello).await.unwrap();
        hello.truncate(length);
        hello
    };
    let (hello, broken) = tokio::join!(catch, dial::channel(&trap, Arc::new(plane.operator_tls())));
    assert!(broken.is_err());
    let mut stopped = Vec::new();
    for _ in 0..60 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        stopped.push(stream);
    }
    let (tls, text) = (Arc::new(plane.operator_tls()), address.to_string());
    let came_in = tokio::time::timeout(Duration::from_secs(4), dial::channel(&text, tls));
    let channel = came_in.await.expect("before the others are given up").expect("a connection");
    Operator::over(channel).system.get_system(pb::GetSystemRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_replaced_certificate_of_an_operator_is_refused_and_its_connections_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let create = |out: &std::path::Path, role: &str| {
        let out = out.to_str().unwrap();
        plane.cli(&["operator", "create", "olga", "--role", role, "--out", out])
    };
    let _ = create(&first, "admin");
    let stolen = plane.tls_of(&first, "olga");
    let before = Operator::connect(plane.addresses().operators, stolen.clone()).await;
    let mut watch = eventually("olga is known", LONG, || async {
        let watched = before.nodes.clone().watch_nodes(pb::WatchNodesRequest::default()).await;
        watched.ok().map(tonic::Response::into_inner)
    })
    .await;
    let _ = create(&second, "viewer");
    let ended = tokio::time::timeout(LONG, async { while let Ok(Some(_)) = watch.message().await {} });
    ended.await.expect("the open watch is cut");
    let again = Operator::connect(plane.addresses().operators, stolen).await;
    let refused = again.nodes.clone().list_nodes(pb::ListNodesRequest::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::PermissionDenied, Some(Reason::CertificateRevoked))
    );
    let now = Operator::connect(plane.addresses().operators, plane.tls_of(&second, "olga")).await;
    now.nodes.clone().list_nodes(pb::ListNodesRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_refused_enrollment_is_in_the_audit_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let join = plane.join(1, &[]).await;
    let _node = RawNode::enroll(&join).await;
    let wish = Wish {
        display_name: "late".to_owned(),
        hostname: "late".to_owned(),
        machine_fingerprint: muster_common::digest::Sha256::ZERO,
        labels: std::collections::BTreeMap::new(),
    };
    let other = tempfile::tempdir().unwrap();
    assert!(enroll(&Store::new(other.path()), &join.into(), &wish).await.is_err(), "the token is used up");
    let admin = plane.operator().await;
    eventually("the refusal is in the audit", LONG, || async {
        let request = pb::ListAuditEntriesRequest { page_size: 100, ..Default::default() };
        let entries = admin.audit.clone().list_audit_entries(request).await.unwrap().into_inner().entries;
        let is_it = |entry: &pb::AuditEntry| {
            entry.denied && entry.action == "denied.TOKEN_USED_UP" && entry.remote_address == "127.0.0.1"
        };
        entries.iter().any(is_it).then_some(())
    })
    .await;
    let metrics = http_get(plane.addresses().console, "/metrics").await.unwrap();
    let line = "muster_enrollments_refused_total{reason=\"TOKEN_USED_UP\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn one_callers_watches_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("watches-per-caller", "2");
    plane.serve(&[]).await;
    let admin = plane.operator().await;
    let watch = || async { admin.nodes.clone().watch_nodes(pb::WatchNodesRequest::default()).await };
    let (first, _second) = (watch().await.unwrap(), watch().await.unwrap());
    let refused = watch().await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::ResourceExhausted, Some(Reason::RateLimited)));
    drop(first);
    eventually("an ended watch makes room", LONG, || async { watch().await.ok() }).await;
}
