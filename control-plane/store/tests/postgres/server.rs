//! The server: its death, its locks, and who it is.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use muster_cluster::Cluster;
use muster_store::{Error, Options, ReadMeta as _, Store};

use crate::{made, subjects, write};

fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not in a minute: {what}");
}

fn revision(store: &Store) -> Result<u64, Error> {
    store.read_blocking(|tx| tx.revision())
}

/// Killed again and again under a stream of writes; with its disk's word given up, only the process dies.
#[test]
fn a_server_that_dies_costs_no_answered_write_and_none_is_there_twice() {
    let cluster = Cluster::start("");
    let url = cluster.database();
    let mut options = made(&url);
    options.failover_within = Duration::from_secs(60);
    let store = Store::open(&options).unwrap();
    assert_eq!(revision(&store).unwrap(), 0);
    let is_over = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut answered = Vec::new();
            for number in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let subject = format!("w-{number}");
                write(&store, &subject).unwrap();
                answered.push(subject);
            }
            answered
        });
        let goes_on = || {
            let before = *store.committed().borrow();
            until("writes go on", || *store.committed().borrow() >= before + 20);
        };
        for _ in 0..3 {
            goes_on();
            cluster.kill();
            cluster.start_again();
        }
        goes_on();
        is_over.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    assert_eq!(subjects(&cluster, &url), answered);
    assert_eq!(revision(&store).unwrap(), answered.len() as u64, "a reader finds its way back by itself");
}

#[test]
fn a_commit_is_heard_of_before_anybody_looks() {
    let mut options = made(&Cluster::shared().database());
    options.watch_interval = Duration::from_secs(3600);
    let (one, other) = (Store::open(&options).unwrap(), Store::open(&options).unwrap());
    let mut number = 0;
    // The first may come before the other listens.
    until("a hint comes", || {
        number += 1;
        let written = write(&one, &format!("w-{number}")).unwrap();
        *other.committed().borrow() + 1 >= written && written > 2
    });
}

#[test]
fn another_session_in_the_way_is_an_answer_and_so_is_no_server() {
    let cluster = Cluster::start("");
    let url = cluster.database();
    let mut options = made(&url);
    options.busy_timeout = Duration::from_millis(100);
    options.failover_within = Duration::ZERO;
    let store = Store::open(&options).unwrap();
    thread::scope(|scope| {
        let hold = "BEGIN; SELECT 1 FROM feed FOR UPDATE; SELECT pg_sleep(2); COMMIT";
        scope.spawn(|| cluster.sql(&url, hold));
        let is_held =
            "SELECT COUNT(*) FROM pg_locks WHERE relation = 'feed'::regclass AND mode = 'RowShareLock'";
        until("another session holds the row", || cluster.sql(&url, is_held) != "0");
        let told = write(&store, "first");
        assert!(matches!(told, Err(Error::Locked(_))), "{told:?}");
    });
    write(&store, "second").unwrap();
    cluster.kill();
    // What serves a session outlives its server for a moment.
    let mut told = None;
    until("the server is missed", || {
        told = write(&store, "third").err();
        told.is_some()
    });
    // What was sent as it died may have come about; what follows was not even sent.
    assert!(matches!(told, Some(Error::Unreachable(_) | Error::OutcomeUnknown(_))), "{told:?}");
    assert!(matches!(write(&store, "fourth"), Err(Error::Unreachable(_))));
    assert!(matches!(revision(&store), Err(Error::Unreachable(_))));
    let refused = Store::open(&options).err().unwrap();
    assert!(matches!(refused, Error::Open { .. }), "{refused}");
    assert!(refused.to_string().contains("/store_"), "{refused}");
}

#[test]
fn a_database_is_made_once_and_what_is_not_there_or_newer_is_refused() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let options: Options = url.parse().unwrap();
    assert!(matches!(Store::open(&options).err().unwrap(), Error::Missing(_)));
    // A table of that name is no sign of ours.
    cluster.sql(&url, "CREATE SCHEMA other; CREATE TABLE other.migrations (version BIGINT)");
    assert!(matches!(Store::open(&options).err().unwrap(), Error::Missing(_)));
    made(&url);
    assert!(matches!(Store::create(&options, "other.test").err().unwrap(), Error::Exists(_)));
    cluster.sql(&url, "INSERT INTO migrations (version, name) VALUES (999, 'of tomorrow')");
    assert!(matches!(Store::open(&options).err().unwrap(), Error::NewerSchema { found: 999, .. }));
}

#[test]
fn a_host_cannot_spoil_a_write_with_a_character_that_the_server_does_not_take() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = Store::open(&made(&url)).unwrap();
    write(&store, "a\0b").unwrap();
    assert_eq!(cluster.sql(&url, "SELECT item FROM item_marks"), "bundle/a\u{fffd}b");
    let holds = store.read_blocking::<_, Error, _>(|tx| muster_store::ReadAudit::audit_verify(tx, "main"));
    assert_eq!(holds.unwrap(), None);
}

#[test]
fn only_the_server_that_its_authority_names_is_spoken_to() {
    let named = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (ours, other) = (named("localhost"), named("localhost"));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (trusted, not) = (file("ours.crt", &ours.cert.pem()), file("other.crt", &other.cert.pem()));
    let cluster = Cluster::with_tls(&ours.cert.pem(), &ours.signing_key.serialize_pem());
    let name = cluster.database();
    let name = name.rsplit('/').next().unwrap();
    let url = |host: &str, roots: &str| format!("{}?sslrootcert={roots}", cluster.tcp_url(host, name));
    let store = Store::open(&made(&url("localhost", &trusted))).unwrap();
    assert_eq!(write(&store, "first").unwrap(), 1);
    let is_tls = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                  WHERE application_name = 'muster-control-plane' AND NOT ssl";
    assert_eq!(cluster.sql("postgres", is_tls), "0");
    for url in [url("localhost", &not), url("127.0.0.1", &trusted)] {
        let refused = Store::open(&url.parse().unwrap()).err().unwrap();
        assert!(matches!(refused, Error::Open { .. }), "{refused}");
    }
}
