//! What is old goes, and who relied on it is told.

use muster_common::reason::Reason;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{reason, script},
    plane::{Options, Plane, http_get},
};
use tonic::Code;

#[tokio::test]
async fn a_watch_that_was_away_too_long_is_told_to_start_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("revisions", "10");
    plane.configure("every", "\"1s\"");
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let _ = plane.join(1, &[]).await;
    let mut watch =
        operator.nodes.clone().watch_nodes(pb::WatchNodesRequest::default()).await.unwrap().into_inner();
    let token = watch.message().await.unwrap().expect("the bookmark of an empty fleet").resume_token;
    let resume = pb::WatchNodesRequest { resume_token: token, ..Default::default() };
    operator.nodes.clone().watch_nodes(resume.clone()).await.expect("nothing has happened since");
    for _ in 0..20 {
        let _ = plane.join(1, &[]).await;
    }
    let refused = eventually("the feed is shortened", LONG, || async {
        operator.nodes.clone().watch_nodes(resume.clone()).await.err()
    })
    .await;
    assert_eq!((refused.code(), reason(&refused)), (Code::OutOfRange, Some(Reason::ResumeTokenExpired)));
    let metrics = http_get(plane.addresses().console, "/metrics").await.unwrap();
    assert!(metrics.contains("muster_pruned_total{what=\"changes\"}"), "{metrics}");
}

#[tokio::test]
async fn an_operation_that_ended_long_ago_is_gone_and_stays_in_the_audit() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("operations", "\"1s\"");
    plane.configure("every", "\"1s\"");
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let id = operator.start("*", script("true")).await; // nobody is there: it ends at once
    eventually("the operation is gone", LONG, || async {
        let get = pb::GetOperationRequest { id: id.clone() };
        operator.operations.clone().get_operation(get).await.err().filter(|e| e.code() == Code::NotFound)
    })
    .await;
    let request = pb::ListAuditEntriesRequest { page_size: 100, ..Default::default() };
    let entries = operator.audit.clone().list_audit_entries(request).await.unwrap().into_inner().entries;
    assert!(entries.iter().any(|entry| entry.subject == format!("operation/{id}")));
}

#[tokio::test]
async fn of_operations_that_ended_so_many_are_kept_and_what_is_open_never_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("operations-at-most", "2");
    plane.configure("every", "\"1s\"");
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let mut agent = Agent::host(folder.path(), "away", OPEN);
    agent.connect(&plane.join(1, &[]).await);
    let open = operator.start("*", script("true")).await; // its host never comes
    let mut ended = Vec::new();
    for _ in 0..4 {
        ended.push(operator.start("none=here", script("true")).await);
    }
    let kept = eventually("the first that ended are gone", LONG, || async {
        let listed = operator.operations.clone().list_operations(pb::ListOperationsRequest::default()).await;
        let ids: Vec<String> = listed.ok()?.into_inner().operations.into_iter().map(|it| it.id).collect();
        (ids.len() <= 3).then_some(ids)
    })
    .await;
    assert_eq!(kept, [ended[3].as_str(), ended[2].as_str(), open.as_str()]);
}
