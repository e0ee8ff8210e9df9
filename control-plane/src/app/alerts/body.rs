//! What receivers are told, as JSON.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use muster_common::clock::UnixMillis;
use muster_domain::alert::{Alert, Delivery, Subject};
use serde_json::{Value, json};

/// An Alertmanager takes what it is not told for this long to be over: some times as long as it takes to
/// be told again.
const HOLDS_FOR: Duration = Duration::from_secs(300);

/// One delivery to a webhook, with the alert as it is now.
pub(super) fn of_webhook(trust_domain: &str, told: &[(Delivery, Alert, String)]) -> Vec<u8> {
    let events: Vec<Value> = told
        .iter()
        .map(|(delivery, alert, name)| {
            json!({
                "id": delivery.id,
                "event": delivery.event,
                "time": time(delivery.created_at),
                "alert": whole(alert, name),
            })
        })
        .collect();
    json!({ "version": 1, "trust_domain": trust_domain, "events": events }).to_string().into_bytes()
}

/// The alerts, each with the name of its node, as Alertmanager's API v2 takes them.
pub(super) fn of_alertmanager(trust_domain: &str, told: &[(Alert, String)], now: UnixMillis) -> Vec<u8> {
    let alerts: Vec<Value> = told
        .iter()
        .map(|(alert, name)| {
            json!({
                "labels": labels(trust_domain, alert),
                "annotations": annotations(alert, name),
                "startsAt": time(alert.opened_at),
                "endsAt": time(alert.ended_at.unwrap_or(now + HOLDS_FOR)),
            })
        })
        .collect();
    Value::from(alerts).to_string().into_bytes()
}

fn whole(alert: &Alert, name: &str) -> Value {
    json!({
        "id": alert.id,
        "rule": alert.rule,
        "kind": alert.kind,
        "severity": alert.severity,
        "subject": alert.subject,
        "node_id": node(alert),
        "node_name": name,
        "labels": alert.labels,
        "reason": alert.reason,
        "message": alert.message,
        "since": time(alert.since),
        "opened_at": time(alert.opened_at),
        "ended_at": alert.ended_at.map(time),
        "end_reason": alert.end_reason,
        "count": alert.count,
        "node_ids": alert.nodes,
        "cause": alert.cause,
        "test": alert.is_test,
    })
}

/// What tells an alert from others, there: it must be the same each time.
fn labels(trust_domain: &str, alert: &Alert) -> BTreeMap<String, String> {
    let own = [
        ("alertname", alert.rule.clone()),
        ("severity", alert.severity.as_str().to_owned()),
        ("subject", alert.subject.to_string()),
        ("trust_domain", trust_domain.to_owned()),
        ("muster_alert", alert.id.to_string()),
    ];
    let of_node = alert.labels.iter().map(|(key, value)| (format!("label_{}", word(key)), value.to_owned()));
    let node = node(alert).map(|node| ("node".to_owned(), node));
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
    own.chain(of_node).chain(node).filter(|(_, value)| !value.is_empty()).collect()
}

fn annotations(alert: &Alert, name: &str) -> BTreeMap<&'static str, String> {
    let cause = alert.cause.as_ref().map(|cause| cause.message.clone()).unwrap_or_default();
    let all = [
        ("summary", alert.message.clone()),
        ("reason", alert.reason.clone()),
        ("node_name", name.to_owned()),
        ("cause", cause),
        ("test", if alert.is_test { "this is a test".to_owned() } else { String::new() }),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn node(alert: &Alert) -> Option<String> {
    match &alert.subject {
        Subject::Node(node) => Some(node.to_string()),
        Subject::Group(_) | Subject::Thing(_) => None,
    }
}

/// A key as names of labels are there.
fn word(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn time(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.0).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use muster_common::ids::{AlertId, DeliveryId, NodeId};
    use muster_domain::alert::{Event, built_in};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn told(ended: bool) -> (Delivery, Alert, String) {
        let rule = built_in().into_iter().find(|rule| rule.name == "node-offline").unwrap();
        let labels = [("site.example/Name".to_owned(), "fra".to_owned())].into_iter().collect();
        let alert = rule.begun(AlertId::from_u128(1), Subject::Node(NodeId::from_u128(2)), NOW, NOW);
        let alert = Alert { labels, message: "the node is offline".to_owned(), ..alert };
        let delivery = Delivery {
            id: DeliveryId::from_u128(3),
            receiver: "a".to_owned(),
            alert: alert.id,
            event: Event::Opened,
            created_at: NOW,
            tries: 0,
            due_at: NOW,
            dead_at: None,
            error: String::new(),
        };
        let alert = if ended { alert.ended("Resolved", NOW + Duration::from_secs(9)) } else { alert };
        (delivery, alert, "web-1".to_owned())
    }

    #[test]
    fn an_alertmanager_is_told_until_when_it_holds() {
        let now = NOW + Duration::from_secs(10);
        let body = |ended| {
            let (_, alert, name) = told(ended);
            let body = of_alertmanager("fleet.test", &[(alert, name)], now);
            let body: Value = serde_json::from_slice(&body).unwrap();
            body[0].clone()
        };
        assert_eq!(body(false)["endsAt"], "2023-11-14T22:18:30Z");
        assert_eq!(body(true)["endsAt"], "2023-11-14T22:13:29Z");
        assert_eq!(body(false)["labels"], body(true)["labels"], "it is the same one");
        assert_eq!(body(false)["labels"]["label_site_example_Name"], "fra");
        assert_eq!(body(false)["annotations"]["summary"], "the node is offline");
    }

    #[test]
    fn a_webhook_is_told_what_happened_and_how_it_is_now() {
        let body: Value = serde_json::from_slice(&of_webhook("fleet.test", &[told(true)])).unwrap();
        let event = &body["events"][0];
        assert_eq!((&event["event"], &event["alert"]["end_reason"]), (&json!("opened"), &json!("Resolved")));
        assert_eq!(event["alert"]["subject"], format!("node/{}", NodeId::from_u128(2)));
        assert_eq!(event["alert"]["ended_at"], "2023-11-14T22:13:29Z");
    }
}
