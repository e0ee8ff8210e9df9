//! Who is told of alerts, and who is not.

use muster_common::ids::NodeId;
use muster_domain::{
    access::{Permission, Role, Scope},
    alert::{Event, State, Target},
    labels::Labels,
    liveness,
};

use super::{
    super::bench::{Bench, NOW, alice, binding, caller, whole},
    MINUTE, SECRET, URL, hook, rule,
};
use crate::app::alerts::{ReceiverWish, SilenceWish, Wish};

fn manager() -> ReceiverWish {
    ReceiverWish { name: "manager".to_owned(), target: Target::Alertmanager, ..hook(URL, "") }
}

#[tokio::test]
async fn a_receiver_that_comes_later_is_told_of_what_is_open_and_one_made_anew_is_again() {
    let bench = Bench::following().await;
    bench.gone(1).await;
    bench.look().await;
    bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap();
    bench.look().await;
    bench.look().await;
    assert_eq!(bench.waiting().await, [Event::Opened], "once");
    bench.app.delete_receiver(&alice(), "hook".to_owned(), String::new()).await.unwrap();
    bench.look().await;
    bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap();
    bench.look().await;
    assert_eq!(bench.waiting().await, [Event::Opened], "it is another one of the same name");
}

#[tokio::test]
async fn a_url_is_shown_whole_to_those_who_may_write_it() {
    let bench = Bench::following().await;
    let callers = ["operator/alice", "operator/vera"].map(caller).to_vec();
    let bindings = [("operator/alice", Role::SecurityAdmin), ("operator/vera", Role::Operator)];
    let bindings = bindings.map(|(who, role)| binding(who, role, "*"));
    bench.app.access.replace(callers, &bindings);
    bench.app.create_receiver(&alice(), hook("https://hooks.example:8443/x/secret", SECRET)).await.unwrap();
    let url = async |who: &str| {
        let scope = Scope::whole(who, Permission::Read);
        bench.app.receivers(&scope).await.unwrap().remove(0).url
    };
    assert_eq!(url("operator/alice").await, "https://hooks.example:8443/x/secret");
    assert_eq!(url("operator/vera").await, "https://hooks.example:8443");
    assert_eq!(url("operator/nobody").await, "https://hooks.example:8443");
}

#[tokio::test]
async fn a_receiver_that_a_rule_names_later_is_told_and_who_was_told_is_told_of_the_end() {
    let bench = Bench::following().await;
    bench.app.create_receiver(&alice(), manager()).await.unwrap();
    bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap();
    let named = |name: &str| Wish { receivers: vec![name.to_owned()], ..rule("node-offline") };
    bench.app.update_alert_rule(&alice(), named("manager")).await.unwrap();
    let node = bench.gone(1).await;
    bench.look().await;
    assert_eq!(bench.waiting().await, []);
    bench.app.update_alert_rule(&alice(), named("hook")).await.unwrap();
    bench.look().await;
    assert_eq!(bench.waiting().await, [Event::Opened]);
    bench.app.update_alert_rule(&alice(), named("manager")).await.unwrap();
    bench.goes(node, liveness::Event::Connected);
    bench.look().await;
    assert_eq!(bench.waiting().await, [Event::Opened, Event::Resolved]);
}

#[tokio::test]
async fn a_silence_of_nodes_holds_for_the_one_alert_of_many_while_all_of_them_are_of_it() {
    let bench = Bench::following().await;
    bench.app.create_receiver(&alice(), hook(URL, SECRET)).await.unwrap();
    let mut nodes: Vec<NodeId> = Vec::new();
    for number in 1..=8 {
        nodes.push(bench.node(number).await);
    }
    let (cut, other) = (&nodes[..6], nodes[6]);
    let at = |site: &str| -> Labels { [("site".to_owned(), site.to_owned())].into_iter().collect() };
    nodes.iter().for_each(|node| bench.fleet_label(*node, at("ber")));
    cut.iter().for_each(|node| bench.fleet_label(*node, at("fra")));
    let silence = SilenceWish {
        rule: "node-offline".to_owned(),
        selector: "site=fra".to_owned(),
        starts_at: None,
        ends_at: NOW + MINUTE * 30,
        comment: "works at Frankfurt".to_owned(),
    };
    bench.app.silence_alerts(&alice(), silence).await.unwrap();
    cut.iter().for_each(|node| bench.stops(*node));
    bench.look().await;
    let open = bench.alerts(&whole()).await;
    assert_eq!((open.len(), open[0].subject.to_string().as_str()), (1, "fleet"), "{open:?}");
    assert_eq!((open[0].state(), bench.waiting().await.len()), (State::Silenced, 0));
    bench.stops(other);
    bench.look().await;
    let open = bench.alerts(&whole()).await;
    assert_eq!((open[0].count, open[0].state()), (7, State::Open), "one of them is elsewhere: {open:?}");
    assert_eq!(bench.waiting().await, [Event::Opened]);
}

#[tokio::test]
async fn a_cause_is_held_against_the_other_nodes_of_the_same_group() {
    let bench = Bench::following().await;
    let damping = muster_domain::alert::Damping { by: "site".to_owned(), ..Default::default() };
    let by_site = Wish { damping: Some(damping), ..rule("node-offline") };
    bench.app.update_alert_rule(&alice(), by_site).await.unwrap();
    // At each site every second node is in production; all of these go at one site, and none at the other.
    let mut cut: Vec<NodeId> = Vec::new();
    for number in 0..40 {
        let node = bench.node(number + 1).await;
        let site = if number < 20 { "fra" } else { "ber" };
        let env = if number % 2 == 0 { "prod" } else { "test" };
        let labels = [("site", site), ("env", env)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
        bench.fleet_label(node, labels);
        if (site, env) == ("fra", "prod") {
            cut.push(node);
        }
    }
    cut.iter().for_each(|node| bench.stops(*node));
    bench.look().await;
    let open = bench.alerts(&whole()).await;
    let cause = open[0].cause.as_ref().unwrap();
    assert_eq!((open.len(), open[0].subject.to_string().as_str()), (1, "group/fra"), "{open:?}");
    assert_eq!(
        (cause.reason.as_str(), cause.message.as_str()),
        (
            "CommonLabel",
            "10 of 20 nodes are offline: 10 of the 10 nodes with env=prod are among them; AgentStopped for 10 of them"
        )
    );
}
