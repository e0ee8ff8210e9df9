//! What nodes report is written down, and one node cannot harm another.

use bytes::Bytes;
use muster_common::{clock::UnixMillis, digest::Sha256, generation::Generation, reason::Reason};
use muster_domain::{
    command::State,
    facts::Facts,
    item::{ItemName, ItemState, ItemVersion, MAX_ITEMS, Outcome},
    labels::{Labels, Selector},
};
use muster_store::WriteNodes as _;

use super::bench::{Bench, hello, ledger, said, whole};
use crate::session::{
    frames::{Chunk, CommandReport, FactsReport, Hello, ItemReport},
    ports::Inbox as _,
};

#[tokio::test]
async fn the_largest_numbers_that_a_host_can_say_harm_nobody() {
    let bench = Bench::following().await;
    let (bad, good) = (bench.node(1).await, bench.node(2).await);
    let (bad_session, _) = bench.hello(bad, &hello(ledger(1, 1))).unwrap();
    let (good_session, _) = bench.hello(good, &hello(ledger(2, 1))).unwrap();
    let orders = bench.ordered().await;
    let of = |node| orders.iter().find(|order| order.node == node).unwrap();
    for seq in 1..=3 {
        let dropped_bytes = if seq == 3 { u64::MAX } else { i64::MAX.cast_unsigned() };
        let output = Some(Chunk { stderr: false, data: Bytes::from_static(b"x"), dropped_bytes });
        let report = CommandReport { output, ledger_seq: u64::MAX, ..said(of(bad), seq, State::Running) };
        bench.app.command(&bad_session, report).unwrap();
    }
    bench.app.command(&good_session, said(of(good), 1, State::Running)).unwrap();
    bench.app.record().await.unwrap();
    bench.app.command(&bad_session, said(of(bad), u64::MAX, State::Succeeded)).unwrap();
    bench.app.command(&good_session, said(of(good), 2, State::Succeeded)).unwrap();
    bench.app.record().await.unwrap();
    assert_eq!(bench.command(of(good)).await.state, State::Succeeded);
    let bad = bench.command(of(bad)).await;
    assert_eq!((bad.state, bad.report_seq, bad.dropped_bytes), (State::Running, 3, u64::MAX));
}

pub(super) fn item(number: usize) -> ItemState {
    let version =
        ItemVersion { generation: Generation::new(1, 1), version: "1".to_owned(), sha256: Sha256::of(b"x") };
    ItemState {
        item: ItemName::Bundle(format!("b{number}")),
        running: Some(version.clone()),
        attempted: Some(version),
        outcome: Some(Outcome::Applied),
        error: None,
        changed_at: UnixMillis(0),
        drift: Vec::new(),
        progress: None,
        health: None,
    }
}

#[tokio::test]
async fn a_node_has_only_so_many_items() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let full = Hello { items: (0..MAX_ITEMS).map(item).collect(), ..hello(ledger(1, 1)) };
    let more = Hello { items: (0..=MAX_ITEMS).map(item).collect(), ..hello(ledger(1, 1)) };
    let refused = bench.hello(id, &more).unwrap_err();
    assert_eq!(refused.reason, Reason::MessageInvalid);
    let (session, _) = bench.hello(id, &full).unwrap();
    let report = |n| ItemReport { seq: 1, items: vec![item(n)], complete: false, traces: Vec::new() };
    bench.app.items(&session, report(MAX_ITEMS - 1));
    bench.app.items(&session, report(MAX_ITEMS));
    assert_eq!(bench.app.fleet.with(id, |entry| entry.node.items.len()), Some(MAX_ITEMS));
    let whole = ItemReport { seq: 2, items: vec![item(MAX_ITEMS)], complete: true, traces: Vec::new() };
    bench.app.items(&session, whole);
    assert_eq!(bench.app.fleet.with(id, |entry| entry.node.items.len()), Some(1), "a whole one replaces");
}

#[tokio::test]
async fn facts_are_seen_by_selectors_together_with_their_revision() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello(ledger(1, 1))).unwrap();
    bench.app.record().await.unwrap();
    let selector = Selector::parse("facts.os=debian").unwrap();
    let before = bench.app.node(&whole(), id).unwrap().node.selector_revision;
    let told = |os: &str| FactsReport {
        facts: Facts { os: os.to_owned(), ..Facts::default() },
        sha256: os.as_bytes().to_vec(),
    };
    bench.app.facts(&session, told("debian"));
    assert!(bench.app.matching(&whole(), &selector).is_empty(), "not before they are stored");
    let (_, opened) =
        bench.hello(id, &Hello { facts_sha256: b"debian".to_vec(), ..hello(ledger(1, 1)) }).unwrap();
    assert!(!opened.welcome.need.facts, "and they are not asked for again meanwhile");
    bench.app.record().await.unwrap();
    assert_eq!(bench.app.matching(&whole(), &selector), [id]);
    let (known, stored) = (bench.app.node(&whole(), id).unwrap().node, bench.stored(id).await);
    assert!(known.selector_revision > before);
    assert_eq!(known.selector_revision, stored.selector_revision);
    assert_eq!((known.facts, known.facts_sha256), (stored.facts, stored.facts_sha256));
}

#[tokio::test]
async fn facts_that_change_twice_before_they_are_stored_raise_the_revision() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello(ledger(1, 1))).unwrap();
    bench.app.record().await.unwrap();
    let before = bench.app.node(&whole(), id).unwrap().node.selector_revision;
    let told = |kernel: &str| FactsReport {
        facts: Facts { os: "debian".to_owned(), boot_id: kernel.to_owned(), ..Facts::default() },
        sha256: kernel.as_bytes().to_vec(),
    };
    // The first change can be told by selectors, the second could not be alone.
    bench.app.facts(&session, told("a"));
    bench.app.facts(&session, told("b"));
    bench.app.record().await.unwrap();
    let node = bench.app.node(&whole(), id).unwrap().node;
    assert!(node.selector_revision > before);
    assert_eq!(node.facts.all().boot_id, "b");
}

#[tokio::test]
async fn facts_that_were_stored_before_an_edit_are_seen_with_that_edit() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let facts = Facts { os: "debian".to_owned(), ..Facts::default() };
    let stored = facts.clone();
    bench.write(move |tx| Ok(tx.node_set_facts(id, &stored, b"debian", true)?)).await;
    let labels = Labels::from([("env".to_owned(), "prod".to_owned())]);
    bench.write(move |tx| Ok(tx.node_edit(id, "host", &labels)?)).await;
    bench.app.follow().await.unwrap();
    let (known, stored) = (bench.app.node(&whole(), id).unwrap().node, bench.stored(id).await);
    assert_eq!(known.facts, facts.into());
    assert_eq!((known.selector_revision, &known.labels), (stored.selector_revision, &stored.labels));
}

#[tokio::test]
async fn a_node_that_tells_of_ever_other_items_is_stopped_when_the_store_does_not_follow() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let (session, _) = bench.hello(id, &hello(ledger(1, 1))).unwrap();
    for n in 0..100 {
        let items = (n * 100..n * 100 + 100).map(item).collect();
        bench.app.items(&session, ItemReport { seq: 1, items, complete: true, traces: Vec::new() });
    }
    let waiting = bench.app.fleet.with(id, |entry| entry.dirty.items.len()).unwrap();
    assert!(waiting < 6 * MAX_ITEMS, "{waiting}");
    bench.app.record().await.unwrap();
    bench
        .app
        .items(&session, ItemReport { seq: 2, items: vec![item(1)], complete: true, traces: Vec::new() });
    assert_eq!(bench.app.fleet.with(id, |entry| entry.node.items.len()), Some(1));
}

#[tokio::test]
async fn what_was_read_before_a_node_was_removed_does_not_bring_it_back() {
    let bench = Bench::new().await;
    let id = bench.node(1).await;
    let read = bench.stored(id).await;
    bench.write(move |tx| Ok(tx.node_delete(id)?)).await;
    bench.app.follow().await.unwrap();
    bench.app.fleet.put(read, 0, |node| bench.app.tracker_of_new(node));
    assert!(bench.app.fleet.get(id).is_none() && bench.app.fleet.was_removed(id));
}
