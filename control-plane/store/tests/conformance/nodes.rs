use muster_common::ids::{LedgerId, NodeId};
use muster_domain::{
    certificate::NodeCertificate,
    enrolled_with::EnrolledWith,
    facts::Facts,
    item::ItemState,
    liveness::{Liveness, State},
    node::{LedgerMark, Node},
};
use muster_store::{ChangeKind, ReadChanges as _, ReadNodes as _, ReadTx, Store, WriteNodes as _};

use crate::{
    harness::{Database, NOW, pages, read, report, write},
    samples::{facts, issued, item, item_name, labels, node},
};

const ID: NodeId = NodeId::from_u128(1);

fn enrolled(database: &impl Database) -> (Store, u64) {
    let store = database.open();
    let revision = write(&store, |tx| tx.node_insert(&node(1))).revision;
    (store, revision)
}

fn get(store: &Store) -> Node {
    read(store, |tx| tx.node_get(ID)).unwrap()
}

pub(crate) fn a_node_comes_back_whole(database: &impl Database) {
    let (store, revision) = enrolled(database);
    let expected = Node { revision, selector_revision: revision, ..node(1) };
    assert_eq!(get(&store), expected);
    let key = node(1).enrolled_key().to_vec();
    assert_eq!(read(&store, move |tx| tx.node_by_enrolled_key(&key)), Some(expected));
    assert_eq!(read(&store, |tx| tx.node_by_enrolled_key(b"other")), None);
    let with = |tx: &mut ReadTx<'_>| tx.node_by_enrolled_with(&node(1).enrolled_with);
    assert_eq!(read(&store, with).map(|node| node.id), Some(ID));
    assert_eq!(read(&store, |tx| tx.node_by_enrolled_with(&EnrolledWith::Oidc("x".to_owned()))), None);
    assert_eq!(read(&store, |tx| tx.node_get(NodeId::from_u128(2))), None);
    let states = [
        State::NeverSeen,
        State::Online,
        State::Late,
        State::Offline,
        State::Unknown,
        State::Expired,
        State::Quarantined,
    ];
    for state in states {
        let liveness = Liveness { state, since: NOW, reason: "X".into() };
        report(&store, move |tx| tx.node_set_liveness(ID, &liveness));
        assert_eq!(get(&store).liveness.state, state);
    }
}

pub(crate) fn parts_are_written_apart(database: &impl Database) {
    let (store, enrolled) = enrolled(database);
    let edited = write(&store, |tx| tx.node_edit(ID, "büro", &labels(&[("a", "b")]))).revision;
    let mut expected =
        Node { display_name: "büro".into(), labels: labels(&[("a", "b")]), revision: edited, ..node(1) };
    expected.selector_revision = edited;
    assert!(edited > enrolled);
    assert_eq!(get(&store), expected);
    let renamed = write(&store, |tx| tx.node_edit(ID, "bureau", &labels(&[("a", "b")]))).revision;
    expected = Node { display_name: "bureau".into(), revision: renamed, ..expected };
    assert_eq!(get(&store), expected, "selectors do not see names");

    let quiet = report(&store, |tx| tx.node_set_facts(ID, &Facts::default(), &[1], false)).revision;
    expected = Node { facts: Facts::default().into(), facts_sha256: [1][..].into(), ..expected };
    assert_eq!(get(&store), expected);
    let loud = report(&store, |tx| tx.node_set_facts(ID, &facts(), &[2], true)).revision;
    expected =
        Node { facts: facts().into(), facts_sha256: [2][..].into(), selector_revision: loud, ..expected };
    assert!(loud > quiet);
    assert_eq!(get(&store), expected, "an operator's etag does not follow what hosts report");

    let mark = LedgerMark { id: LedgerId::from_u128(77), seq: 100 };
    let before = *store.committed().borrow();
    report(&store, move |tx| tx.node_set_ledger(ID, mark));
    assert_eq!(*store.committed().borrow(), before, "ledgers stay off the feed");
    expected.ledger = Some(mark);
    assert_eq!(get(&store), expected);

    let changed = ItemState { outcome: None, error: None, running: None, ..item("bundle/motd") };
    let (put, new) = (changed.clone(), item("bundle/app"));
    report(&store, move |tx| tx.node_set_items(ID, &[put.clone(), new.clone()], &[item_name("settings")]));
    expected.items = vec![item("bundle/app"), changed];
    assert_eq!(get(&store), expected);
    let changes = read(&store, move |tx| tx.changes_since(renamed, 100));
    assert!(
        changes.iter().all(|change| change.kind == ChangeKind::NodeReport && change.id == ID.to_string())
    );
    assert_eq!(changes.len(), 3);
}

pub(crate) fn a_removed_node_stays_known(database: &impl Database) {
    let (store, _) = enrolled(database);
    assert!(!read(&store, |tx| tx.removed_node_contains(ID)));
    assert!(write(&store, |tx| tx.node_delete(ID)).value);
    assert!(!write(&store, |tx| tx.node_delete(ID)).value);
    assert!(read(&store, |tx| tx.removed_node_contains(ID)));
    let since = |after| read(&store, move |tx| tx.removed_node_since(after));
    let second = std::time::Duration::from_secs(1);
    assert_eq!([since(NOW - second), since(NOW)], [vec![(ID, NOW)], vec![]]);
    assert_eq!(read(&store, |tx| tx.node_all()), []);
    // News of it that were on their way find nothing, and leave nothing.
    let liveness = Liveness { state: State::Online, since: NOW, reason: "Heard".into() };
    let late = report(&store, move |tx| {
        Ok([
            tx.node_set_liveness(ID, &liveness)?,
            tx.node_set_facts(ID, &facts(), &[1], true)?,
            tx.node_set_items(ID, &[item("settings")], &[])?,
            tx.node_set_certificate(ID, &node(1).certificate)?,
        ])
    });
    assert_eq!(late.value, [false; 4]);
    write(&store, |tx| tx.node_insert(&node(2)));
    assert_eq!(read(&store, |tx| tx.node_all()).len(), 1);
}

pub(crate) fn pages_cover_all_once(database: &impl Database) {
    let store = database.open();
    for number in [3, 1, 5, 2, 4] {
        write(&store, move |tx| tx.node_insert(&node(number)));
    }
    let all = read(&store, |tx| tx.node_all());
    assert_eq!(all.iter().map(|node| node.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5].map(NodeId::from_u128));
    for size in 1..7 {
        assert_eq!(pages(size, |page| read(&store, move |tx| tx.node_list(&page))), all);
    }
}

pub(crate) fn certificates_are_issued_and_promoted(database: &impl Database) {
    let (store, enrolled) = enrolled(database);
    let pair = NodeCertificate { current: issued(1), next: Some(Box::new(issued(2))) };
    let put = pair.clone();
    let renewed = write(&store, move |tx| tx.node_set_certificate(ID, &put)).revision;
    assert_eq!(get(&store).certificate, pair);
    // First use: what a node reports, without an audit entry.
    let promoted = pair.promoted();
    let put = promoted.clone();
    report(&store, move |tx| tx.node_set_certificate(ID, &put));
    assert_eq!(get(&store).certificate, promoted);
    let kinds: Vec<(u64, ChangeKind)> = read(&store, move |tx| tx.changes_since(enrolled, 10))
        .iter()
        .map(|change| (change.revision, change.kind))
        .collect();
    assert_eq!(kinds, [(renewed, ChangeKind::Node), (renewed + 1, ChangeKind::NodeReport)]);
}

pub(crate) fn items_go_to_their_own_nodes(database: &impl Database) {
    let store = database.open();
    for number in 1..=4 {
        // The second and the last have none.
        let items = if number % 2 == 0 { vec![] } else { vec![item("bundle/a"), item("settings")] };
        write(&store, move |tx| tx.node_insert(&Node { items: items.clone(), ..node(number) }));
    }
    let counts: Vec<usize> = read(&store, |tx| tx.node_all()).iter().map(|node| node.items.len()).collect();
    assert_eq!(counts, [2, 0, 2, 0]);
}
