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
};
use muster_store::WriteEvents as _;

use super::{
    bench::{Bench, NOW, alice, hello, ledger, said, whole},
    reports::item,
};
use crate::{
    app::{
        Error,
        events::{Asked, Seen},
        nodes::Edit,
    },
    session::{
        frames::{Hello, ItemReport},
        ports::{self, Inbox as _},
    },
};

/// More than one write of the recorder tells one by one.
const FLEET: u128 = 50;
const ALL: Page = Page { size: 1000, after: None };

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
    assert_eq!((events[5].actor.as_str(), events[5].details["before"].as_str()), ("operator/alice", "host-1"));
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
    let scope = Scope {
        reach: Reach::of([selector.clone()]),
        ..Scope::whole("operator/alice", Permission::Read)
    };
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
