//! Events of real processes: a node's life, watches that are cut, many that go at once, and what is
//! kept.

use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::{self as pb, AlertSeverity, EventKind as Kind, Liveness, watch_events_response::What},
    types::v1::{BundleContent, ItemOutcome},
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, file, reason, script},
    plane::{Options, Plane},
    replicas::about,
    swarms::Swarms,
};
use tonic::{Code, Streaming};

/// Agents that are killed at once.
const CUT: usize = 50;

/// All events that match, the oldest first.
async fn list(operator: &Operator, request: pb::ListEventsRequest) -> Vec<pb::Event> {
    let request = pb::ListEventsRequest { page_size: 1000, ..request };
    let mut events = operator.events.clone().list_events(request).await.unwrap().into_inner().events;
    events.reverse();
    events
}

async fn of_node(operator: &Operator, node: &str) -> Vec<Kind> {
    let request = pb::ListEventsRequest { node_id: node.to_owned(), ..Default::default() };
    list(operator, request).await.iter().map(pb::Event::kind).collect()
}

/// Waits until the newest event of a node is this one.
async fn until(operator: &Operator, node: &str, kind: Kind) {
    eventually(&format!("{kind:?} is told"), LONG, || async {
        (of_node(operator, node).await.last() == Some(&kind)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_nodes_life_from_enrollment_to_removal_is_exactly_its_list() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::start(folder.path(), "web-1", &plane.join(1, &[("role", "web")]).await);
    let node = agent.node.clone();
    until(&operator, &node, Kind::NodeOnline).await;
    let files = vec![file(&agent.file("app.conf"), "good\n")];
    let (_, good) = operator.bundle("app", BundleContent { files, ..Default::default() }).await;
    operator.assign("app", "role=web", "app").await;
    let state = operator.until_attempted(&node, "bundle/app", &good).await;
    assert_eq!(state.outcome(), ItemOutcome::Applied);
    until(&operator, &node, Kind::ItemApplied).await;
    operator.ended(&operator.start("*", script("exit 3")).await, LONG).await;
    until(&operator, &node, Kind::CommandEnded).await;
    let renamed = pb::Node { id: node.clone(), display_name: "web-2".to_owned(), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["display_name".to_owned()] });
    let request = pb::UpdateNodeRequest { node: Some(renamed), update_mask };
    operator.nodes.clone().update_node(request).await.unwrap();
    until(&operator, &node, Kind::NodeRenamed).await;
    agent.kill();
    until(&operator, &node, Kind::AlertOpened).await;
    agent.run();
    until(&operator, &node, Kind::AlertResolved).await;
    operator.until_liveness(&node, Liveness::Online).await;
    let request =
        pb::DeleteNodeRequest { id: node.clone(), reason: "scrapped".to_owned(), ..Default::default() };
    operator.nodes.clone().delete_node(request).await.unwrap();

    let request = pb::ListEventsRequest { node_id: node.clone(), ..Default::default() };
    let events = list(&operator, request).await;
    let kinds: Vec<Kind> = events.iter().map(pb::Event::kind).collect();
    let life = [
        Kind::NodeEnrolled,
        Kind::NodeOnline,
        Kind::ItemApplied,
        Kind::CommandEnded,
        Kind::NodeRenamed,
        Kind::NodeOffline,
        Kind::AlertOpened,
        Kind::NodeOnline,
        Kind::AlertResolved,
        Kind::NodeRemoved,
    ];
    assert_eq!(kinds, life, "{events:#?}");
    assert_eq!(events[2].subject, "bundle/app");
    assert_eq!((events[3].reason.as_str(), events[3].details["exit_code"].as_str()), ("Failed", "3"));
    assert_eq!(events[3].severity(), AlertSeverity::Warning);
    assert_eq!((events[4].actor.as_str(), events[4].details["after"].as_str()), ("operator/admin", "web-2"));
    assert_eq!(events[9].details["why"], "scrapped");
    for event in &events {
        let got = operator.events.clone().get_event(pb::GetEventRequest { id: event.id.clone() }).await;
        assert_eq!(got.unwrap().into_inner().event.as_ref(), Some(event));
    }
    let warnings = pb::ListEventsRequest {
        node_id: node,
        severity: AlertSeverity::Warning as i32,
        kinds: vec![Kind::NodeOffline as i32, Kind::NodeOnline as i32],
        ..Default::default()
    };
    assert_eq!(list(&operator, warnings).await, events[5..6]);
}

async fn watch(operator: &Operator, token: &str) -> Streaming<pb::WatchEventsResponse> {
    let kinds = vec![Kind::SettingsChanged as i32];
    let request = pb::WatchEventsRequest { resume_token: token.to_owned(), kinds, ..Default::default() };
    operator.events.clone().watch_events(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_with_what_it_has_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let mut operator = plane.operator().await;
    let mut stream = watch(&operator, "").await;
    let first = stream.message().await.unwrap().unwrap();
    assert!(matches!(first.what, Some(What::Bookmark(_))), "all there is was sent: {first:?}");
    let (mut token, mut seen) = (first.resume_token, Vec::new());
    for round in 0..4 {
        for number in 0..3 {
            operator.profile("agents", &[("facts-interval", ["1m", "2m", "3m"][(round + number) % 3])]).await;
        }
        // One of three is read, and then the stream is gone; once the control plane is, too.
        let mut stream = watch(&operator, &token).await;
        while let Some(message) = stream.message().await.unwrap() {
            token = message.resume_token;
            if let Some(What::Event(event)) = message.what {
                seen.push(event);
                break;
            }
        }
        drop(stream);
        if round == 1 {
            plane.kill();
            plane.serve(&[]).await;
            operator = plane.operator().await;
        }
    }
    let request = pb::ListEventsRequest { kinds: vec![Kind::SettingsChanged as i32], ..Default::default() };
    let all = list(&operator, request).await;
    let mut stream = watch(&operator, &token).await;
    while seen.len() < all.len() {
        let message = stream.message().await.unwrap().unwrap();
        if let Some(What::Event(event)) = message.what {
            seen.push(event);
        }
    }
    assert_eq!(seen, all, "each once, and in order");
    let other = pb::WatchEventsRequest { resume_token: token, ..Default::default() };
    let refused = operator.events.clone().watch_events(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "it belongs to another request");
}

#[tokio::test]
async fn fifty_agents_that_are_cut_at_once_are_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let join = plane.join(i32::try_from(CUT).unwrap(), &[("site", "fra")]).await;
    let mut swarms = Swarms::new(1, CUT, 16, &join).unwrap();
    swarms.enroll(CUT).await.unwrap();
    swarms.open(&[plane.addresses().agents]).await.unwrap();
    eventually("all are online", LONG, || async {
        about(&operator).await.nodes.filter(|nodes| usize::try_from(nodes.online) == Ok(CUT)).map(drop)
    })
    .await;
    drop(swarms); // by SIGKILL
    let lost = || pb::ListEventsRequest {
        kinds: vec![Kind::NodeOffline as i32, Kind::FleetMassLoss as i32],
        ..Default::default()
    };
    let events = eventually("the loss is told with its cause", LONG, || async {
        let events = list(&operator, lost()).await;
        events.iter().any(|event| !event.reason.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    assert_eq!((event.kind(), event.node_count, event.node_ids.len()), (Kind::FleetMassLoss, 50, 50));
    assert_eq!((event.severity(), event.reason.as_str()), (AlertSeverity::Critical, "Everybody"));
}

#[tokio::test]
async fn only_the_newest_events_are_kept_and_a_watch_of_the_others_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("events-at-most", "5");
    plane.configure("every", "\"1s\"");
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let token = watch(&operator, "").await.message().await.unwrap().unwrap().resume_token;
    for number in 0..8 {
        operator.profile("agents", &[("facts-interval", ["1m", "2m"][number % 2])]).await;
    }
    let kept = eventually("some are gone", LONG, || async {
        let events = list(&operator, pb::ListEventsRequest::default()).await;
        (events.len() == 5).then_some(events)
    })
    .await;
    let versions: Vec<&str> = kept.iter().map(|event| event.details["version"].as_str()).collect();
    assert_eq!(versions, ["4", "5", "6", "7", "8"]);
    let request = pb::WatchEventsRequest {
        resume_token: token,
        kinds: vec![Kind::SettingsChanged as i32],
        ..Default::default()
    };
    let refused = operator.events.clone().watch_events(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::OutOfRange, Some(Reason::ResumeTokenExpired)));
}
