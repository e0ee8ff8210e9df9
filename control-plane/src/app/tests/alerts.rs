//! What people are told of by themselves.

mod kinds;
mod told;

use std::time::Duration;

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    access::{Permission, Reach, Scope},
    alert::{Alert, Delivery, Event, Kind, Severity, State, Target},
    labels::Labels,
    liveness::{self, Closed},
    page::Page,
    replica::{BEAT, LEASE},
};
use muster_store::{ReadDeliveries as _, ReadSecrets as _};
use zeroize::Zeroizing;

use super::bench::{Bench, NOW, alice, whole};
use crate::app::{
    Actor, Error,
    alerts::{Looked, ReceiverWish, SilenceWish, Wish},
};

const MINUTE: Duration = Duration::from_secs(60);

fn rule(name: &str) -> Wish {
    Wish {
        name: name.to_owned(),
        description: String::new(),
        kind: Kind::NodeOffline,
        selector: "*".to_owned(),
        threshold: None,
        hold: Duration::ZERO,
        severity: Severity::Warning,
        receivers: Vec::new(),
        disabled: false,
        damping: None,
        etag: String::new(),
    }
}

fn hook(url: &str, secret: &str) -> ReceiverWish {
    ReceiverWish {
        name: "hook".to_owned(),
        target: Target::Webhook,
        url: url.to_owned(),
        secret: (!secret.is_empty()).then(|| Zeroizing::new(secret.as_bytes().to_vec())),
        tries: 0,
        paused: false,
        etag: String::new(),
    }
}

const URL: &str = "https://hooks.example/x";
const SECRET: &str = "0123456789abcdef";

impl Bench {
    async fn look(&self) {
        self.app.clock.advance(Duration::from_secs(1));
        self.app.look_for_alerts(&mut Looked::default()).await.unwrap();
    }

    /// Its agent stops, or is there.
    fn goes(&self, node: NodeId, event: liveness::Event) {
        let now = self.app.clock.monotonic();
        self.app.fleet.with(node, |mut entry| self.app.observe(&mut entry, event, now));
    }

    async fn gone(&self, number: u128) -> NodeId {
        let node = self.node(number).await;
        self.stops(node);
        node
    }

    /// Its agent is there, and stops.
    fn stops(&self, node: NodeId) {
        self.goes(node, liveness::Event::Connected);
        self.goes(node, liveness::Event::StreamClosed(Closed::Stopped));
    }

    fn fleet_label(&self, node: NodeId, labels: Labels) {
        self.app.fleet.with(node, |mut entry| entry.node.labels = labels);
    }

    async fn alerts(&self, scope: &Scope) -> Vec<Alert> {
        self.app.alerts(scope, Page { size: 100, after: None }, true).await.unwrap().rows
    }

    /// What the webhook is still to be told.
    async fn waiting(&self) -> Vec<Event> {
        let read = self.app.store.read(|tx| Ok::<_, Error>(tx.delivery_first("hook", 100)?));
        read.await.unwrap().iter().map(|delivery: &Delivery| delivery.event).collect()
    }
}

#[tokio::test]
async fn an_alert_begins_once_whoever_looks_and_ends_when_it_is_so_no_more() {
    let bench = Bench::following().await;
    let node = bench.gone(1).await;
    bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap();
    let (mut one, mut other) = (Looked::default(), Looked::default());
    bench.app.look_for_alerts(&mut one).await.unwrap();
    bench.app.look_for_alerts(&mut other).await.unwrap();
    bench.app.look_for_alerts(&mut one).await.unwrap();
    let alerts = bench.alerts(&whole()).await;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!((alerts[0].reason.as_str(), alerts[0].state()), ("AgentStopped", State::Open));
    assert_eq!(bench.waiting().await, [Event::Opened]);
    bench.goes(node, liveness::Event::Connected);
    bench.look().await;
    assert_eq!(bench.alerts(&whole()).await[0].state(), State::Resolved);
    assert_eq!(bench.waiting().await, [Event::Opened, Event::Resolved]);
}

#[tokio::test]
async fn what_did_not_change_is_not_written() {
    let bench = Bench::following().await;
    bench.gone(1).await;
    bench.look().await;
    let before = bench.alerts(&whole()).await[0].revision;
    bench.look().await;
    let revision = bench.app.alerts_now(&whole()).await.unwrap().1;
    assert_eq!(revision, before, "nothing was written at all");
}

#[tokio::test]
async fn a_silence_keeps_a_beginning_back_until_it_ends() {
    let bench = Bench::following().await;
    bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap();
    let silence = |selector: &str| SilenceWish {
        rule: "node-offline".to_owned(),
        selector: selector.to_owned(),
        starts_at: None,
        ends_at: NOW + MINUTE * 30,
        comment: "works".to_owned(),
    };
    bench.app.silence_alerts(&alice(), silence("site=nowhere")).await.unwrap();
    let made = bench.app.silence_alerts(&alice(), silence("")).await.unwrap();
    bench.gone(1).await;
    bench.look().await;
    assert_eq!(bench.alerts(&whole()).await[0].state(), State::Silenced);
    assert_eq!(bench.waiting().await, []);
    bench.app.expire_silence(&alice(), made.id).await.unwrap();
    bench.look().await;
    assert_eq!(bench.alerts(&whole()).await[0].state(), State::Open);
    assert_eq!(bench.waiting().await, [Event::Opened]);
    let over = SilenceWish { ends_at: NOW, ..silence("") };
    let refused = bench.app.silence_alerts(&alice(), over).await;
    assert!(matches!(refused, Err(Error::Invalid { field, .. }) if field == "silence.end_time"));
}

#[tokio::test]
async fn a_rule_that_is_built_in_can_be_turned_off_and_is_again_as_it_came() {
    let bench = Bench::following().await;
    bench.gone(1).await;
    bench.look().await;
    let built_in = bench.app.alert_rule("node-offline".to_owned()).await.unwrap();
    let off = Wish { disabled: true, ..rule("node-offline") };
    let stale = Wish { etag: "7".to_owned(), ..off.clone() };
    let stale = bench.app.update_alert_rule(&alice(), stale).await;
    assert!(matches!(stale, Err(Error::Refused { reason: Reason::EtagMismatch, .. })));
    bench.app.update_alert_rule(&alice(), off).await.unwrap();
    bench.look().await;
    assert_eq!(bench.alerts(&whole()).await[0].end_reason, "RuleOff");
    bench.app.delete_alert_rule(&alice(), "node-offline".to_owned(), String::new()).await.unwrap();
    assert_eq!(bench.app.alert_rule("node-offline".to_owned()).await.unwrap(), built_in);
    bench.look().await;
    assert_eq!(bench.alerts(&whole()).await.len(), 2, "it is so still");
}

#[tokio::test]
async fn what_cannot_be_a_rule_is_refused_with_its_field() {
    let bench = Bench::following().await;
    let soon = Some(Duration::from_secs(60));
    for (wrong, field) in [
        (rule("A B"), "rule.name"),
        (Wish { selector: "a=b=c".to_owned(), ..rule("a") }, "rule.selector"),
        (Wish { selector: "@nowhere".to_owned(), ..rule("a") }, "rule.selector"),
        (Wish { kind: Kind::RolloutStopped, ..rule("a") }, "rule.selector"),
        (Wish { threshold: soon, ..rule("a") }, "rule.threshold"),
        (Wish { kind: Kind::CertificateExpiry, ..rule("a") }, "rule.threshold"),
        (Wish { receivers: vec!["nobody".to_owned()], ..rule("a") }, "rule.receivers[0]"),
    ] {
        let refused = bench.app.create_alert_rule(&alice(), wrong).await;
        assert!(
            matches!(&refused, Err(Error::Invalid { field: found, .. }) if found == field),
            "{refused:?}"
        );
    }
    let made = bench.app.create_alert_rule(&alice(), rule("a")).await.unwrap();
    assert_eq!(bench.app.create_alert_rule(&alice(), rule("a")).await.unwrap(), made, "once more");
    let other = Wish { severity: Severity::Info, ..rule("a") };
    let taken = bench.app.create_alert_rule(&alice(), other).await;
    assert!(matches!(taken, Err(Error::Refused { reason: Reason::AlreadyExists, .. })));
}

#[tokio::test]
async fn a_receiver_keeps_its_secret_and_takes_it_with_it() {
    let bench = Bench::following().await;
    for (wrong, field) in [
        (hook("http://hooks.example/x", SECRET), "receiver.url"),
        (hook(URL, "short"), "receiver.secret"),
        (hook(URL, ""), "receiver.secret"),
        (ReceiverWish { tries: 101, ..hook(URL, SECRET) }, "receiver.max_tries"),
        (ReceiverWish { target: Target::Alertmanager, ..hook(URL, SECRET) }, "receiver.secret"),
    ] {
        let refused = bench.app.create_receiver(&alice(), wrong).await;
        assert!(
            matches!(&refused, Err(Error::Invalid { field: found, .. }) if found == field),
            "{refused:?}"
        );
    }
    let made = bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap();
    assert_eq!(bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap(), made, "once more");
    let moved = bench.app.update_receiver(&alice(), hook("https://other.example", "")).await.unwrap();
    assert_eq!(moved.secret, made.secret, "it keeps it");
    let keys =
        || bench.app.store.read(|tx| Ok::<_, Error>(tx.secret_keys()?.iter().map(|(_, n)| n).sum::<u64>()));
    let other =
        bench.app.update_receiver(&alice(), hook("https://other.example", "another secret of it")).await;
    assert_ne!(other.unwrap().secret, made.secret);
    assert_eq!(keys().await.unwrap(), 1, "the one of before is gone");
    let named = Wish { receivers: vec!["hook".to_owned()], ..rule("a") };
    bench.app.create_alert_rule(&alice(), named).await.unwrap();
    let used = bench.app.delete_receiver(&alice(), "hook".to_owned(), String::new()).await;
    assert!(matches!(used, Err(Error::Refused { reason: Reason::InUse, .. })));
    bench.app.delete_alert_rule(&alice(), "a".to_owned(), String::new()).await.unwrap();
    bench.app.delete_receiver(&alice(), "hook".to_owned(), String::new()).await.unwrap();
    assert_eq!(keys().await.unwrap(), 0);
}

#[tokio::test]
async fn a_caller_is_shown_and_acknowledges_alerts_of_its_own_nodes() {
    let bench = Bench::following().await;
    let (node, _) = (bench.gone(1).await, bench.gone(2).await);
    bench.look().await;
    let labels = [("env".to_owned(), "dev".to_owned())].into_iter().collect();
    bench.fleet_label(node, labels);
    let reach: Reach = "env=dev".parse().unwrap();
    let scope = Scope { principal: "operator/dora".to_owned(), permission: Permission::Command, reach };
    let shown = bench.alerts(&scope).await;
    assert_eq!(shown.len(), 1);
    let other = bench.alerts(&whole()).await.into_iter().find(|alert| alert.id != shown[0].id).unwrap();
    let dora = Actor { principal: scope.principal.clone(), scope, ..alice() };
    let refused = bench.app.acknowledge_alert(&dora, other.id, String::new()).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })));
    let after = bench.app.acknowledge_alert(&dora, shown[0].id, "mine".to_owned()).await.unwrap();
    assert_eq!(
        (after.state(), after.acknowledged.unwrap().by),
        (State::Acknowledged, "operator/dora".to_owned())
    );
    bench.goes(node, liveness::Event::Connected);
    bench.look().await;
    let late = bench.app.acknowledge_alert(&dora, shown[0].id, String::new()).await;
    assert!(matches!(late, Err(Error::Refused { reason: Reason::StateConflict, .. })));
}

#[tokio::test]
async fn a_test_ends_by_itself() {
    let bench = Bench::following().await;
    bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap();
    let fired = bench.app.test_fire_alert(&alice(), "drift".to_owned()).await.unwrap();
    bench.look().await;
    assert_eq!(bench.alerts(&whole()).await[0], fired);
    bench.app.clock.advance(MINUTE);
    bench.look().await;
    assert_eq!(bench.alerts(&whole()).await[0].end_reason, "TestOver");
    assert_eq!(bench.waiting().await, [Event::Opened, Event::Resolved]);
}

#[tokio::test]
async fn a_replica_that_is_lost_is_told_of_until_it_is_back() {
    let (first, second) = Bench::pair().await;
    let lost = || async {
        first.look().await;
        let all = first.app.alerts(&whole(), Page { size: 100, after: None }, false).await.unwrap().rows;
        all.into_iter().find(|alert| alert.rule == "replica-lost").map(|alert| alert.subject.to_string())
    };
    first.app.beat().await.unwrap();
    assert_eq!(lost().await, None);
    for _ in 0..=LEASE.as_secs() / BEAT.as_secs() {
        tokio::time::pause();
        tokio::time::advance(BEAT).await;
        tokio::time::resume();
        first.app.beat().await.unwrap();
    }
    assert_eq!(lost().await.as_deref(), Some("replica/b"));
    second.app.beat().await.unwrap();
    first.app.beat().await.unwrap();
    assert_eq!(lost().await, None, "it is back");
}

#[tokio::test]
async fn a_replica_that_another_one_declared_lost_is_told_of_before_this_one_beats() {
    let (first, _second) = Bench::pair().await;
    let third = first.beside("c").await;
    first.app.beat().await.unwrap();
    for _ in 0..=LEASE.as_secs() / BEAT.as_secs() {
        tokio::time::pause();
        tokio::time::advance(BEAT).await;
        tokio::time::resume();
        third.app.beat().await.unwrap();
    }
    assert!(first.app.replicas.all().iter().any(|it| it.name == "b"), "as of the last beat of this one");
    first.look().await;
    let subjects: Vec<String> =
        first.alerts(&whole()).await.iter().map(|alert| alert.subject.to_string()).collect();
    assert!(subjects.contains(&"replica/b".to_owned()), "{subjects:?}");
}
