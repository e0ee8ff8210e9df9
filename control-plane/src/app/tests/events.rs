//! What happened is told once, with the write that makes it; many at once are one.

use std::time::Duration;

use muster_common::{
    ids::{EventId, InstanceId, NodeId},
    reason::Reason,
};
use muster_domain::{
    access::{Permission, Reach, Scope},
    alert::Severity,
    command::State,
    event::{Event, Filter, Kind},
    labels::Selector,
    liveness::{self, Closed},
    page::Page,
    revocation::Subject,
    rollout::{Share, Wish},
};
use muster_store::WriteEvents as _;

use super::{
    bench::{Bench, NOW, alice, hello, ledger, said, whole, wish},
    reports::item,
    rollouts::{Fleet, plan, version},
};
use crate::{
    app::{
        Error,
        events::{Asked, Seen},
        nodes::Edit,
        settings,
    },
    session::{
        frames::{Hello, ItemReport},
        ports::{self, Inbox as _},
    },
};

/// More than one write of the recorder tells one by one.
const FLEET: u128 = 50;
const ALL: Page = Page { size: 1000, after: None };

fn profile(name: &str) -> settings::Wish {
    let values = [("facts-interval".to_owned(), "1m".to_owned())].into();
    settings::Wish { name: name.to_owned(), values, etag: String::new(), validate_only: false }
}

impl Bench {
    async fn events(&self) -> Vec<Event> {
        let mut all = self.app.events(&whole(), &ALL, &Asked::default()).await.unwrap().rows;
        all.reverse();
        all
    }

    async fn kinds(&self) -> Vec<&'static str> {
        self.events().await.iter().map(|event| event.kind.as_str()).collect()
    }

    fn observed(&self, node: NodeId, event: liveness::Event) {
        let now = self.app.clock.monotonic();
        self.app.fleet.with(node, |mut entry| self.app.observe(&mut entry, event, now));
    }

    async fn fleet(&self, event: liveness::Event) {
        for node in self.app.fleet.ids() {
            self.observed(node, event);
        }
        self.app.clock.advance(Duration::from_millis(1));
        self.app.record().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_node_does_is_told_in_its_order_and_once() {
    let bench = Bench::following().await;
    let node = bench.node(1).await;
    let step = || bench.app.clock.advance(Duration::from_secs(1));
    let (session, _) = bench.hello(node, &hello(ledger(1, 1))).unwrap();
    bench.app.record().await.unwrap();
    step();
    let report = ItemReport { seq: 1, items: vec![item(1)], complete: false, traces: Vec::new() };
    bench.app.items(&session, report.clone());
    bench.app.items(&session, ItemReport { seq: 2, ..report });
    bench.app.record().await.unwrap();
    step();
    let command = bench.ordered().await.remove(0);
    bench.app.command(&session, said(&command, 1, State::Running)).unwrap();
    bench.app.command(&session, said(&command, 2, State::Failed)).unwrap();
    step();
    bench.app.record().await.unwrap();
    step();
    let edit = Edit { display_name: Some("web-1".to_owned()), ..Edit::default() };
    bench.app.edit_node(&alice(), node, edit).await.unwrap();
    step();
    let other = Hello { instance: InstanceId::from_u128(1), items: vec![item(1)], ..hello(ledger(1, 1)) };
    let (session, _) = bench.hello(node, &other).unwrap();
    bench.app.record().await.unwrap();
    step();
    bench.app.closed(&session, &ports::Closed::Goodbye(Closed::Stopped));
    bench.app.record().await.unwrap();
    step();
    bench.app.remove_node(&alice(), node, String::new(), "scrapped".to_owned()).await.unwrap();
    let expected = [
        "node.online",
        "item.applied",
        "operation.started",
        "command.ended",
        "operation.ended",
        "node.renamed",
        "node.session-replaced",
        "node.offline",
        "node.removed",
    ];
    assert_eq!(bench.kinds().await, expected);
    let events = bench.events().await;
    assert_eq!((events[1].subject.as_str(), events[1].node), ("bundle/b1", Some(node)));
    assert_eq!((events[3].reason.as_str(), events[3].severity), ("Failed", Severity::Warning));
    assert_eq!(events[3].operation, Some(command.operation));
    assert_eq!(
        (events[5].actor.as_str(), events[5].details["before"].as_str()),
        ("operator/alice", "host-1")
    );
    assert_eq!((events[7].reason.as_str(), events[7].severity), ("AgentStopped", Severity::Info));
    assert_eq!(events[8].details["why"], "scrapped");
}

#[tokio::test]
async fn what_cannot_be_written_is_no_event_and_comes_with_its_write() {
    let bench = Bench::new().await;
    let node = bench.node(1).await;
    bench.observed(node, liveness::Event::Connected);
    assert_eq!(bench.kinds().await, [""; 0], "not before it is stored");
    let bench = bench.killed().await;
    assert_eq!(bench.kinds().await, [""; 0], "what was not stored has not happened");
    bench.observed(node, liveness::Event::Connected);
    bench.app.record().await.unwrap();
    bench.app.record().await.unwrap();
    assert_eq!(bench.kinds().await, ["node.online"]);
}

#[tokio::test]
async fn a_fleet_that_comes_goes_and_comes_back_is_some_events_and_one_restart_is_none() {
    let bench = Bench::new().await;
    for number in 1..=FLEET {
        bench.node(number).await;
    }
    bench.fleet(liveness::Event::Connected).await;
    let events = bench.events().await;
    let many = events[0].many.as_ref().unwrap();
    assert_eq!((events.len(), events[0].kind, many.count), (1, Kind::NodeOnline, 50));
    assert_eq!(events[0].message, "50 nodes are online");

    // Whoever was there is unknown to the next process until it is heard.
    let bench = bench.killed().await;
    bench.fleet(liveness::Event::Connected).await;
    assert_eq!(bench.events().await, events);

    bench.fleet(liveness::Event::StreamClosed(Closed::Lost)).await;
    assert_eq!(bench.events().await, events, "whoever is late is not gone");
    bench.fleet(liveness::Event::Heard).await;
    assert_eq!(bench.kinds().await, ["node.online", "node.late"]);
}

#[tokio::test]
async fn a_cut_is_one_event_from_its_first_node_on() {
    let bench = Bench::new().await;
    for number in 1..=FLEET {
        bench.node(number).await;
    }
    bench.fleet(liveness::Event::Connected).await;
    bench.fleet(liveness::Event::StreamClosed(Closed::Lost)).await;
    bench.app.sweep(None);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    // One by one, as they are found out.
    for node in bench.app.fleet.ids() {
        bench.observed(node, liveness::Event::Tick);
        bench.app.record().await.unwrap();
    }
    let told = |events: Vec<Event>| {
        let count = |event: &Event| event.many.as_ref().map(|many| many.count);
        events.iter().skip(1).map(|it| (it.kind, count(it), it.reason.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(bench.events().await), [(Kind::FleetMassLoss, Some(50), String::new())]);
    tokio::time::advance(Duration::from_secs(60)).await;
    bench.app.tell_losses().await.unwrap();
    assert_eq!(
        told(bench.events().await),
        [(Kind::FleetMassLoss, Some(50), "Everybody".to_owned())],
        "its cause is told when it is over"
    );
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_and_starts_anew_when_it_was_away_too_long() {
    let bench = Bench::following().await;
    let asked = Asked::default();
    let start = bench.app.event_start(&Filter::default()).await.unwrap();
    for number in 1..=3 {
        let node = bench.node(number).await;
        bench.observed(node, liveness::Event::Connected);
        bench.app.record().await.unwrap();
    }
    let news = bench.app.event_news(&whole(), &asked, start).await.unwrap();
    assert_eq!((news.events.len(), news.is_all), (3, true));
    let first = &news.events[0];
    let token = bench.app.event_token(&["x"], Seen { revision: first.revision, event: Some(first.id) });
    let place = bench.app.event_resume(&["x"], &token).await.unwrap();
    let rest = bench.app.event_news(&whole(), &asked, place).await.unwrap();
    assert_eq!(rest.events, news.events[1..]);
    assert_eq!(rest.reached, news.reached);
    let nothing = bench.app.event_news(&whole(), &asked, news.reached).await.unwrap();
    assert!(nothing.events.is_empty(), "{nothing:?}");
    assert!(bench.app.event_resume(&["y"], &token).await.is_err(), "it belongs to another request");
    let since = Filter { since: Some(NOW), ..Filter::default() };
    let all = bench.app.event_start(&since).await.unwrap();
    assert_eq!(bench.app.event_news(&whole(), &asked, all).await.unwrap().events.len(), 3);

    let later = (NOW + Duration::from_secs(60), EventId::from_u128(0));
    bench.write(move |tx| Ok(tx.event_prune(later, 2)?)).await;
    let refused = bench.app.event_resume(&["x"], &token).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::ResumeTokenExpired, .. }), "{refused:?}");
    let refused = bench.app.event_news(&whole(), &asked, place).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Reason::ResumeTokenExpired, .. }), "{refused:?}");
}

#[tokio::test]
async fn whoever_sees_a_part_of_the_fleet_sees_its_events_only() {
    let bench = Bench::following().await;
    let (web, other) = (bench.node(1).await, bench.node(2).await);
    let labels = [("site".to_owned(), "fra".to_owned())].into_iter().collect();
    let edit = Edit { labels: Some(labels), ..Edit::default() };
    bench.app.edit_node(&alice(), web, edit).await.unwrap();
    for node in [web, other] {
        bench.observed(node, liveness::Event::Connected);
        bench.app.record().await.unwrap();
    }
    let selector = Selector::parse("site=fra").unwrap();
    let scope =
        Scope { reach: Reach::of([selector.clone()]), ..Scope::whole("operator/alice", Permission::Read) };
    let listed = bench.app.events(&scope, &ALL, &Asked::default()).await.unwrap();
    assert!(listed.rows.iter().all(|event| event.node == Some(web)) && listed.rows.len() == 2, "{listed:?}");
    let asked = Asked { selector: Some(selector), ..Asked::default() };
    assert_eq!(bench.app.events(&whole(), &ALL, &asked).await.unwrap().rows, listed.rows);
    let hidden = bench.events().await.into_iter().find(|event| event.node == Some(other)).unwrap();
    assert!(bench.app.event(&scope, hidden.id).await.is_err());
    assert_eq!(bench.app.event(&whole(), hidden.id).await.unwrap(), hidden);

    let mut paged = Vec::new();
    let mut page = Page { size: 1, after: None };
    loop {
        let listed = bench.app.events(&whole(), &page, &Asked::default()).await.unwrap();
        paged.extend(listed.rows);
        let Some(next) = listed.next else { break };
        page.after = Some(next);
    }
    paged.reverse();
    assert_eq!(paged, bench.events().await);
}

#[tokio::test]
async fn rollouts_are_told_from_step_to_step_and_what_they_bring_as_one_of_many() {
    let good = Fleet::new(false).await;
    good.begin(Some(version(2)), plan(Share::Count(0))).await;
    good.run(|_| true).await;
    let rollouts = |kinds: Vec<&'static str>| kinds.into_iter().filter(|kind| kind.starts_with("rollout."));
    let told: Vec<&str> = rollouts(good.bench.kinds().await).collect();
    assert_eq!(told, ["rollout.started", "rollout.step", "rollout.step", "rollout.ended"]);
    good.bench.app.record().await.unwrap();
    let events = good.bench.events().await;
    let items: Vec<&Event> = events.iter().filter(|event| event.kind == Kind::ItemApplied).collect();
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(
        (items[0].subject.as_str(), items[0].many.as_ref().map(|many| many.count)),
        ("bundle/web", Some(40)),
        "each of twenty took up two versions"
    );

    let bad = Fleet::new(false).await;
    let id = bad.begin(Some(version(2)), plan(Share::Count(1))).await;
    bad.ask(id, Wish::Pause).await.unwrap();
    bad.ask(id, Wish::Resume).await.unwrap();
    bad.run(|_| false).await;
    let told: Vec<&str> = rollouts(bad.bench.kinds().await).collect();
    let expected =
        ["rollout.started", "rollout.paused", "rollout.resumed", "rollout.rolling-back", "rollout.ended"];
    assert_eq!(told, expected);
    let ended = bad.bench.events().await.into_iter().find(|event| event.kind == Kind::RolloutEnded).unwrap();
    assert_eq!((ended.reason.as_str(), ended.details["phase"].as_str()), ("TooManyFailed", "rolled-back"));
}

#[tokio::test]
async fn what_people_decide_is_told_with_who_did_it() {
    let bench = Bench::following().await;
    let node = bench.node(1).await;
    let app = &bench.app;
    app.quarantine_node(&alice(), node, "looks odd".to_owned()).await.unwrap();
    app.quarantine_node(&alice(), node, "once more".to_owned()).await.unwrap();
    app.release_quarantine(&alice(), node, None, "it is fine".to_owned()).await.unwrap();
    let subject: Subject = format!("node/{node}").parse().unwrap();
    app.revoke(&alice(), subject.clone(), "stolen".to_owned()).await.unwrap();
    app.revoke(&alice(), subject.clone(), "again".to_owned()).await.unwrap();
    app.delete_revocation(&alice(), subject).await.unwrap();
    app.allow_recovery(&alice(), node).await.unwrap();
    app.set_rollout_brake(&alice(), true, "stop".to_owned()).await.unwrap();
    app.set_rollout_brake(&alice(), true, "stop".to_owned()).await.unwrap();
    app.set_rollout_brake(&alice(), false, "go".to_owned()).await.unwrap();
    app.put_profile(&alice(), profile("calm")).await.unwrap();
    app.put_profile(&alice(), profile("calm")).await.unwrap();
    app.delete_profile(&alice(), "calm".to_owned(), 0).await.unwrap();
    let (operation, _) = app.start_operation(&alice(), wish("none=here")).await.unwrap();
    let events = bench.events().await;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected = [
        "node.quarantined",
        "node.released",
        "access.denied",
        "access.allowed",
        "access.allowed",
        "rollout.brake",
        "rollout.brake",
        "settings.changed",
        "settings.changed",
        "operation.started",
        "operation.ended",
    ];
    assert_eq!(kinds, expected, "what was so already is none");
    assert!(events.iter().all(|event| event.actor == "operator/alice"), "{events:?}");
    assert!(events[..5].iter().all(|event| event.node == Some(node)));
    assert_eq!((events[0].reason.as_str(), events[4].reason.as_str()), ("ByOperator", "MayRecover"));
    assert_eq!(events[10].operation, Some(operation.id));
}

#[tokio::test]
async fn replicas_that_come_and_go_and_a_database_that_is_back_are_told() {
    let (first, second) = Bench::pair().await;
    second.app.leave_replicas().await.unwrap();
    first.app.beat().await.unwrap();
    assert_eq!(first.kinds().await, ["replica.joined", "replica.joined", "replica.left"]);
    first.app.tell_database_back().await.unwrap();
    first.app.events.database_is_away(NOW);
    first.app.events.database_is_away(NOW + Duration::from_secs(5));
    first.app.tell_database_back().await.unwrap();
    assert_eq!(first.events().await.len(), 3, "it is not back");
    first.app.events.database_is_back(NOW + Duration::from_secs(7));
    first.app.tell_database_back().await.unwrap();
    first.app.tell_database_back().await.unwrap();
    let events = first.events().await;
    assert_eq!((events.len(), events[3].kind.as_str()), (4, "database.back"));
    assert_eq!((events[3].subject.as_str(), events[3].details["away_seconds"].as_str()), ("replica/a", "7"));
}
