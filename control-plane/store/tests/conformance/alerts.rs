use std::time::Duration;

use muster_common::ids::{AlertId, DeliveryId, NodeId, SecretId, SilenceId};
use muster_domain::{
    alert::{Alert, Cause, Delivery, Event, Receiver, Rule, Silence, Subject, Target, built_in},
    page::Page,
    secret::Secret,
};
use muster_store::{
    ChangeKind, ReadAlerts as _, ReadChanges as _, ReadDeliveries as _, ReadReceivers as _, ReadSecrets as _,
    Store, WriteAlerts as _, WriteDeliveries as _, WriteReceivers as _, WriteSecrets as _,
};

use crate::{
    harness::{Database, NOW, pages, read, report, write},
    samples::labels,
};

fn rule() -> Rule {
    let hold = Duration::from_millis(1500);
    Rule { hold, receivers: vec!["pager".into()], ..built_in().swap_remove(0) }
}

fn alert(number: u128, node: u128) -> Alert {
    let subject = Subject::Node(NodeId::from_u128(node));
    Alert {
        labels: labels(&[("site", "fra")]),
        reason: "Silent".into(),
        message: "first line\nsecond \"line\"".into(),
        nodes: vec![NodeId::from_u128(1)],
        cause: Some(Cause { reason: "ManyNodes".into(), message: "who knows".into() }),
        silence: Some(SilenceId::from_u128(3)),
        ..rule().begun(AlertId::from_u128(number), subject, NOW, NOW)
    }
}

fn receiver(name: &str) -> Receiver {
    Receiver {
        name: name.into(),
        target: Target::Webhook,
        url: "https://hooks.example/x".into(),
        tries: 3,
        paused: true,
        created_at: NOW,
        updated_at: NOW,
        updated_by: "operator/alice".into(),
        secret: None,
        revision: 0,
    }
}

fn delivery(number: u128, alert: u128) -> Delivery {
    Delivery {
        id: DeliveryId::from_u128(number),
        receiver: "pager".into(),
        alert: AlertId::from_u128(alert),
        event: Event::Opened,
        created_at: NOW,
        tries: 0,
        due_at: NOW,
        dead_at: None,
        error: String::new(),
    }
}

pub(crate) fn rules_receivers_and_silences_come_back(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.alert_mark()), (0, 0));
    let revision = write(&store, |tx| tx.alert_rule_put(&rule())).revision;
    assert_eq!(read(&store, |tx| tx.alert_rule_all()), [Rule { revision, ..rule() }]);
    assert_eq!(read(&store, |tx| tx.alert_rule_get("node-offline")), Some(Rule { revision, ..rule() }));
    let secret = Secret { id: SecretId::from_u128(5), key_id: "a".into(), sealed: vec![1, 2] };
    let (kept, named) = (secret.clone(), Receiver { secret: Some(secret.id), ..receiver("pager") });
    let put = named.clone();
    let revision = write(&store, move |tx| {
        tx.secret_put(&kept)?;
        tx.receiver_put(&put)?;
        tx.secret_sweep()
    })
    .revision;
    assert_eq!(read(&store, |tx| tx.receiver_all()), [Receiver { revision, ..named }]);
    assert_eq!(read(&store, |tx| tx.secret_of_receiver("pager")), Some(secret), "it is in use");
    assert!(write(&store, |tx| tx.receiver_delete("pager")).value);
    write(&store, |tx| tx.secret_sweep());
    assert_eq!(read(&store, |tx| tx.secret_keys()), []);
    let silence = Silence {
        id: SilenceId::from_u128(1),
        rule: "drift".into(),
        selector: "site=fra".into(),
        starts_at: NOW,
        ends_at: NOW + Duration::from_secs(60),
        comment: "works".into(),
        created_by: "operator/alice".into(),
        created_at: NOW,
        revision: 0,
    };
    let put = silence.clone();
    let revision = write(&store, move |tx| tx.silence_put(&put)).revision;
    assert_eq!(read(&store, |tx| tx.silence_all()), [Silence { revision, ..silence.clone() }]);
    assert_eq!(read(&store, |tx| tx.alert_mark()), (2, revision));
    let (id, end) = (silence.id, silence.ends_at);
    assert_eq!(report(&store, move |tx| tx.silence_prune(end, 9)).value, 0);
    assert_eq!(report(&store, move |tx| tx.silence_prune(end + Duration::from_secs(1), 9)).value, 1);
    assert_eq!(read(&store, move |tx| tx.silence_get(id)), None);
    assert!(write(&store, |tx| tx.alert_rule_delete("node-offline")).value);
    assert!(!write(&store, |tx| tx.alert_rule_delete("node-offline")).value);
}

fn put(store: &Store, alert: Alert) -> bool {
    report(store, move |tx| tx.alert_put(&alert)).value
}

pub(crate) fn an_alert_is_open_once_and_changes_from_what_was_read(database: &impl Database) {
    let store = database.open();
    assert!(put(&store, alert(1, 1)));
    assert!(!put(&store, alert(2, 1)), "the same of the same rule is open");
    assert!(put(&store, alert(3, 2)));
    let found = read(&store, |tx| tx.alert_get(AlertId::from_u128(1))).unwrap();
    assert_eq!(found, Alert { revision: found.revision, ..alert(1, 1) });
    let changes = read(&store, move |tx| tx.changes_since(found.revision - 1, 1));
    assert_eq!((changes[0].kind, changes[0].id.parse()), (ChangeKind::Alert, Ok(AlertId::from_u128(1))));
    let found = read(&store, |tx| tx.alert_get(AlertId::from_u128(1))).unwrap();
    let mark = read(&store, |tx| tx.alert_mark());
    assert!(put(&store, Alert { told: true, ..found.clone() }));
    assert_ne!(read(&store, |tx| tx.alert_mark()), mark);
    assert!(!put(&store, found.ended("Resolved", NOW)), "it is another one by now");
    let found = read(&store, |tx| tx.alert_get(AlertId::from_u128(1))).unwrap();
    assert!(put(&store, found.ended("Resolved", NOW)));
    let open = read(&store, |tx| tx.alert_open_all());
    assert_eq!(open.iter().map(|alert| alert.id).collect::<Vec<_>>(), [AlertId::from_u128(3)]);
    assert!(put(&store, alert(4, 1)), "it begins again");
    let sooner = read(&store, |tx| tx.alert_get(AlertId::from_u128(3))).unwrap();
    let later = read(&store, |tx| tx.alert_get(AlertId::from_u128(4))).unwrap();
    assert!(put(&store, later.ended("Resolved", NOW + Duration::from_secs(2))));
    assert!(put(&store, sooner.ended("Resolved", NOW + Duration::from_secs(1))));
    let ended = read(&store, |tx| tx.alert_ended_last(2));
    assert_eq!(ended.iter().map(|alert| alert.id).collect::<Vec<_>>(), [4, 3].map(AlertId::from_u128));
    assert!(put(&store, alert(5, 1)) && put(&store, alert(6, 2)), "both begin again");
    let ids = |ended| -> Vec<AlertId> {
        let listed = pages(2, |page| read(&store, move |tx| tx.alert_list(&page, ended)));
        listed.iter().map(|alert| alert.id).collect()
    };
    assert_eq!(ids(true), [6, 5, 4, 3, 1].map(AlertId::from_u128));
    assert_eq!(ids(false), [6, 5].map(AlertId::from_u128));
}

pub(crate) fn deliveries_are_due_in_order_until_they_are_dead_and_come_back(database: &impl Database) {
    let store = database.open();
    put(&store, alert(1, 1));
    report(&store, |tx| tx.delivery_put(&delivery(9, 1)));
    assert_eq!(
        read(&store, |tx| tx.delivery_get(DeliveryId::from_u128(9))),
        None,
        "there is no such receiver"
    );
    write(&store, |tx| tx.receiver_put(&receiver("pager")));
    report(&store, |tx| tx.delivery_put(&delivery(9, 7)));
    assert_eq!(read(&store, |tx| tx.delivery_first("pager", 9)), [], "there is no such alert");
    let later =
        Delivery { due_at: NOW + Duration::from_secs(5), tries: 1, error: "no".into(), ..delivery(1, 1) };
    let put_later = later.clone();
    report(&store, |tx| tx.delivery_put(&delivery(2, 1)));
    report(&store, move |tx| tx.delivery_put(&put_later));
    assert_eq!(read(&store, |tx| tx.delivery_first("pager", 9)), [later.clone(), delivery(2, 1)]);
    assert_eq!(read(&store, |tx| tx.delivery_due("pager", NOW, 9)), [delivery(2, 1)]);
    let dead = Delivery { dead_at: Some(NOW), tries: 2, ..later };
    let put_dead = dead.clone();
    report(&store, move |tx| tx.delivery_put(&put_dead));
    assert_eq!(
        read(&store, |tx| tx.delivery_dead(&Page { size: 9, after: None })).rows,
        std::slice::from_ref(&dead)
    );
    assert_eq!(read(&store, |tx| tx.delivery_first("pager", 9)), [delivery(2, 1)]);
    let id = dead.id;
    assert!(write(&store, move |tx| tx.delivery_revive(id, NOW)).value);
    assert!(!write(&store, move |tx| tx.delivery_revive(id, NOW)).value);
    assert_eq!(
        read(&store, |tx| tx.delivery_due("pager", NOW, 1)),
        [Delivery { error: "no".into(), ..delivery(1, 1) }]
    );
    report(&store, move |tx| tx.delivery_delete(id));
    report(&store, |tx| tx.delivery_delete(DeliveryId::from_u128(2)));
    assert_eq!(read(&store, |tx| tx.delivery_first("pager", 9)), []);
}

pub(crate) fn what_is_over_goes_with_what_was_to_be_told(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.receiver_put(&receiver("pager")));
    put(&store, alert(1, 1));
    put(&store, alert(2, 2));
    report(&store, |tx| tx.delivery_put(&delivery(1, 1)));
    let found = read(&store, |tx| tx.alert_get(AlertId::from_u128(1))).unwrap();
    put(&store, found.ended("Resolved", NOW));
    assert_eq!(read(&store, |tx| tx.alert_newest_since(1)), Some(NOW));
    assert_eq!(read(&store, |tx| tx.alert_newest_since(2)), None, "there are not so many");
    assert_eq!(report(&store, |tx| tx.alert_prune(NOW, 9)).value, 0);
    assert_eq!(report(&store, |tx| tx.alert_prune(NOW + Duration::from_secs(1), 9)).value, 1);
    assert_eq!(read(&store, |tx| tx.delivery_first("pager", 9)), []);
    assert_eq!(read(&store, |tx| tx.alert_open_all()).len(), 1);
}
