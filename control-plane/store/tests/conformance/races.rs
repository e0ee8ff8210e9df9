//! Two handles on one database, as two processes have them.

use std::{thread, time::Duration};

use muster_common::ids::JoinTokenId;
use muster_domain::node;
use muster_store::{
    Error, ReadJoinTokens as _, ReadNodes as _, Store, WriteJoinTokens as _, WriteNodes as _,
};

use crate::{
    harness::{Database, block_on, note, read, stamp, write},
    samples,
};

/// Runs the work in several threads on both handles at once; how many of them said yes.
fn race(stores: &[Store; 2], work: impl Fn(&Store) -> bool + Sync) -> usize {
    thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn({
                    let work = &work;
                    move || work(&stores[n % 2])
                })
            })
            .collect();
        racers.into_iter().map(|racer| usize::from(racer.join().unwrap())).sum()
    })
}

pub(crate) fn a_token_is_used_no_more_than_it_may(database: &impl Database) {
    let stores = [database.open(), database.open_with(|options| options.with_replica("other"))];
    write(&stores[0], |tx| tx.join_token_insert(&samples::join_token(1, 3)));
    let id = JoinTokenId::from_u128(1);
    assert_eq!(race(&stores, |store| write(store, move |tx| tx.join_token_use_once(id)).value), 3);
    assert_eq!(read(&stores[1], move |tx| tx.join_token_get(id)).unwrap().uses, 3);
}

/// Compare and set: read, judge and write are one transaction.
pub(crate) fn an_etag_lets_one_of_two_through(database: &impl Database) {
    let stores = [database.open(), database.open_with(|options| options.with_replica("other"))];
    let revision = write(&stores[0], |tx| tx.node_insert(&samples::node(1))).revision;
    let id = samples::node(1).id;
    let edited = race(&stores, |store| {
        let etag = node::etag(revision);
        write(store, move |tx| {
            let stored = tx.node_get(id)?.expect("inserted above");
            Ok(!node::is_stale(&etag, stored.revision) && tx.node_edit(id, "mine", &stored.labels)?)
        })
        .value
    });
    assert_eq!(edited, 1);
}

pub(crate) fn handles_hear_of_each_other(database: &impl Database) {
    let (server, command_line) = (database.open(), database.open());
    let mut hints = server.committed();
    let committed: Result<_, Error> = command_line.write_blocking(stamp(), |tx| {
        tx.join_token_insert(&samples::join_token(1, 1))?;
        tx.audit(note("token"))
    });
    let revision = committed.unwrap().revision;
    let heard = hints.wait_for(|known| *known >= revision);
    assert_eq!(
        *block_on(async { tokio::time::timeout(Duration::from_secs(60), heard).await }).unwrap().unwrap(),
        revision
    );
    // And the next of its own goes on from there.
    assert_eq!(write(&server, |tx| tx.join_token_insert(&samples::join_token(2, 1))).revision, revision + 1);
}
