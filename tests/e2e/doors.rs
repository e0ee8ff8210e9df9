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
async fn without_a_certificate_the_handshake_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let pin = plane.join(1, &[]).await.ca_pin;
    let nobody = Arc::new(tls::enrollment_client_config(pin).unwrap());
    for address in [plane.addresses().agents, plane.addresses().operators] {
        // In TLS 1.3 the client may learn of the refusal with the first answer.
        let refused = match dial::channel(&address.to_string(), Arc::clone(&nobody)).await {
            Err(_) => true,
            Ok(channel) => {
                let call = Operator::over(channel).system.get_system(pb::GetSystemRequest {}).await;
                matches!(call.unwrap_err().code(), Code::Unavailable | Code::Unknown | Code::Internal)
            }
        };
        assert!(refused, "{address}");
    }
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
async fn a_certificate_of_another_trust_domain_is_refused() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (plane, other) = (plane(ours.path()).await, self::plane(theirs.path()).await);
    let stranger = RawNode::enroll(&other.join(1, &[]).await).await;
    // The stranger trusts our control plane, but it was enrolled elsewhere.
    let identity = muster_node_agent::identity::Identity {
        roots_pem: std::fs::read_to_string(plane.state().join("operators/ca.crt")).unwrap(),
        ..stranger.identity.clone()
    };
    let tls = Arc::new(identity.client_config().unwrap());
    let refused = match dial::channel(&plane.addresses().agents.to_string(), tls).await {
        Err(_) => true,
        Ok(channel) => {
            let first = tokio_stream::once(agent::SessionRequest { kind: Some(Kind::Hello(hello())) });
            SessionServiceClient::new(channel).session(first).await.is_err()
        }
    };
    assert!(refused);
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
