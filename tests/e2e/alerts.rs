//! Alerts with real processes: agents that are gone, the real Alertmanager and Prometheus, and a
//! webhook that checks who tells it.

use std::{path::Path, time::Duration};

use muster_common::clock::Clock;
use muster_proto::admin::v1::{self as pb, AlertState, AlertTarget, Liveness};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    monitoring::Alertmanager,
    mount::Mount,
    operator::Operator,
    plane::{Options, Plane},
    prometheus::Prometheus,
    relay::Relay,
    swarm::{self, Swarm},
    webhook::{SECRET, Webhook},
};
use serde_json::Value;

/// Nodes that are cut at once.
const CUT: u16 = 200;
/// Nodes that are not.
const LEFT: u16 = 60;

async fn receive(operator: &Operator, receiver: pb::AlertReceiver) {
    let request = pb::CreateAlertReceiverRequest { receiver: Some(receiver) };
    operator.alerts.clone().create_alert_receiver(request).await.unwrap();
}

fn hook(webhook: &Webhook) -> pb::AlertReceiver {
    pb::AlertReceiver {
        name: "hook".to_owned(),
        target: AlertTarget::Webhook as i32,
        url: webhook.url(),
        secret: SECRET.to_owned(),
        ..Default::default()
    }
}

fn manager(alertmanager: &Alertmanager) -> pb::AlertReceiver {
    pb::AlertReceiver {
        name: "manager".to_owned(),
        target: AlertTarget::Alertmanager as i32,
        url: alertmanager.url(),
        ..Default::default()
    }
}

async fn alerts(operator: &Operator) -> Vec<pb::Alert> {
    let request = pb::ListAlertsRequest { include_resolved: true, ..Default::default() };
    operator.alerts.clone().list_alerts(request).await.unwrap().into_inner().alerts
}

/// Those of one rule, as the Alertmanager has them.
async fn held(alertmanager: &Alertmanager, rule: &str) -> Vec<Value> {
    let mut alerts = alertmanager.alerts().await;
    alerts.retain(|alert| alert["labels"]["alertname"] == rule);
    alerts
}

fn events<'a>(told: &'a [Value], rule: &str) -> Vec<(&'a str, &'a str)> {
    let of_rule = told.iter().filter(|event| event["alert"]["rule"] == rule);
    let shown =
        |event: &'a Value| (event["event"].as_str().unwrap(), event["alert"]["subject"].as_str().unwrap());
    of_rule.map(shown).collect()
}

#[tokio::test]
async fn a_killed_agent_is_one_alert_in_time_and_ends_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let heartbeat = Duration::from_secs(1);
    let plane = Plane::start(folder.path(), &Options { heartbeat, ..Options::default() }).await;
    let operator = plane.operator().await;
    let (alertmanager, webhook) = (Alertmanager::start(folder.path()).await, Webhook::start(0));
    let prometheus = Prometheus::start(folder.path(), &[plane.addresses().console]).await;
    receive(&operator, manager(&alertmanager)).await;
    receive(&operator, hook(&webhook)).await;
    let mut agent = Agent::start(folder.path(), "web-1", &plane.join(1, &[("site", "fra")]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let (clock, subject) = (Clock::System, format!("node/{}", agent.node));
    let killed = clock.monotonic();
    agent.kill();
    let begun = eventually("the Alertmanager has it", LONG, || async {
        held(&alertmanager, "node-offline").await.into_iter().next()
    });
    let begun = begun.await;
    let took = clock.monotonic() - killed;
    // 2.5 intervals, one look, one telling; and a busy machine.
    assert!(took < heartbeat * 5 / 2 + Duration::from_secs(6), "it took {took:?}");
    println!("a killed agent was an alert at the Alertmanager after {took:?}");
    assert_eq!(begun["labels"]["subject"], subject.as_str());
    assert_eq!(begun["labels"]["label_site"], "fra");
    assert_eq!(begun["annotations"]["node_name"], "web-1");
    agent.run();
    operator.until_liveness(&agent.node, Liveness::Online).await;
    eventually("the Alertmanager has it no more", LONG, || async {
        held(&alertmanager, "node-offline").await.is_empty().then_some(())
    })
    .await;
    let both = [("opened", subject.as_str()), ("resolved", subject.as_str())];
    eventually("the webhook was told of both", LONG, || {
        std::future::ready((events(&webhook.told(), "node-offline") == both).then_some(()))
    })
    .await;
    assert_eq!(webhook.strange(), 0);
    let all = alerts(&operator).await;
    let of_node: Vec<_> = all.iter().filter(|alert| alert.subject == subject).collect();
    assert_eq!((of_node.len(), of_node[0].state()), (1, AlertState::Resolved), "{all:?}");
    eventually("Prometheus knows that receivers were told", LONG, || async {
        let told = prometheus.query("sum(muster_alerts_told_total{what=\"told\"})").await.unwrap();
        told.first().copied().filter(|told| *told >= 4.0)
    })
    .await;
}

#[tokio::test]
async fn many_agents_cut_at_once_are_one_alert_with_a_cause() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { heartbeat: Duration::from_secs(2), ..Options::default() };
    let plane = Plane::start(folder.path(), &options).await;
    let operator = plane.operator().await;
    let (alertmanager, webhook) = (Alertmanager::start(folder.path()).await, Webhook::start(0));
    receive(&operator, manager(&alertmanager)).await;
    receive(&operator, hook(&webhook)).await;
    let agents = plane.addresses().agents;
    let (cut, left) =
        (plane.join(CUT.into(), &[("site", "fra")]).await, plane.join(LEFT.into(), &[("site", "ber")]).await);
    let (cut, left) =
        (swarm::enroll(&cut, CUT.into()).await.unwrap(), swarm::enroll(&left, LEFT.into()).await.unwrap());
    let relay = Relay::start(agents, || true).await;
    let (behind, beside) = (Swarm::start(relay.address(), &cut, 20), Swarm::start(agents, &left, 20));
    let is_up = |swarm: &Swarm, count: u16| {
        swarm.counters.opened.load(std::sync::atomic::Ordering::Relaxed) >= u64::from(count)
    };
    eventually("all are there", Duration::from_secs(120), || {
        std::future::ready((is_up(&behind, CUT) && is_up(&beside, LEFT)).then_some(()))
    })
    .await;
    eventually("all are seen to be", LONG, || async {
        (count(&operator, Liveness::Online).await == usize::from(CUT + LEFT)).then_some(())
    })
    .await;
    drop(relay);
    let group = eventually("all of them are in one alert", LONG, || async {
        let all = alerts(&operator).await;
        all.into_iter().find(|alert| alert.subject == "fleet" && alert.node_count == u64::from(CUT))
    })
    .await;
    let cause = group.cause.as_ref().unwrap();
    assert_eq!(cause.reason, "CommonLabel", "{cause:?}");
    assert!(cause.message.contains("site=fra") && cause.message.starts_with("200 of 260 nodes"), "{cause:?}");
    assert_eq!(group.node_ids.len(), 100);
    eventually("the Alertmanager has it", LONG, || async {
        let held = held(&alertmanager, "node-offline").await;
        (held.len() == 1 && held[0]["labels"]["subject"] == "fleet").then_some(())
    })
    .await;
    behind.end().await;
    let back = Swarm::start(agents, &cut, 20);
    eventually("it ends when they are back", Duration::from_secs(60), || async {
        let all = alerts(&operator).await;
        all.into_iter().find(|alert| alert.id == group.id && alert.state() == AlertState::Resolved)
    })
    .await;
    eventually("the webhook was told of the end", LONG, || {
        std::future::ready((events(&webhook.told(), "node-offline").len() >= 2).then_some(()))
    })
    .await;
    let told = webhook.told();
    let of_group = [("opened", "fleet"), ("resolved", "fleet")];
    assert_eq!(events(&told, "node-offline"), of_group, "and of none of their nodes: {told:?}");
    back.end().await;
    beside.end().await;
}

/// A rule of a test's own, which tells at once.
async fn at_once(operator: &Operator, name: &str, kind: pb::AlertKind) {
    let rule = pb::AlertRule {
        name: name.to_owned(),
        kind: kind as i32,
        selector: "*".to_owned(),
        ..Default::default()
    };
    let request = pb::CreateAlertRuleRequest { rule: Some(rule) };
    operator.alerts.clone().create_alert_rule(request).await.unwrap();
}

/// What is open by this rule about a node whose disk is here: that of the machine may be full, too.
async fn about_disk(operator: &Operator, rule: &str, disk: &Path) -> Vec<pb::Alert> {
    let mut found = alerts(operator).await;
    let named = disk.to_str().unwrap();
    found.retain(|it| it.rule == rule && it.state() == AlertState::Open && it.message.contains(named));
    found
}

#[tokio::test]
async fn a_disk_that_fills_is_an_alert_until_it_has_room_by_the_host_s_own_option() {
    let folder = tempfile::tempdir().unwrap();
    let heartbeat = Duration::from_millis(300);
    let plane = Plane::start(folder.path(), &Options { heartbeat, ..Options::default() }).await;
    let operator = plane.operator().await;
    at_once(&operator, "disk", pb::AlertKind::DiskNearlyFull).await;
    let disk = folder.path().join("disk");
    let _mounted = Mount::disk(&disk, "1m", "/dev/muster-test");
    let agent = Agent::start(folder.path(), "db-1", &plane.join(1, &[]).await);
    let write = |kib: usize| std::fs::write(disk.join("data"), vec![7; kib * 1024]).unwrap();
    write(820); // 80 %, as tmpfs has nothing for root alone
    let has_told = |node: &pb::Node| {
        node.conditions.iter().any(|it| it.r#type == "DiskOk" && it.reason != "NotMeasured")
    };
    operator.until("it was measured", &agent.node, has_told).await;
    assert_eq!(about_disk(&operator, "disk", &disk).await, [], "80 % is not nearly full");

    write(960);
    let found =
        eventually("it is an alert", LONG, || async { about_disk(&operator, "disk", &disk).await.pop() });
    let found = found.await;
    assert_eq!((found.reason.as_str(), found.node_id.as_str()), ("NearlyFull", agent.node.as_str()));
    write(900); // 88 %: below the limit, and not by enough
    agent.settings("disk-nearly-full = \"99\"\n");
    eventually("another limit is in force", LONG, || async {
        about_disk(&operator, "disk", &disk).await.is_empty().then_some(())
    })
    .await;
    agent.settings("disk-nearly-full = \"50\"\n");
    let again = eventually("88 % is too much by now", LONG, || async {
        about_disk(&operator, "disk", &disk).await.pop()
    });
    assert!(again.await.message.starts_with("at least 50 % of "), "it says by which limit");
    write(100);
    eventually("there is room", LONG, || async {
        about_disk(&operator, "disk", &disk).await.is_empty().then_some(())
    })
    .await;
}

async fn count(operator: &Operator, liveness: Liveness) -> usize {
    let request = pb::ListNodesRequest { page_size: 1000, ..Default::default() };
    let nodes = operator.nodes.clone().list_nodes(request).await.unwrap().into_inner().nodes;
    nodes.iter().filter(|node| node.connection.as_ref().is_some_and(|it| it.liveness() == liveness)).count()
}

#[tokio::test]
async fn what_a_webhook_could_not_be_told_is_told_after_a_kill_and_given_up_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let webhook = Webhook::start(2);
    receive(&operator, hook(&webhook)).await;
    let fire = pb::TestFireAlertRequest { rule: "drift".to_owned() };
    let fired =
        operator.alerts.clone().test_fire_alert(fire.clone()).await.unwrap().into_inner().alert.unwrap();
    assert!(fired.test);
    eventually("it was refused", LONG, || std::future::ready((webhook.refused() >= 1).then_some(()))).await;
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    eventually("it was told after all", LONG, || {
        std::future::ready((!webhook.told().is_empty()).then_some(()))
    })
    .await;
    let told = webhook.told();
    assert_eq!((told.len(), told[0]["alert"]["id"].as_str()), (1, Some(fired.id.as_str())), "{told:?}");
    assert_eq!((webhook.refused(), webhook.strange()), (2, 0));

    webhook.refuse(2);
    let impatient = pb::AlertReceiver { max_tries: 2, secret: String::new(), ..hook(&webhook) };
    let request = pb::UpdateAlertReceiverRequest { receiver: Some(impatient) };
    operator.alerts.clone().update_alert_receiver(request).await.unwrap();
    let second = operator.alerts.clone().test_fire_alert(fire).await.unwrap().into_inner().alert.unwrap();
    let letter = eventually("it is given up", LONG, || async {
        let request = pb::ListDeadLettersRequest::default();
        let letters =
            operator.alerts.clone().list_dead_letters(request).await.unwrap().into_inner().dead_letters;
        letters.into_iter().find(|letter| letter.alert_id == second.id)
    })
    .await;
    assert_eq!((letter.alert_id.as_str(), letter.tries), (second.id.as_str(), 2));
    assert!(letter.error.contains("503"), "{letter:?}");
    let request = pb::RetryDeadLetterRequest { id: letter.id };
    operator.alerts.clone().retry_dead_letter(request).await.unwrap();
    eventually("it was told after all", LONG, || {
        let told = webhook.told();
        std::future::ready(told.iter().any(|event| event["alert"]["id"] == second.id.as_str()).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn an_alertmanager_that_was_away_is_told_of_what_began_before_it_was_a_receiver_and_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { heartbeat: Duration::from_secs(1), ..Options::default() };
    let plane = Plane::start(folder.path(), &options).await;
    let operator = plane.operator().await;
    let mut alertmanager = Alertmanager::start(folder.path()).await;
    alertmanager.kill();
    let mut agent = Agent::start(folder.path(), "web-1", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    agent.kill();
    let subject = format!("node/{}", agent.node);
    eventually("it is an alert", LONG, || async {
        alerts(&operator).await.into_iter().find(|alert| alert.subject == subject)
    })
    .await;
    // No delivery is tried more than once: what is open needs none.
    receive(&operator, pb::AlertReceiver { max_tries: 1, ..manager(&alertmanager) }).await;
    eventually("it was tried again and again", LONG, || async {
        let failed = plane.metric("muster_alerts_told_total{what=\"failed\"}").await;
        (failed >= 3).then_some(())
    })
    .await;
    alertmanager.run().await;
    let held = eventually("it has it", LONG, || async {
        held(&alertmanager, "node-offline").await.into_iter().next()
    })
    .await;
    assert_eq!(held["labels"]["subject"], subject.as_str());
    assert_eq!(plane.metric("muster_alerts_told_total{what=\"dead\"}").await, 0);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    // The kernel takes its connections, and nobody answers.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (webhook, url) = (Webhook::start(0), format!("http://{}/", deaf.local_addr().unwrap()));
    receive(&operator, pb::AlertReceiver { name: "deaf".to_owned(), url, ..hook(&webhook) }).await;
    receive(&operator, hook(&webhook)).await;
    let fire = || async {
        let request = pb::TestFireAlertRequest { rule: "drift".to_owned() };
        operator.alerts.clone().test_fire_alert(request).await.unwrap();
    };
    let webhook = &webhook;
    let told = |count: usize| {
        eventually("the webhook was told", LONG, move || {
            std::future::ready((webhook.told().len() >= count).then_some(()))
        })
    };
    fire().await;
    told(1).await;
    let begun = Clock::System.monotonic();
    fire().await;
    told(2).await;
    let took = Clock::System.monotonic() - begun;
    assert!(took < Duration::from_secs(6), "the other one is waited for, for ten: it took {took:?}");
}
