//! How to get a store of each engine, and what all tests need.

use std::{
    pin::Pin,
    sync::{Arc, Barrier},
    task::Poll,
    thread,
    time::Duration,
};

use muster_cluster::Cluster;
use muster_common::clock::UnixMillis;
use muster_domain::{
    audit::{Note, Stamp},
    page::{Listed, Page},
};
use muster_store::{Committed, Error, Options, ReadTx, Store, WriteTx};
use tempfile::TempDir;

pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// One engine with a new, empty store.
pub(crate) trait Database {
    fn make() -> Self;
    /// Another handle, as another process would have it.
    fn open_with(&self, change: fn(Options) -> Options) -> Store;
    /// Runs a statement past the store.
    fn tamper(&self, sql: &str);

    fn open(&self) -> Store {
        self.open_with(|options| options)
    }
}

pub(crate) struct SqliteFile {
    folder: TempDir,
}

impl SqliteFile {
    fn options(&self) -> Options {
        let mut options = Options::sqlite(self.folder.path().join("store.db"));
        options.watch_interval = Duration::from_millis(20);
        // Two handles on one file with 2 busy cores: patience, no figure.
        options.busy_timeout = Duration::from_secs(60);
        options
    }
}

impl Database for SqliteFile {
    fn make() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        Store::create(&made.options(), "example.test").unwrap().close_blocking().unwrap();
        made
    }

    fn open_with(&self, change: fn(Options) -> Options) -> Store {
        Store::open(&change(self.options())).unwrap()
    }

    fn tamper(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.folder.path().join("store.db")).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

/// A database of the server that the tests of this process share.
pub(crate) struct PostgresDatabase {
    url: String,
}

impl PostgresDatabase {
    fn options(&self) -> Options {
        let mut options: Options = self.url.parse().unwrap();
        options.watch_interval = Duration::from_millis(20);
        options.busy_timeout = Duration::from_secs(60);
        options
    }
}

impl Database for PostgresDatabase {
    fn make() -> Self {
        let made = Self { url: Cluster::shared().database() };
        Store::create(&made.options(), "example.test").unwrap().close_blocking().unwrap();
        made
    }

    fn open_with(&self, change: fn(Options) -> Options) -> Store {
        Store::open(&change(self.options())).unwrap()
    }

    fn tamper(&self, sql: &str) {
        // Bytes are written differently.
        Cluster::shared().sql(&self.url, &sql.replace("x'", "'\\x"));
    }
}

pub(crate) fn stamp() -> Stamp {
    Stamp {
        actor: "operator/alice".into(),
        action: "tests.write".into(),
        at: NOW,
        remote_address: "192.0.2.1".into(),
        trace_id: "trace".into(),
    }
}

pub(crate) fn note(subject: impl Into<String>) -> Note {
    Note { subject: subject.into(), ..Note::default() }
}

/// A write with its audit entry.
pub(crate) fn write<T: Send + 'static>(
    store: &Store,
    f: impl Fn(&mut WriteTx<'_>) -> Result<T, Error> + Send + 'static,
) -> Committed<T> {
    let audited = move |tx: &mut WriteTx<'_>| {
        let value = f(tx)?;
        tx.audit(note("test"))?;
        Ok::<_, Error>(value)
    };
    store.write_blocking(stamp(), audited).unwrap()
}

/// A write without one.
pub(crate) fn report<T: Send + 'static>(
    store: &Store,
    f: impl Fn(&mut WriteTx<'_>) -> Result<T, Error> + Send + 'static,
) -> Committed<T> {
    store.write_blocking(stamp(), f).unwrap()
}

pub(crate) fn read<T: Send + 'static>(
    store: &Store,
    f: impl FnOnce(&mut ReadTx<'_>) -> Result<T, Error> + Send + 'static,
) -> T {
    store.read_blocking(f).unwrap()
}

/// All rows of a list, page by page.
pub(crate) fn pages<T>(size: u32, mut list: impl FnMut(Page) -> Listed<T>) -> Vec<T> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = list(Page { size, after });
        assert!(page.rows.len() <= size as usize);
        rows.extend(page.rows);
        match page.next {
            Some(next) => after = Some(next),
            None => return rows,
        }
    }
}

/// Keeps the writer busy until released, so that what is handed in meanwhile
/// shares the next commit.
pub(crate) struct Gate {
    open: Arc<Barrier>,
    holder: thread::JoinHandle<()>,
}

impl Gate {
    pub(crate) fn close(store: &Store) -> Self {
        let (entered, open) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let holder = {
            let (store, entered, open) = (store.clone(), Arc::clone(&entered), Arc::clone(&open));
            thread::spawn(move || {
                report(&store, move |_| {
                    entered.wait();
                    open.wait();
                    Ok(())
                });
            })
        };
        entered.wait();
        Self { open, holder }
    }

    pub(crate) fn open(self) {
        self.open.wait();
        self.holder.join().unwrap();
    }
}

/// Drives a future whose tasks are threads of the store.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Polls a future once, which hands its request in; it must have to wait then.
pub(crate) async fn hand_in<F: Future + Unpin>(future: &mut F) {
    let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await;
    assert!(polled, "answered at once");
}
