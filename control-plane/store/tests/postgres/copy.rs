//! From a file to a server.

use muster_cluster::Cluster;
use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::bundle::Bundle;
use muster_store::{
    Error, Options, ReadAudit as _, ReadBundles as _, ReadMeta as _, Store, WriteBundles as _, inspect,
};

use crate::{note, stamp, write};

/// A file with something in it.
fn filled(folder: &std::path::Path) -> Options {
    let options = Options::sqlite(folder.join("store.db"));
    let store = Store::create(&options, "example.test").unwrap();
    for number in 0..600 {
        write(&store, &format!("w-{number}")).unwrap();
    }
    let payload = vec![0xff; 100_000];
    let bundle = Bundle {
        name: "motd".into(),
        version: 1,
        sha256: Sha256::of(&payload),
        size_bytes: payload.len() as u64,
        created_at: UnixMillis(1),
        created_by: "operator/alice".into(),
    };
    let inserted = store.write_blocking::<_, Error, _>(stamp(), move |tx| {
        tx.bundle_insert(&bundle, &payload)?;
        tx.audit(note("motd"))
    });
    inserted.unwrap();
    store.close_blocking().unwrap();
    options
}

#[test]
fn everything_is_copied_and_goes_on_where_it_was() {
    let cluster = Cluster::shared();
    let folder = tempfile::tempdir().unwrap();
    let from = filled(folder.path());
    let to: Options = cluster.database().parse().unwrap();
    let mut told = Vec::new();
    let copied = muster_store::copy(&from, &to, &mut |progress| told.push(progress)).unwrap();
    assert_eq!(copied.revision, 601);
    assert!(copied.rows.contains(&("audit", 601)) && copied.rows.contains(&("item_marks", 600)));
    assert!(told.iter().any(|progress| progress.table == "audit" && progress.of == 601));
    let (here, there) = (inspect(&from).unwrap(), inspect(&to).unwrap());
    assert_eq!((here.history, here.rows), (there.history, there.rows));
    assert_eq!((here.problems, there.problems), (vec![], vec![]));
    let store = Store::open(&to).unwrap();
    assert_eq!(write(&store, "after").unwrap(), 602);
    let read = store.read_blocking::<_, Error, _>(|tx| {
        Ok((tx.audit_verify("main")?, tx.bundle_payload("motd", 1)?, tx.epoch()?))
    });
    assert_eq!(read.unwrap(), (None, Some(vec![0xff; 100_000]), 1), "the chain of the audit holds on");
}

#[test]
fn a_copy_that_cannot_be_leaves_nothing() {
    let cluster = Cluster::shared();
    let folder = tempfile::tempdir().unwrap();
    let from = filled(folder.path());
    let url = cluster.database();
    let to: Options = url.parse().unwrap();
    let copy = |from: &Options, to: &Options| muster_store::copy(from, to, &mut |_| {});
    assert!(matches!(copy(&to, &from), Err(Error::NotCopied(_))), "not in this direction");
    // A row that the server does not take, late in the order of tables.
    let raw = rusqlite::Connection::open(from.file().unwrap()).unwrap();
    raw.execute_batch(
        "PRAGMA ignore_check_constraints = 1; INSERT INTO blobs VALUES (x'00', 1, 'odd', 1, 'x', 1)",
    )
    .unwrap();
    assert!(matches!(copy(&from, &to), Err(Error::Constraint(_))));
    assert_eq!(cluster.sql(&url, "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    raw.execute_batch("DELETE FROM blobs").unwrap();
    copy(&from, &to).unwrap();
    assert!(matches!(copy(&from, &to), Err(Error::Exists(_))), "only into an empty database");
}

#[test]
fn rows_that_contradict_each_other_are_told() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = Store::open(&crate::made(&url)).unwrap();
    write(&store, "first").unwrap();
    store.close_blocking().unwrap();
    cluster.sql(&url, "UPDATE feed SET audit_place = 0");
    let found = inspect(&url.parse().unwrap()).unwrap();
    assert_eq!(found.problems, ["entries are in the audit after its last place: 1"]);
    assert_eq!(found.warnings.len(), 2, "tests run without a promise of the disk: {:?}", found.warnings);
}
