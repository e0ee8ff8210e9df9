//! Many hosts that are lost at once are one event, which says what they have in common; hosts that
//! take their leave are none.

use muster_cluster::Cluster;
use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::{
    eventually::{LONG, eventually},
    operator::Operator,
    plane::{Options, Plane},
    replicas::{Replicas, about},
    swarm::{self, Swarm},
    swarms::Swarms,
};
use serde_json::Value;

/// Hosts of the site that is cut.
const SITE: usize = 100;
/// Of them one event tells by name.
const NAMED: usize = 10;

/// Hosts of a site, in a process that can be killed.
async fn site(planes: &[Plane], name: &str, count: usize) -> Swarms {
    let join = planes[0].join(i32::try_from(count).unwrap(), &[("site", name), ("env", "prod")]).await;
    let mut swarms = Swarms::new(1, count, 16, &join).unwrap();
    swarms.enroll(count).await.unwrap();
    let addresses: Vec<_> = planes.iter().map(|plane| plane.addresses().agents).collect();
    swarms.open(&addresses).await.unwrap();
    swarms
}

async fn until(operator: &Operator, what: &str, is: impl Fn(&pb::NodeCounts) -> bool) {
    let is = &is;
    eventually(what, LONG, || async move { about(operator).await.nodes.filter(is).map(drop) }).await;
}

/// What the audit says of losses.
async fn events(operator: &Operator) -> Vec<Value> {
    let request = pb::ListAuditEntriesRequest {
        page_size: 100,
        action_prefix: "fleet.mass_loss".to_owned(),
        ..Default::default()
    };
    let entries = operator.audit.clone().list_audit_entries(request).await.unwrap().into_inner().entries;
    entries.iter().map(|entry| serde_json::from_str(&entry.after).unwrap()).collect()
}

async fn told(operator: &Operator, count: usize) -> Vec<Value> {
    eventually("the loss is told", LONG, || async {
        let events = events(operator).await;
        (events.len() >= count).then_some(events)
    })
    .await
}

#[tokio::test]
async fn a_site_that_is_cut_is_one_event_that_names_it_and_hosts_that_leave_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let planes = [Plane::start(folder.path(), &Options::default()).await];
    let operator = planes[0].operator().await;
    let frankfurt = site(&planes, "fra", SITE).await;
    let join = planes[0].join(60, &[("site", "ams"), ("env", "prod")]).await;
    let identities = swarm::enroll(&join, 60).await.unwrap();
    let amsterdam = Swarm::start(planes[0].addresses().agents, &identities, 16);
    until(&operator, "all are online", |nodes| nodes.online == 160).await;
    drop(frankfurt); // by SIGKILL
    let events = told(&operator, 1).await;
    assert_eq!(
        (&events[0]["lost"], &events[0]["of"], &events[0]["percent"]),
        (&100.into(), &160.into(), &62.into())
    );
    assert_eq!(
        (&events[0]["cause"], &events[0]["which"]),
        (&"SameLabel".into(), &"site=fra".into()),
        "{events:?}"
    );
    let named: Vec<&str> = events[0]["nodes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(named.len(), NAMED);
    for id in named {
        let node = operator.node(id).await.unwrap();
        assert_eq!(node.labels["site"], "fra");
        assert_eq!(node.connection.unwrap().liveness(), Liveness::Offline, "what is told of each stays");
    }
    until(&operator, "nobody else is gone", |nodes| (nodes.online, nodes.offline) == (60, 100)).await;

    amsterdam.end().await;
    until(&operator, "the others have left", |nodes| nodes.offline == 160).await;
    let berlin = site(&planes, "ber", 20).await;
    until(&operator, "others are there", |nodes| nodes.online == 20).await;
    drop(berlin);
    let events = told(&operator, 2).await;
    // Those that had left are in neither, and nothing was told of them in between.
    let told: Vec<_> = events.iter().map(|event| event["lost"].as_u64().unwrap()).collect();
    assert_eq!(told.iter().sum::<u64>(), 120, "{events:?}");
    assert!(events.iter().any(|event| event["cause"] == "Everybody" && event["of"] == 20), "{events:?}");
    assert_eq!(planes[0].metric("muster_mass_losses_total").await, 2);
}

#[tokio::test]
async fn of_several_replicas_one_tells_a_loss_that_all_of_them_have_a_part_of() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { store_url: Some(Cluster::shared().database()), ..Options::default() };
    let replicas = Replicas::start(folder.path(), 2, &options).await;
    let operator = replicas.planes[0].operator().await;
    let lost = site(&replicas.planes, "fra", SITE).await;
    let _left = site(&replicas.planes, "ams", 40).await;
    eventually("both replicas have some of the nodes", LONG, || async {
        let system = about(&operator).await;
        let all = system.nodes.is_some_and(|nodes| nodes.online == 140);
        (all && system.replicas.iter().all(|replica| replica.sessions > 0)).then_some(())
    })
    .await;
    drop(lost);
    until(&operator, "all of them are offline", |nodes| (nodes.online, nodes.offline) == (40, 100)).await;
    let events = told(&operator, 1).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["lost"], &events[0]["of"]), (&100.into(), &140.into()), "{events:?}");
    assert_eq!(
        (&events[0]["cause"], &events[0]["which"]),
        (&"SameLabel".into(), &"site=fra".into()),
        "{events:?}"
    );
}
