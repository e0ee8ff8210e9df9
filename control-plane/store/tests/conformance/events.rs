use std::{collections::BTreeSet, time::Duration};

use muster_common::{
    clock::UnixMillis,
    ids::{EventId, NodeId},
};
use muster_domain::{
    alert::Severity,
    event::{Event, Filter, Happened, Kind, Many},
};
use muster_store::{Below, ReadEvents as _, Store, WriteEvents as _};

use crate::harness::{Database, NOW, read, report, stamp};

fn at(second: u64) -> UnixMillis {
    NOW + Duration::from_secs(second)
}

fn happened(number: u128, kind: Kind, second: u64) -> Event {
    Happened::new(kind, "first line, \"quoted\"")
        .about("bundle/web")
        .for_reason("Silent")
        .with("path", "/etc/ü")
        .at(at(second))
        .event(EventId::from_u128(number), &stamp())
}

fn of(number: u128, kind: Kind, second: u64, node: u128) -> Event {
    Event { node: Some(NodeId::from_u128(node)), ..happened(number, kind, second) }
}

fn put(store: &Store, events: &[Event]) -> u64 {
    let events = events.to_vec();
    report(store, move |tx| events.iter().try_for_each(|event| tx.event_put(event))).revision
}

fn list(store: &Store, filter: &Filter, below: Option<Below>, limit: u32) -> Vec<Event> {
    let filter = filter.clone();
    read(store, move |tx| tx.event_list(&filter, below, limit))
}

fn after(store: &Store, filter: &Filter, after: (u64, Option<EventId>), limit: u32) -> Vec<Event> {
    let filter = filter.clone();
    read(store, move |tx| tx.event_after(&filter, after, limit))
}

fn numbers(events: &[Event]) -> Vec<u128> {
    (1..100).filter(|n| events.iter().any(|event| event.id == EventId::from_u128(*n))).collect()
}

pub(crate) fn events_come_back_and_are_listed_the_newest_first(database: &impl Database) {
    let store = database.open();
    let many = Many { count: 70, nodes: vec![NodeId::from_u128(1)], until: at(9) };
    let one = of(1, Kind::NodeOffline, 5, 1);
    let other = Event { many: Some(many), ..happened(2, Kind::FleetMassLoss, 5) };
    let revision = put(&store, &[one.clone(), other.clone()]);
    put(&store, &[of(3, Kind::NodeOnline, 4, 1)]);
    let (one, other) = (Event { revision, ..one }, Event { revision, ..other });
    assert_eq!(read(&store, |tx| tx.event_get(EventId::from_u128(1))), Some(one.clone()));
    assert_eq!(read(&store, |tx| tx.event_get(EventId::from_u128(9))), None);
    let all = list(&store, &Filter::default(), None, 10);
    assert_eq!(all[..2], [other.clone(), one], "of one moment the newer id comes first");
    let mut paged = Vec::new();
    let mut below = None;
    loop {
        let page = list(&store, &Filter::default(), below, 1);
        let Some(last) = page.last() else { break };
        below = Some((last.at, last.id));
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let newest = |kind| read(&store, move |tx| tx.event_newest_of_many(kind, "bundle/web", "Silent"));
    assert_eq!((newest(Kind::FleetMassLoss), newest(Kind::NodeOffline)), (Some(other), None));
}

pub(crate) fn every_filter_finds_what_it_should(database: &impl Database) {
    let store = database.open();
    let kinds = [Kind::NodeOffline, Kind::NodeOnline, Kind::ItemFailed, Kind::NodeReleased];
    let events: Vec<Event> = (1..=24)
        .zip(kinds.into_iter().cycle())
        .map(|(n, kind)| match n % 3 {
            0 => happened(n, kind, u64::try_from(n).unwrap()),
            node => of(n, kind, u64::try_from(n).unwrap(), node),
        })
        .collect();
    put(&store, &events);
    let kinds = |kinds: &[Kind]| kinds.iter().copied().collect::<BTreeSet<_>>();
    let filters = [
        Filter::default(),
        Filter { node: Some(NodeId::from_u128(1)), ..Filter::default() },
        Filter { kinds: kinds(&[Kind::NodeOffline]), ..Filter::default() },
        Filter { kinds: kinds(&[Kind::NodeOnline, Kind::NodeReleased]), ..Filter::default() },
        Filter { least: Some(Severity::Warning), ..Filter::default() },
        Filter { least: Some(Severity::Critical), node: Some(NodeId::from_u128(2)), ..Filter::default() },
        Filter { since: Some(at(7)), until: Some(at(13)), ..Filter::default() },
        Filter { until: Some(at(1)), ..Filter::default() },
        Filter {
            node: Some(NodeId::from_u128(2)),
            kinds: kinds(&[Kind::ItemFailed, Kind::NodeOffline]),
            least: Some(Severity::Warning),
            since: Some(at(2)),
            until: Some(at(20)),
        },
    ];
    for filter in filters {
        let wanted: Vec<Event> = events.iter().filter(|event| filter.matches(event)).cloned().collect();
        assert_eq!(numbers(&list(&store, &filter, None, 100)), numbers(&wanted), "{filter:?}");
        assert_eq!(numbers(&after(&store, &filter, (0, None), 100)), numbers(&wanted), "{filter:?}");
    }
    assert!(read(&store, |tx| tx.event_since(at(24))).is_some());
    assert_eq!(read(&store, |tx| tx.event_since(at(25))), None);
}

pub(crate) fn a_watcher_is_told_each_once_and_what_grows_again(database: &impl Database) {
    let store = database.open();
    let all = Filter::default();
    let first = put(&store, &[happened(1, Kind::NodeOffline, 1), happened(2, Kind::NodeOffline, 1)]);
    let grows = Event {
        many: Some(Many { count: 5, nodes: Vec::new(), until: at(2) }),
        ..happened(3, Kind::NodeOnline, 2)
    };
    let second = put(&store, std::slice::from_ref(&grows));
    assert!(second > first, "each write with an event has a revision");
    assert_eq!(numbers(&after(&store, &all, (0, None), 2)), [1, 2]);
    assert_eq!(numbers(&after(&store, &all, (first, Some(EventId::from_u128(1))), 9)), [2, 3]);
    assert_eq!(numbers(&after(&store, &all, (first, None), 9)), [3]);
    assert_eq!(numbers(&after(&store, &all, (second, None), 9)), [0; 0]);
    let more = Event { many: Some(Many { count: 9, nodes: Vec::new(), until: at(3) }), ..grows };
    let third = put(&store, &[more]);
    let again = after(&store, &all, (second, None), 9);
    assert_eq!((numbers(&again), again[0].revision), (vec![3], third));
    assert_eq!(again[0].many.as_ref().map(|many| many.count), Some(9));
    assert_eq!(list(&store, &all, None, 9).len(), 3, "it is one event");
}

pub(crate) fn what_is_old_or_too_much_goes_and_raises_the_floor(database: &impl Database) {
    let store = database.open();
    let mut revisions = Vec::new();
    for n in 1..=6_u64 {
        revisions.push(put(&store, &[happened(n.into(), Kind::NodeOffline, n)]));
    }
    assert_eq!(read(&store, |tx| tx.event_floor()), 0);
    assert_eq!(
        read(&store, |tx| tx.event_beyond(4)),
        Some((at(2), EventId::from_u128(2))),
        "two are too many"
    );
    assert_eq!(read(&store, |tx| tx.event_beyond(6)), None);
    let floor = || read(&store, |tx| tx.event_floor());
    let gone =
        |number, upto| report(&store, move |tx| tx.event_prune((upto, EventId::from_u128(number)), 2)).value;
    assert_eq!((gone(0, at(4)), floor()), (2, revisions[1]));
    assert_eq!((gone(0, at(4)), floor()), (1, revisions[2]));
    assert_eq!((gone(0, at(4)), floor()), (0, revisions[2]));
    assert_eq!((gone(4, at(4)), floor()), (1, revisions[3]), "up to it, and with it");
    assert_eq!(numbers(&list(&store, &Filter::default(), None, 9)), [5, 6]);
}
