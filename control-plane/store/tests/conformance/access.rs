use muster_domain::access::{Binding, Caller, Role};
use muster_store::{ChangeKind, ReadAccess as _, ReadChanges as _, ReadMeta as _, WriteAccess as _};

use crate::harness::{Database, NOW, read, write};

pub(crate) fn callers_are_put_and_replaced(database: &impl Database) {
    let store = database.open();
    let caller = |name: &str, serial: &str| Caller {
        principal: name.into(),
        serial: serial.into(),
        issuer: 2,
        not_after: NOW,
        created_at: NOW,
    };
    let (bob, alice) = (caller("operator/bob", "0a"), caller("operator/alice", "0b"));
    let (second, again) = (alice.clone(), caller("operator/bob", "0c"));
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

pub(crate) fn bindings_are_put_listed_and_deleted(database: &impl Database) {
    let store = database.open();
    let binding = |name: &str, role, selector: &str| Binding {
        name: name.into(),
        principal: "service/ci-*".parse().unwrap(),
        role,
        selector: selector.into(),
        created_at: NOW,
        created_by: "operator/alice".into(),
    };
    let (a, b) = (binding("a", Role::Viewer, "*"), binding("b", Role::Deployer, "env=test"));
    let (first, second, third) = (a.clone(), binding("b", Role::Admin, "*"), b.clone());
    write(&store, move |tx| tx.binding_put(&first));
    write(&store, move |tx| tx.binding_put(&second));
    write(&store, move |tx| tx.binding_put(&third));
    assert_eq!(read(&store, |tx| tx.binding_all()), [a.clone(), b.clone()]);
    assert_eq!(read(&store, |tx| tx.binding_get("b")), Some(b.clone()));
    let one = |after: Option<String>| {
        let page = muster_domain::page::Page { size: 1, after };
        read(&store, move |tx| tx.binding_list(&page))
    };
    let page = one(None);
    assert_eq!((page.rows, page.next.as_deref()), (vec![a], Some("a")));
    assert_eq!((one(page.next).rows, read(&store, |tx| tx.binding_get("c"))), (vec![b], None));
    let deleted = write(&store, |tx| tx.binding_delete("a"));
    assert!(deleted.value);
    assert!(!write(&store, |tx| tx.binding_delete("a")).value);
    let changes = read(&store, move |tx| tx.changes_since(deleted.revision - 1, 10));
    assert_eq!((changes[0].kind, changes[0].id.as_str()), (ChangeKind::Binding, "a"));
}

pub(crate) fn meta_says_what_it_is(database: &impl Database) {
    let store = database.open();
    let meta = read(&store, |tx| Ok((tx.epoch()?, tx.trust_domain()?, tx.revision()?)));
    assert_eq!(meta, (1, "example.test".to_owned(), 0));
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
    assert_eq!(read(&store, |tx| tx.schema_version()), migrations.count() as u64);
    assert_eq!(*store.committed().borrow(), 0);
}
