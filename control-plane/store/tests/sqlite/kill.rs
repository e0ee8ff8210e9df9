//! SIGKILL in the middle of writes: everything acknowledged is there.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::bundle::Bundle;
use muster_store::{
    Error, Options, ReadAudit as _, ReadBundles as _, ReadChanges as _, Store, WriteBundles as _, WriteTx,
};

use crate::{note, stamp};

const FILE: &str = "MUSTER_STORE_TEST_FILE";
const ROUNDS: u64 = 8;
const THREADS: u64 = 6;

/// Not a test of its own: the process that is killed. It writes without end and
/// says each write that was acknowledged.
#[test]
#[ignore = "started by other tests as a process of its own"]
fn child_that_writes() {
    let path = env::var_os(FILE).expect("started by its parent");
    let store = Store::open(&Options::sqlite(path)).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                loop {
                    let name = format!("w-{thread}");
                    let version = insert(store, &name).unwrap();
                    // Not to the harness's capture: straight to the pipe, line by line.
                    writeln!(std::io::stdout(), "ack {name}/{version}").unwrap();
                }
            });
        }
    });
}

/// Adds the next version of a bundle.
fn insert(store: &Store, name: &str) -> Result<u64, Error> {
    let name = name.to_owned();
    let write = move |tx: &mut WriteTx<'_>| {
        let version = tx.bundle_next_version(&name)?;
        let payload = format!("{name} {version}").into_bytes();
        let bundle = Bundle {
            name: name.clone(),
            version,
            sha256: Sha256::of(&payload),
            size_bytes: payload.len() as u64,
            created_at: UnixMillis(1),
            created_by: "operator/alice".into(),
        };
        tx.bundle_insert(&bundle, &payload)?;
        tx.audit(note(&name))?;
        Ok(version)
    };
    store.write_blocking(stamp(), write).map(|committed| committed.value)
}

/// A process that is gone with the test, whatever happens.
struct Victim(Child);

impl Victim {
    fn start(file: &Path, crash_at: Option<&str>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "kill::child_that_writes", "--ignored", "--nocapture"]);
        command.env(FILE, file).stdout(Stdio::piped()).stderr(Stdio::null());
        command.envs(crash_at.map(|point| ("MUSTER_CRASH_AT", point)));
        Self(command.spawn().unwrap())
    }

    /// Kills it after so many acknowledged writes, or waits for its own end;
    /// answers all that were acknowledged.
    fn run(mut self, kill_after: Option<u64>) -> BTreeSet<String> {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap());
        let (mut acknowledged, mut line) = (BTreeSet::new(), String::new());
        while lines.read_line(&mut line).unwrap() > 0 {
            // The last line may be cut by the kill: it says nothing then.
            if let Some(name) = line.strip_suffix('\n').and_then(|line| line.split("ack ").nth(1)) {
                acknowledged.insert(name.to_owned());
            }
            line.clear();
            if kill_after == Some(acknowledged.len() as u64) {
                self.0.kill().unwrap();
            }
        }
        acknowledged
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a database must be after its process died.
fn check(file: &Path, acknowledged: &BTreeSet<String>) {
    let store = Store::open(&Options::sqlite(file)).unwrap();
    let (bundles, changes, bad) = store
        .read_blocking::<_, Error, _>(|tx| {
            Ok((tx.bundle_all()?, tx.changes_since(0, u32::MAX)?, tx.audit_verify("main")?))
        })
        .unwrap();
    let stored: BTreeSet<String> = bundles.iter().map(|b| format!("{}/{}", b.name, b.version)).collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let fed: BTreeSet<String> = changes.into_iter().map(|change| change.id).collect();
    assert_eq!(fed, stored, "the feed has what the rows have");
    let last = store.read_blocking::<_, Error, _>(|tx| tx.audit_last("main")).unwrap();
    let last = last.map_or(0, |entry| entry.seq);
    assert_eq!((last, bad), (stored.len() as u64, None), "so has the audit");
    store.close_blocking().unwrap();
    let raw = rusqlite::Connection::open(file).unwrap();
    let verdict: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[test]
fn a_killed_writer_loses_nothing_it_has_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    Store::create(&Options::sqlite(&file), "example.test").unwrap().close_blocking().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        // Sooner and later after the start, in no relation to the size of batches.
        let new = Victim::start(&file, None).run(Some(37 + round * 53));
        assert!(new.len() as u64 >= 37 + round * 53, "it must have been killed, not have ended");
        acknowledged.extend(new);
        check(&file, &acknowledged);
    }
}

/// At the named places, exactly: in the middle of a batch, before and after the commit.
#[cfg(feature = "crash-points")]
#[test]
fn a_writer_that_dies_around_its_commit_loses_nothing_it_has_acknowledged() {
    let points =
        ["store.mid-batch:20", "store.before-commit:1", "store.before-commit:30", "store.after-commit:30"];
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        Store::create(&Options::sqlite(&file), "example.test").unwrap().close_blocking().unwrap();
        let acknowledged = Victim::start(&file, Some(point)).run(None);
        assert_eq!(acknowledged.is_empty(), point == "store.before-commit:1", "{point}");
        check(&file, &acknowledged);
    }
}
