use muster_domain::{bundle::Bundle, page::Page};
use muster_store::{Error, ReadBundles as _, WriteBundles as _};

use crate::{
    harness::{Database, note, pages, read, stamp, write},
    samples::bundle,
};

fn insert(store: &muster_store::Store, name: &'static str, version: u64) {
    let payload = format!("{name} {version}").into_bytes();
    write(store, move |tx| tx.bundle_insert(&bundle(name, version, &payload), &payload));
}

fn shown(bundles: &[Bundle]) -> Vec<String> {
    bundles.iter().map(|bundle| format!("{}/{}", bundle.name, bundle.version)).collect()
}

pub(crate) fn versions_come_newest_first(database: &impl Database) {
    let store = database.open();
    for (name, version) in [("motd", 1), ("motd", 2), ("app", 1), ("motd", 10), ("app", 2)] {
        insert(&store, name, version);
    }
    let all = ["app/2", "app/1", "motd/10", "motd/2", "motd/1"];
    assert_eq!(shown(&read(&store, |tx| tx.bundle_all())), all);
    for size in 1..6 {
        assert_eq!(shown(&pages(size, |page| read(&store, move |tx| tx.bundle_list(&page, None)))), all);
        let of_motd = pages(size, |page| read(&store, move |tx| tx.bundle_list(&page, Some("motd"))));
        assert_eq!(shown(&of_motd), all[2..]);
    }
    let newest = read(&store, |tx| tx.bundle_get("motd", None)).unwrap();
    assert_eq!(newest, bundle("motd", 10, b"motd 10"));
    assert_eq!(read(&store, |tx| tx.bundle_get("motd", Some(3))), None);
    assert_eq!(read(&store, |tx| tx.bundle_payload("motd", 2)), Some(b"motd 2".to_vec()));
    assert_eq!(read(&store, |tx| tx.bundle_payload("app", 10)), None);
    let nonsense = Page { size: 1, after: Some("motd".into()) };
    let refused = store.read_blocking(move |tx| tx.bundle_list(&nonsense, None)).unwrap_err();
    assert!(matches!(refused, Error::PageKey(_)), "{refused}");
}

pub(crate) fn a_deleted_version_is_not_given_again(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.bundle_next_version("motd")), 1);
    (1..=3).for_each(|version| insert(&store, "motd", version));
    insert(&store, "motd-2", 1);
    assert_eq!(write(&store, |tx| tx.bundle_delete("motd", Some(3))).value, [3]);
    assert_eq!(write(&store, |tx| tx.bundle_delete("motd", Some(3))).value, [0u64; 0]);
    assert_eq!(read(&store, |tx| tx.bundle_get("motd", None)).unwrap().version, 2);
    assert_eq!(read(&store, |tx| tx.bundle_next_version("motd")), 4);
    let mut deleted = write(&store, |tx| tx.bundle_delete("motd", None)).value;
    deleted.sort_unstable();
    assert_eq!(deleted, [1, 2]);
    assert_eq!(read(&store, |tx| tx.bundle_payload("motd", 1)), None);
    assert_eq!(read(&store, |tx| tx.bundle_next_version("motd")), 4);
    assert_eq!(shown(&read(&store, |tx| tx.bundle_all())), ["motd-2/1"]);
}

pub(crate) fn a_version_is_never_replaced(database: &impl Database) {
    let store = database.open();
    insert(&store, "motd", 1);
    let again = store.write_blocking(stamp(), |tx| {
        tx.bundle_insert(&bundle("motd", 1, b"other"), b"other")?;
        tx.audit(note("motd"))
    });
    assert!(matches!(again, Err(Error::Constraint(_))));
    assert_eq!(read(&store, |tx| tx.bundle_payload("motd", 1)), Some(b"motd 1".to_vec()));
}
