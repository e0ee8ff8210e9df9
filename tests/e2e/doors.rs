//! Who may come in where.

use std::sync::Arc;

use muster_common::{reason::Reason, tls};
use muster_node_agent::dial;
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
    plane::{Options, Plane},
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
