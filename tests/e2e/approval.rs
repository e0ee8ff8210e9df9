//! Hosts that wait until a person says yes.

use std::sync::Arc;

use muster_common::{join::JoinString, reason::Reason, tls};
use muster_node_agent::dial;
use muster_proto::{
    admin::v1::{self as pb, JoinRequestState, Liveness},
    agent::v1::{self as agent, enrollment_service_client::EnrollmentServiceClient},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, reason},
    plane::{Options, Plane},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A token that asks for approval.
async fn token(operator: &Operator, max_uses: i32) -> (pb::JoinToken, JoinString) {
    let request = pb::CreateJoinTokenRequest { max_uses, require_approval: true, ..Default::default() };
    let made = operator.join_tokens.clone().create_join_token(request).await.unwrap().into_inner();
    (made.join_token.unwrap(), made.join_string.parse().unwrap())
}

async fn requests(operator: &Operator) -> Vec<pb::JoinRequest> {
    let request = pb::ListJoinRequestsRequest::default();
    operator.join_tokens.clone().list_join_requests(request).await.unwrap().into_inner().join_requests
}

async fn approve(operator: &Operator, id: &str) -> Result<pb::JoinRequest, Status> {
    let request = pb::ApproveJoinRequestRequest { id: id.to_owned() };
    let answer = operator.join_tokens.clone().approve_join_request(request).await?;
    Ok(answer.into_inner().join_request.unwrap())
}

async fn deny(operator: &Operator, id: &str) -> Result<pb::JoinRequest, Status> {
    let request = pb::DenyJoinRequestRequest { id: id.to_owned() };
    let answer = operator.join_tokens.clone().deny_join_request(request).await?;
    Ok(answer.into_inner().join_request.unwrap())
}

async fn uses(operator: &Operator, token: &pb::JoinToken) -> i32 {
    let request = pb::GetJoinTokenRequest { id: token.id.clone() };
    operator.join_tokens.clone().get_join_token(request).await.unwrap().into_inner().join_token.unwrap().uses
}

async fn enroll(join: &JoinString, key: &rcgen::KeyPair) -> Result<String, Status> {
    enroll_as("host", join, key).await
}

async fn enroll_as(hostname: &str, join: &JoinString, key: &rcgen::KeyPair) -> Result<String, Status> {
    let tls = Arc::new(tls::enrollment_client_config(join.ca_pin).unwrap());
    let channel = dial::channel(&join.addresses[0], tls).await.unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = agent::EnrollRequest {
        token: join.secret.clone(),
        csr_der: params.serialize_request(key).unwrap().der().to_vec().into(),
        hostname: hostname.to_owned(),
        ..Default::default()
    };
    EnrollmentServiceClient::new(channel).enroll(request).await.map(|answer| answer.into_inner().node_id)
}

/// A host comes with this token, and waits.
pub(crate) async fn ask(join: &JoinString) {
    let refused = enroll(join, &rcgen::KeyPair::generate().unwrap()).await.unwrap_err();
    assert_eq!(why(&refused), PENDING);
}

fn why(status: &Status) -> (Code, Option<Reason>) {
    (status.code(), reason(status))
}

const PENDING: (Code, Option<Reason>) = (Code::Unavailable, Some(Reason::ApprovalPending));

#[tokio::test]
async fn a_host_waits_in_connect_until_a_person_says_yes() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let (token, join) = token(&operator, 1).await;
    let mut host = Agent::host(folder.path(), "host", OPEN);

    let impatient = host.cli(&["connect", &join.to_string(), "--wait", "0s"]);
    let told = String::from_utf8_lossy(&impatient.stderr).into_owned();
    assert_eq!(impatient.status.code(), Some(20), "{told}");
    assert!(told.contains("APPROVAL_PENDING") && told.contains("join request"), "{told}");
    let key = requests(&operator).await.pop().unwrap().key_sha256;
    assert!(told.contains(&format!("SHA256 {key}")), "what the person sees: {told}");

    let text = join.to_string();
    let (connected, ()) = tokio::join!(
        tokio::task::spawn_blocking(move || {
            host.connect(&text.parse().unwrap());
            host
        }),
        async {
            let waiting =
                eventually("the host waits", LONG, || async { requests(&operator).await.pop() }).await;
            assert_eq!(
                (waiting.state(), waiting.join_token_id.as_str()),
                (JoinRequestState::Pending, token.id.as_str())
            );
            assert_eq!((waiting.key_sha256, waiting.remote_address.as_str()), (key, "127.0.0.1"));
            assert_eq!(uses(&operator, &token).await, 0, "a use is counted when it is approved");
            assert_eq!(operator.select("").await, Vec::<String>::new());
            let approved = approve(&operator, &waiting.id).await.unwrap();
            assert_eq!(
                (approved.state(), approved.decided_by.as_str()),
                (JoinRequestState::Approved, "operator/admin")
            );
            assert_eq!(uses(&operator, &token).await, 1);
        }
    );
    let mut host = connected.unwrap();
    assert_eq!(operator.select("").await, [host.node.clone()]);
    assert_eq!(uses(&operator, &token).await, 1, "and not once more when it comes");
    assert_eq!(requests(&operator).await, [], "what has become a node waits no more");
    host.run();
    operator.until_liveness(&host.node, Liveness::Online).await;
}

#[tokio::test]
async fn asking_again_makes_neither_another_request_nor_another_node() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let (_, join) = token(&operator, 1).await;
    let key = rcgen::KeyPair::generate().unwrap();
    for _ in 0..3 {
        let refused = enroll(&join, &key).await.unwrap_err();
        assert_eq!(why(&refused), PENDING);
        assert!(refused.get_error_details().retry_info().is_some_and(|info| info.retry_delay.is_some()));
    }
    let [request] = <[_; 1]>::try_from(requests(&operator).await).unwrap();
    approve(&operator, &request.id).await.unwrap();
    approve(&operator, &request.id).await.expect("it may be said again, and counts once");
    let node = enroll_as("vault", &join, &key).await.unwrap();
    let name = operator.node(&node).await.unwrap().display_name;
    assert_eq!(name, "host", "the one that was approved, whatever the host says now");
    assert_eq!(enroll(&join, &key).await.unwrap(), node, "a lost answer costs nothing");
    let other = enroll(&join, &rcgen::KeyPair::generate().unwrap()).await.unwrap_err();
    assert_eq!(why(&other), (Code::PermissionDenied, Some(Reason::TokenUsedUp)));
}

#[tokio::test]
async fn a_host_that_was_denied_stays_outside_and_the_agent_says_so_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let (token, join) = token(&operator, 2).await;
    let host = Agent::host(folder.path(), "host", OPEN);
    assert_eq!(host.cli(&["connect", &join.to_string(), "--wait", "0s"]).status.code(), Some(20));
    let request = requests(&operator).await.pop().unwrap();
    assert_eq!(deny(&operator, &request.id).await.unwrap().state(), JoinRequestState::Denied);
    let denied = host.cli(&["connect", &join.to_string()]);
    let told = String::from_utf8_lossy(&denied.stderr).into_owned();
    assert!(denied.status.code() == Some(18) && told.contains("APPROVAL_DENIED"), "{told}");
    let late = approve(&operator, &request.id).await.unwrap_err();
    assert_eq!(why(&late), (Code::FailedPrecondition, Some(Reason::StateConflict)));
    assert_eq!(uses(&operator, &token).await, 0);

    let key = rcgen::KeyPair::generate().unwrap();
    assert_eq!(why(&enroll(&join, &key).await.unwrap_err()), PENDING);
    let other = requests(&operator).await.into_iter().find(|other| other.id != request.id).unwrap();
    approve(&operator, &other.id).await.unwrap();
    assert_eq!(uses(&operator, &token).await, 1);
    deny(&operator, &other.id).await.expect("a yes is taken back as long as the host has not come");
    assert_eq!(uses(&operator, &token).await, 0, "it let nobody in");
    let refused = enroll(&join, &key).await.unwrap_err();
    assert_eq!(why(&refused), (Code::PermissionDenied, Some(Reason::ApprovalDenied)));
    assert_eq!(operator.select("").await, Vec::<String>::new());
}

#[tokio::test]
async fn hosts_that_wait_are_so_many_and_no_more_and_a_token_that_ended_lets_none_of_them_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("join-requests-per-token", "2");
    plane.configure("join-requests", "3");
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let (first, join) = token(&operator, 1).await;
    let full = (Code::Unavailable, Some(Reason::Overloaded));
    let ask =
        async |join: &JoinString| why(&enroll(join, &rcgen::KeyPair::generate().unwrap()).await.unwrap_err());
    assert_eq!([ask(&join).await, ask(&join).await, ask(&join).await], [PENDING, PENDING, full]);
    let (_, other) = token(&operator, 1).await;
    assert_eq!([ask(&other).await, ask(&other).await], [PENDING, full]);

    let of_first: Vec<_> =
        requests(&operator).await.into_iter().filter(|request| request.join_token_id == first.id).collect();
    approve(&operator, &of_first[0].id).await.unwrap();
    let used_up = approve(&operator, &of_first[1].id).await.unwrap_err();
    assert_eq!(why(&used_up), (Code::FailedPrecondition, Some(Reason::StateConflict)));
    assert!(used_up.message().contains("TOKEN_USED_UP"), "{used_up}");
    let revoke = pb::RevokeJoinTokenRequest { id: first.id.clone() };
    operator.join_tokens.clone().revoke_join_token(revoke).await.unwrap();
    let revoked = approve(&operator, &of_first[1].id).await.unwrap_err();
    assert!(revoked.message().contains("TOKEN_REVOKED"), "{revoked}");
    assert_eq!(ask(&other).await, PENDING, "who was answered, or cannot come any more, keeps nobody out");
    let missing = approve(&operator, &first.id).await.unwrap_err();
    assert_eq!(why(&missing), (Code::NotFound, Some(Reason::NotFound)));
}
