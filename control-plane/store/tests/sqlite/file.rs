use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use muster_store::{Error, Options, ReadMeta as _, Store};

use crate::write;

fn refusal(opened: Result<Store, Error>) -> Error {
    opened.err().expect("it must be refused")
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::sqlite(folder.path().join("store.db"));
    Store::create(&options, "example.test").unwrap().close_blocking().unwrap();
    let raw = rusqlite::Connection::open(options.file().unwrap()).unwrap();
    raw.execute_batch("INSERT INTO migrations (version, name) VALUES (999, 'of tomorrow')").unwrap();
    drop(raw);
    let refused = refusal(Store::open(&options));
    let Error::NewerSchema { found: 999, known } = refused else { panic!("{refused}") };
    assert_eq!(
        refused.to_string(),
        format!(
            "the database has schema 999; this release knows schemas up to {known}. Use the newer release"
        )
    );
}

#[test]
fn what_is_not_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = |name: &str| Options::sqlite(folder.path().join(name));
    assert!(matches!(refusal(Store::open(&options("none"))), Error::Missing(_)));
    fs::write(folder.path().join("empty"), b"").unwrap();
    assert!(matches!(refusal(Store::open(&options("empty"))), Error::Foreign(_)));
    fs::write(folder.path().join("text"), [b'x'; 4096]).unwrap();
    assert!(matches!(refusal(Store::open(&options("text"))), Error::Corrupt(_)));
    let other = rusqlite::Connection::open(folder.path().join("other")).unwrap();
    other.execute_batch("CREATE TABLE migrations (version INTEGER)").unwrap();
    assert!(matches!(refusal(Store::open(&options("other"))), Error::Foreign(_)));
}

#[test]
fn a_database_is_made_once_and_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::sqlite(folder.path().join("store.db"));
    let store = Store::create(&options, "example.test").unwrap();
    write(&store, |tx| {
        let _ = tx.revision();
        Ok(())
    })
    .unwrap();
    assert!(matches!(refusal(Store::create(&options, "other.test")), Error::Exists(_)));
    let domain = store.read_blocking::<_, Error, _>(|tx| tx.trust_domain()).unwrap();
    assert_eq!(domain, "example.test");
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    store.close_blocking().unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["store.db"], "closing leaves the file and nothing else");
}

#[test]
fn another_process_in_the_way_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::sqlite(folder.path().join("store.db"));
    options.busy_timeout = Duration::from_millis(50);
    let store = Store::create(&options, "example.test").unwrap();
    let other = rusqlite::Connection::open(options.file().unwrap()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(write(&store, |_| Ok(())), Err(Error::Locked(_))));
    other.execute_batch("ROLLBACK").unwrap();
    assert!(write(&store, |_| Ok(())).is_ok());
}
