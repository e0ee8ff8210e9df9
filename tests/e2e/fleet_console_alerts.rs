//! Alerts in the fleet console: who sees which, told as they change.

use http::StatusCode;
use muster_common::clock::Clock;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    operator::Operator,
    raw::RawNode,
    visitor::{Events, Visitor},
};

use super::fleet_console::{is_refused, operator, plane, someone};

const CLOSED: &str = "<span id=\"open-alerts\"></span>";

async fn quarantine(operator: &Operator, id: &str) {
    let request = pb::QuarantineNodeRequest { id: id.to_owned(), reason: "it was cloned".to_owned() };
    operator.nodes.clone().quarantine_node(request).await.unwrap();
}

async fn acknowledge(operator: &Operator) {
    let listed = operator.alerts.clone().list_alerts(pb::ListAlertsRequest::default()).await.unwrap();
    let id = listed.into_inner().alerts[0].id.clone();
    let request = pb::AcknowledgeAlertRequest { id, comment: "<b>mine</b>".to_owned() };
    operator.alerts.clone().acknowledge_alert(request).await.unwrap();
}

async fn silence(operator: &Operator) {
    let end = Clock::System.now().0 / 1000 + 3600;
    let silence = pb::AlertSilence {
        rule: "quarantine".to_owned(),
        end_time: Some(prost_types::Timestamp { seconds: end, nanos: 0 }),
        comment: "works".to_owned(),
        ..Default::default()
    };
    let request = pb::SilenceAlertsRequest { silence: Some(silence) };
    operator.alerts.clone().silence_alerts(request).await.unwrap();
}

async fn release(operator: &Operator, id: &str) {
    let request = pb::ReleaseQuarantineRequest { id: id.to_owned(), ..Default::default() };
    operator.nodes.clone().release_quarantine(request).await.unwrap();
}

/// What an alert about a node in quarantine is shown as, to whoever sees it and to whoever does not.
async fn is_shown(admin: &Visitor, other: &Visitor, id: &str) {
    let page = admin.get("/alerts").await.text;
    let node = format!("href=\"/nodes/{id}\"");
    for part in [
        node.as_str(),
        "href=\"/runbooks/quarantine\"",
        "state critical",
        "ByOperator",
        "nobody was told",
        "Open (1)",
        "data-events=\"/alerts/events\"",
        "1 alert is open: critical.",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let elsewhere = admin.get("/nodes").await.text;
    assert!(elsewhere.contains("<span id=\"open-alerts\">1 open</span>"), "{elsewhere}");
    let page = other.get("/alerts").await.text;
    assert!(page.contains("No alert is open.") && page.contains(CLOSED) && !page.contains(id), "{page}");
}

async fn next(events: &mut Events, what: &str, open: &str) -> String {
    let told = events.until(what).await;
    events.until(&format!("event: alerts\ndata: {open}\n")).await;
    told
}

#[tokio::test]
async fn alerts_are_told_as_they_change_to_those_who_see_their_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let node = RawNode::enroll(&plane.join(1, &[("env", "prod")]).await).await;
    let id = node.identity.node.to_string();
    let (admin, operator) = (operator(&plane).await, plane.operator().await);
    let other = someone(&plane, folder.path(), "dora", "viewer", "env=dev").await;
    let mut events = admin.events("/alerts/events").await;
    next(&mut events, "data-summary=\"No alert is open.\"", "").await;

    quarantine(&operator, &id).await;
    next(&mut events, "data-summary=\"1 alert is open: critical.\"", "1 open").await;
    is_shown(&admin, &other, &id).await;

    acknowledge(&operator).await;
    let told = next(&mut events, "&lt;b&gt;mine&lt;/b&gt;", "").await;
    assert!(told.contains("Acknowledged (1)") && told.contains("looked after by operator/"), "{told}");
    silence(&operator).await;
    let told = events.until("works").await;
    assert!(told.contains("Silenced (1)") && told.contains("silenced until"), "{told}");
    release(&operator, &id).await;
    let told = events.until("Resolved, <time").await;
    assert!(told.contains("Resolved lately (1)") && told.contains("Silenced (0)"), "{told}");

    let page = admin.get("/runbooks/quarantine").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("<h2>What to do</h2>") && page.text.contains("<code>OtherMachine</code>"));
    is_refused(&admin.get("/runbooks/node-on-fire").await, StatusCode::NOT_FOUND, "NOT_FOUND");
}
