use std::{collections::BTreeSet, thread};

use muster_common::ids::{CommandId, NodeId};
use muster_domain::liveness::{Liveness, State};
use muster_store::{
    Change, ChangeKind, Error, ReadChanges as _, ReadMeta as _, Store, WriteChanges as _, WriteCommands as _,
    WriteNodes as _, WriteOperations as _,
};

use crate::{
    harness::{Database, NOW, read, report, stamp, write},
    samples::{command, node, operation},
};

fn all(store: &Store) -> Vec<Change> {
    read(store, |tx| tx.changes_since(0, 1_000_000))
}

fn heard(store: &Store, number: u128) -> u64 {
    let liveness = Liveness { state: State::Online, since: NOW, reason: "Heard".into() };
    report(store, move |tx| tx.node_set_liveness(NodeId::from_u128(number), &liveness)).revision
}

pub(crate) fn a_write_is_on_it_once(database: &impl Database) {
    let store = database.open();
    let written = write(&store, |tx| {
        tx.node_insert(&node(1))?;
        tx.node_edit(node(1).id, "again", &Default::default())?;
        tx.operation_insert(&operation(1))?;
        Ok(tx.revision())
    });
    assert_eq!(written.value, written.revision, "a write knows its revision before it is committed");
    let change = |kind, id: String| Change { revision: written.revision, kind, id };
    let expected = [
        change(ChangeKind::Node, node(1).id.to_string()),
        change(ChangeKind::Operation, operation(1).id.to_string()),
    ];
    assert_eq!(all(&store), expected);
    assert_eq!(*store.committed().borrow(), written.revision);
}

/// Several writers, in two handles; a follower of each handle reads while they write.
pub(crate) fn it_misses_nothing_of_concurrent_writers(database: &impl Database) {
    const WRITERS: u128 = 4;
    const WRITES: u64 = 60;
    let stores = [database.open(), database.open()];
    write(&stores[0], |tx| (0..WRITERS).try_for_each(|number| tx.node_insert(&node(number))));
    let start = *stores[0].committed().borrow();
    let total = usize::try_from(WRITERS).unwrap() * usize::try_from(WRITES).unwrap();
    let (acknowledged, followed) = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let store = &stores[usize::try_from(number % 2).unwrap()];
                scope.spawn(move || (0..WRITES).map(|_| (heard(store, number), number)).collect::<Vec<_>>())
            })
            .collect();
        let followers: Vec<_> =
            stores.iter().map(|store| scope.spawn(move || follow(store, start, total))).collect();
        let acknowledged: BTreeSet<(u64, u128)> =
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        let followed: Vec<_> = followers.into_iter().map(|follower| follower.join().unwrap()).collect();
        (acknowledged, followed)
    });
    for seen in followed {
        assert!(seen.is_sorted(), "in the order of revisions");
        let expected: Vec<(u64, String)> =
            acknowledged.iter().map(|(revision, n)| (*revision, NodeId::from_u128(*n).to_string())).collect();
        assert_eq!(
            seen, expected,
            "every acknowledged write under its own revision, none twice, none missing"
        );
    }
}

/// Sixteen writers of four replicas, of which some are slow and some give up what they wrote;
/// a follower of each replica.
pub(crate) fn it_misses_nothing_of_slow_writers_and_of_those_that_give_up(database: &impl Database) {
    const WRITERS: u128 = 16;
    const WRITES: u64 = 20;
    let stores = [
        database.open_with(|options| options.with_replica("a")),
        database.open_with(|options| options.with_replica("b")),
        database.open_with(|options| options.with_replica("c")),
        database.open_with(|options| options.with_replica("d")),
    ];
    write(&stores[0], |tx| (0..WRITERS).try_for_each(|number| tx.node_insert(&node(number))));
    let start = *stores[0].committed().borrow();
    let gives_up = |number: u128, turn: u64| (u128::from(turn) + number).is_multiple_of(4);
    let work = |store: &Store, number: u128, turn: u64| {
        let refuses = gives_up(number, turn);
        let written = store.write_blocking(stamp(), move |tx| {
            let liveness = Liveness { state: State::Online, since: NOW, reason: turn.to_string().into() };
            tx.node_set_liveness(NodeId::from_u128(number), &liveness)?;
            if number == 0 {
                // A long transaction, while the others come and go.
                thread::sleep(std::time::Duration::from_millis(20));
            }
            if refuses { Err(Error::Busy) } else { Ok(tx.revision()) }
        });
        written.ok().map(|committed| (committed.value, number))
    };
    let total =
        (0..WRITERS).flat_map(|n| (0..WRITES).map(move |t| (n, t))).filter(|(n, t)| !gives_up(*n, *t));
    let total = total.count();
    let (acknowledged, followed) = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let store = &stores[usize::try_from(number % 4).unwrap()];
                scope.spawn(move || {
                    (0..WRITES).filter_map(|turn| work(store, number, turn)).collect::<Vec<_>>()
                })
            })
            .collect();
        let followers: Vec<_> =
            stores.iter().map(|store| scope.spawn(move || follow(store, start, total))).collect();
        let acknowledged: BTreeSet<(u64, u128)> =
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        (acknowledged, followers.into_iter().map(|follower| follower.join().unwrap()).collect::<Vec<_>>())
    });
    assert_eq!(acknowledged.len(), total);
    let expected: Vec<(u64, String)> =
        acknowledged.iter().map(|(revision, n)| (*revision, NodeId::from_u128(*n).to_string())).collect();
    for seen in followed {
        assert_eq!(seen, expected, "every committed change once, in order, and nothing that was given up");
    }
    let revisions: Vec<u64> = acknowledged.iter().map(|(revision, _)| *revision).collect();
    assert!(revisions.iter().copied().eq(start + 1..=start + total as u64), "without a gap");
}

/// Reads on from the last revision seen, at each hint, until all is there.
fn follow(store: &Store, mut seen: u64, total: usize) -> Vec<(u64, String)> {
    let mut hints = store.committed();
    let mut rows = Vec::new();
    crate::harness::block_on(async {
        while rows.len() < total {
            let changes = store.read(move |tx| tx.changes_since(seen, 7)).await.unwrap();
            match changes.last() {
                Some(last) => seen = last.revision,
                None => {
                    let limit = std::time::Duration::from_secs(60);
                    tokio::time::timeout(limit, hints.wait_for(|known| *known > seen))
                        .await
                        .unwrap()
                        .unwrap();
                }
            }
            rows.extend(changes.into_iter().map(|change| (change.revision, change.id)));
        }
    });
    rows
}

pub(crate) fn a_revision_is_never_cut(database: &impl Database) {
    let store = database.open();
    let commands: Vec<_> = (0..50).map(|n| command(n, 1, n)).collect();
    let big = write(&store, move |tx| {
        tx.operation_insert(&operation(1))?;
        tx.command_insert(&commands)
    });
    let small = write(&store, |tx| tx.node_insert(&node(1)));
    let since = |revision, limit| read(&store, move |tx| tx.changes_since(revision, limit));
    assert_eq!(since(0, 10).len(), 51, "more than asked for rather than a part");
    assert_eq!(since(big.revision, 10).len(), 1);
    assert_eq!(since(0, 52).len(), 52);
    assert_eq!(since(small.revision, 10), []);
    let commands: BTreeSet<String> = since(0, 1).into_iter().map(|change| change.id).collect();
    assert!((0..50).all(|n| commands.contains(&CommandId::from_u128(n).to_string())));
}

pub(crate) fn pruning_raises_the_floor(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.node_insert(&node(1)));
    (0..8).for_each(|_| {
        heard(&store, 1);
    });
    let last = heard(&store, 1);
    assert_eq!(read(&store, |tx| tx.changes_floor()), 0);
    let all = u64::MAX;
    assert_eq!(report(&store, move |tx| tx.changes_prune(100, all, all)).value, 0);
    assert_eq!(
        report(&store, move |tx| tx.changes_prune(3, 2, all)).value,
        2,
        "not what is still to be read"
    );
    assert_eq!(report(&store, move |tx| tx.changes_prune(3, all, 1)).value, 1, "in steps");
    assert_eq!(report(&store, move |tx| tx.changes_prune(3, all, all)).value, 4);
    let (floor, newest) = read(&store, |tx| Ok((tx.changes_floor()?, tx.revision()?)));
    assert_eq!((floor, newest), (last - 3, last), "who has seen the floor can go on from it");
    assert_eq!(read(&store, move |tx| tx.changes_since(floor, 100)).len(), 3);
    assert_eq!(report(&store, move |tx| tx.changes_prune(5, all, all)).value, 0, "the floor never sinks");
    assert_eq!(read(&store, |tx| tx.changes_floor()), floor);
}
