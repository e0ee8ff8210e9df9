use muster_domain::access::{Caller, Role};
use muster_store::{ChangeKind, ReadAccess as _, ReadChanges as _, ReadMeta as _, WriteAccess as _};

use crate::harness::{Database, NOW, read, write};

pub(crate) fn callers_are_put_and_replaced(database: &impl Database) {
    let store = database.open();
    let caller = |name: &str, role| Caller {
        principal: name.into(),
        role,
        serial: "0a".into(),
        issuer: 2,
        not_after: NOW,
        created_at: NOW,
    };
    let (bob, alice) = (caller("operator/bob", Role::Viewer), caller("operator/alice", Role::Operator));
    let (second, again) = (alice.clone(), caller("operator/bob", Role::Admin));
    write(&store, move |tx| tx.caller_put(&bob));
    write(&store, move |tx| tx.caller_put(&second));
    let put = again.clone();
    let revision = write(&store, move |tx| tx.caller_put(&put)).revision;
    assert_eq!(read(&store, |tx| tx.caller_get("operator/bob")), Some(again.clone()));
    assert_eq!(read(&store, |tx| tx.caller_get("operator/eve")), None);
    assert_eq!(read(&store, |tx| tx.caller_all()), [alice, again]);
    let changes = read(&store, move |tx| tx.changes_since(revision - 1, 10));
    assert_eq!((changes[0].kind, changes[0].id.as_str()), (ChangeKind::Caller, "operator/bob"));
}

pub(crate) fn meta_says_what_it_is(database: &impl Database) {
    let store = database.open();
    let meta = read(&store, |tx| Ok((tx.epoch()?, tx.trust_domain()?, tx.revision()?)));
    assert_eq!(meta, (1, "example.test".to_owned(), 0));
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
    assert_eq!(read(&store, |tx| tx.schema_version()), migrations.count() as u64);
    assert_eq!(*store.committed().borrow(), 0);
}
