use std::time::Duration;

use muster_common::generation::Generation;
use muster_domain::history::{Ended, History};
use muster_store::{
    Error, ReadHistories as _, ReadMeta as _, ReadNodes as _, Store, WriteHistories as _, WriteNodes as _,
    WriteSchedules as _,
};

use crate::{
    harness::{Database, NOW, read, report, stamp, write},
    samples::node,
    schedules::{begun, schedule},
};

fn history(store: &Store) -> History {
    read(store, |tx| tx.history())
}

pub(crate) fn one_ends_where_the_store_is_and_the_next_begins(database: &impl Database) {
    let store = database.open();
    assert_eq!(history(&store), History { epoch: 1, ended: vec![] });
    write(&store, |tx| tx.node_insert(&node(1)));
    let revision = read(&store, |tx| tx.revision());
    let later = NOW + Duration::from_secs(60);
    let unaudited = store.write_blocking::<_, Error, _>(stamp(), move |tx| tx.history_begin(3, NOW, later));
    assert!(matches!(unaudited, Err(Error::Unaudited(_))), "{unaudited:?}");
    write(&store, move |tx| tx.history_begin(3, NOW, later));
    let ended = Ended { epoch: 1, revision, taken_at: NOW, restored_at: later };
    assert_eq!(history(&store), History { epoch: 3, ended: vec![ended] });
    assert_eq!(history(&database.open()).epoch, 3);
}

pub(crate) fn what_may_be_overwritten_stays_with_its_node(database: &impl Database) {
    let store = database.open();
    let one = node(1);
    let id = one.id;
    write(&store, move |tx| tx.node_insert(&one));
    let accepted = || read(&store, move |tx| tx.node_get(id)).unwrap().accepted;
    assert_eq!(accepted(), None);
    write(&store, move |tx| tx.node_set_accepted(id, Generation::new(2, 9)));
    assert_eq!(accepted(), Some(Box::new(Generation::new(2, 9))));
}

pub(crate) fn no_time_up_to_a_restore_is_made_up_for(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.schedule_put(&schedule("a")));
    begun(&store, "a", 1);
    let restored = NOW + Duration::from_secs(3600);
    report(&store, move |tx| tx.schedule_skip_all(restored));
    let until = |store: &Store| {
        use muster_store::ReadSchedules as _;
        let since = read(store, |tx| tx.schedule_get("a")).unwrap().since;
        (since, read(store, |tx| tx.schedule_place_all())[0].until)
    };
    assert_eq!(until(&store), (restored, restored));
    report(&store, move |tx| tx.schedule_skip_all(NOW));
    assert_eq!(until(&store), (restored, restored), "it never goes back");
}
