//! Rows as release 0.1 has written them: whoever changes a value of the domain
//! must still read these.

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    audit,
    item::{Cause, Outcome},
};
use muster_store::{Error, Options, ReadAudit as _, ReadNodes as _, Store};

const NODE: &str = r#"
INSERT INTO nodes VALUES ('00000000-0000-0000-0000-000000000001', 'web-1', '{"env":"prod"}', x'01', x'02',
    '00000000-0000-0000-0000-000000000005', 1, 2, 3);
INSERT INTO node_status VALUES ('00000000-0000-0000-0000-000000000001', 'never-seen', 1, 'Enrolled', NULL, NULL, 0, 0, NULL, NULL, 0, NULL);
INSERT INTO node_facts VALUES ('00000000-0000-0000-0000-000000000001',
    '{"hostname":"web-1","cpu_count":2,"disks":[{"mount_point":"/","file_system":"ext4","size_bytes":5}],
      "addresses":[{"interface":"eth0","address":"192.0.2.7"}]}', x'03');
INSERT INTO node_certificates VALUES ('00000000-0000-0000-0000-000000000001', 0, '0a', 1, 1, 8, 9, x'04', x'05');
INSERT INTO node_items VALUES ('00000000-0000-0000-0000-000000000001', 'bundle/motd',
    '{"item":"bundle/motd","running":null,"attempted":{"generation":{"epoch":1,"number":7},"version":"2",
      "sha256":"0707070707070707070707070707070707070707070707070707070707070707"},"outcome":"rolled-back",
      "error":{"reason":"INVALID_ARGUMENT","cause":"control-plane","message":"no","output":""},"changed_at":5}');
"#;

#[test]
fn rows_of_the_first_release_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::sqlite(folder.path().join("store.db"));
    let store = Store::create(&options, "example.test").unwrap();
    rusqlite::Connection::open(options.file().unwrap()).unwrap().execute_batch(NODE).unwrap();
    let node = store.read_blocking::<_, Error, _>(|tx| tx.node_get(NodeId::from_u128(1))).unwrap().unwrap();
    let facts = node.facts.all();
    assert_eq!((facts.hostname.as_str(), facts.cpu_count, facts.os.as_str()), ("web-1", 2, ""));
    assert_eq!(facts.disks[0].size_bytes, 5);
    assert_eq!(node.certificate.current.serial.to_string(), "0a");
    let item = &node.items[0];
    assert_eq!(item.outcome, Some(Outcome::RolledBack));
    assert_eq!(item.attempted.as_ref().map(|version| version.generation.number), Some(7));
    let error = item.error.as_ref().unwrap();
    assert_eq!((error.reason, error.cause), (Some(Reason::InvalidArgument), Some(Cause::ControlPlane)));
}

/// What the first schema makes, and one entry of the audit.
fn first_schema(path: &std::path::Path) {
    let raw = rusqlite::Connection::open(path).unwrap();
    raw.execute_batch(include_str!("../../migrations/sqlite/0001_start.sql")).unwrap();
    let rows = "INSERT INTO migrations VALUES (1, 'start'); INSERT INTO meta VALUES ('epoch', '1'); \
                INSERT INTO meta VALUES ('trust-domain', 'example.test'); UPDATE feed SET audit_place = 1";
    raw.execute_batch(rows).unwrap();
    let hash = audit::seal("main", 1, &crate::stamp(), &crate::note("node/1"), audit::START);
    let entry = "INSERT INTO audit VALUES (1, 'main', 1, 'operator/alice', 'tests.write', 1700000000000, '', '', \
                 'node/1', '', '', 0, zeroblob(32), ?1)";
    raw.execute(entry, [hash.as_bytes().as_slice()]).unwrap();
}

#[test]
fn a_store_of_the_first_schema_gets_checkpoints_and_keeps_its_chain() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::sqlite(folder.path().join("store.db"));
    first_schema(options.file().unwrap());
    let store = Store::open(&options).unwrap();
    crate::write(&store, |_| Ok(())).unwrap();
    let found = store.read_blocking::<_, Error, _>(|tx| {
        let newest = tx.audit_last("main")?.map(|entry| entry.seq);
        Ok((newest, tx.audit_verify("main")?, tx.checkpoint_last("main")?))
    });
    assert_eq!(found.unwrap(), (Some(2), None, None));
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::sqlite(folder.path().join("store.db"));
    let store = Store::create(&options, "example.test").unwrap();
    let raw = rusqlite::Connection::open(options.file().unwrap()).unwrap();
    raw.execute_batch(NODE).unwrap();
    raw.execute_batch("UPDATE node_status SET liveness = 'asleep'").unwrap();
    let error = store.read_blocking::<_, Error, _>(|tx| tx.node_all()).unwrap_err();
    assert_eq!(error.to_string(), "stored liveness \"asleep\" is not one this release can read");
}
