//! The handle that everyone holds: opens the database, starts the threads that
//! own its connections, and hands them work.

use std::{panic::resume_unwind, sync::Arc, thread, time::Duration};

use muster_common::clock::Clock;
use muster_domain::{audit::Stamp, lane::Lane};
use tokio::sync::{oneshot, watch};

use crate::{
    copy::unmake,
    engine::{self, Begin, Engine, params},
    error::Error,
    meter::{Meter, Metered, Transaction},
    migrate,
    options::Options,
    places,
    readers::{Readers, Whose},
    tx::{ReadTx, WriteTx},
    watcher::Watcher,
    writer::{self, Writer},
};

/// What is kept. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    parts: Arc<Parts>,
}

/// A write that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the closure answered.
    pub value: T,
    /// The revision of the write; if it changed nothing, the newest one before it.
    pub revision: u64,
}

struct Parts {
    writer: Writer,
    readers: Readers,
    watcher: Watcher,
    meter: Metered,
    committed: watch::Sender<u64>,
    is_shared: bool,
}

impl Store {
    /// Opens a database, and brings it to the schema of this release.
    ///
    /// # Errors
    /// If there is none, it is of a newer release or none of ours, or fails.
    pub fn open(options: &Options) -> Result<Self, Error> {
        on_a_thread(|| {
            let mut engine = places::existing(options)?;
            engine::transaction(&mut *engine, Begin::Schema, |engine| {
                migrate::run(engine)?;
                engine.dialect().tidy.map_or(Ok(()), |sql| engine.batch(sql))
            })?;
            Self::start(options, engine)
        })
    }

    /// Makes a new database: first epoch, this trust domain.
    ///
    /// # Errors
    /// If there is one already, or it cannot be made.
    pub fn create(options: &Options, trust_domain: &str) -> Result<Self, Error> {
        on_a_thread(|| {
            let engine = places::made(options, |engine| {
                for (name, value) in [("epoch", "1"), ("trust-domain", trust_domain)] {
                    engine.execute("INSERT INTO meta (name, value) VALUES ($1, $2)", params![name, value])?;
                }
                Ok(())
            })?;
            // What was made a moment ago is not left in the way of the next attempt.
            Self::start(options, engine).inspect_err(|_| drop(unmake(options)))
        })
    }

    fn start(options: &Options, mut engine: Box<dyn Engine>) -> Result<Self, Error> {
        let mut revision = 0;
        engine.query("SELECT revision FROM feed", &[], &mut |mut row| {
            revision = row.u64("revision")?;
            Ok(())
        })?;
        let (committed, meter) = (watch::Sender::new(revision), Metered::default());
        let parts = Parts {
            readers: Readers::start(options)?,
            watcher: Watcher::start(options, committed.clone())?,
            writer: Writer::start(options, engine, committed.clone(), Arc::clone(&meter))?,
            meter,
            committed,
            is_shared: options.file().is_none(),
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Runs a write and answers when it is on the disk. The closure may be run
    /// more than once; only its last run counts.
    ///
    /// # Errors
    /// What the closure refuses, or the store; then nothing was written.
    pub async fn write<T, E, F>(&self, stamp: Stamp, f: F) -> Result<Committed<T>, E>
    where
        F: Fn(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        self.write_in(Lane::Control, stamp, f).await
    }

    /// The same in another lane than `Control`: what goes first, and what is turned away
    /// first, when more is to be written than can be.
    ///
    /// # Errors
    /// What the closure refuses, or the store; then nothing was written.
    pub async fn write_in<T, E, F>(&self, lane: Lane, stamp: Stamp, f: F) -> Result<Committed<T>, E>
    where
        F: Fn(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let answer = self.hand_in(lane, stamp, f)?;
        self.timed(Transaction::Write(lane), answer).await
    }

    /// Tells this one from now on what the store does. The first one stays.
    pub fn measure(&self, meter: Arc<dyn Meter>) {
        let _ = self.parts.meter.set(meter);
    }

    /// Waits for an answer, and tells how long that took.
    async fn timed<T, E: From<Error>>(
        &self,
        transaction: Transaction,
        answer: oneshot::Receiver<Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Clock::System.monotonic();
        let answered = answer.await;
        if let Some(meter) = self.parts.meter.get() {
            meter.took(transaction, Clock::System.monotonic() - begun);
        }
        answered.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    /// How many writes wait, by lane.
    #[must_use]
    pub fn waiting(&self) -> [(Lane, usize); Lane::ALL.len()] {
        self.parts.writer.waiting()
    }

    /// How long the oldest write has waited that waits: zero when all are being written.
    #[must_use]
    pub fn behind(&self) -> Duration {
        self.parts.writer.behind()
    }

    /// As `write`, for those who have no async runtime around them.
    ///
    /// # Errors
    /// What the closure refuses, or the store; then nothing was written.
    ///
    /// # Panics
    /// When called from async code, which it would block.
    pub fn write_blocking<T, E, F>(&self, stamp: Stamp, f: F) -> Result<Committed<T>, E>
    where
        F: Fn(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let answer = self.hand_in(Lane::Control, stamp, f)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    fn hand_in<T, E, F>(
        &self,
        lane: Lane,
        stamp: Stamp,
        f: F,
    ) -> Result<oneshot::Receiver<Result<Committed<T>, E>>, E>
    where
        F: Fn(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        self.parts.writer.hand_in(lane, writer::Request::new(stamp, f, done))?;
        Ok(answer)
    }

    /// Runs a read over one consistent state.
    ///
    /// # Errors
    /// What the closure refuses, or the store.
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut ReadTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        self.parts.readers.hand_in(Whose::Caller, f, done)?;
        self.timed(Transaction::Read, answer).await
    }

    /// The same for what keeps the process itself true to the store: callers'
    /// reads, however long, do not hold it up.
    ///
    /// # Errors
    /// What the closure refuses, or the store.
    pub async fn read_own<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut ReadTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        self.parts.readers.hand_in(Whose::Own, f, done)?;
        self.timed(Transaction::OwnRead, answer).await
    }

    /// The same for those who have no async runtime around them.
    ///
    /// # Errors
    /// What the closure refuses, or the store.
    ///
    /// # Panics
    /// When called from async code, which it would block.
    pub fn read_blocking<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut ReadTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        self.parts.readers.hand_in(Whose::Caller, f, done)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    /// The last revision known to be committed, by this process or another one.
    /// A hint: the truth is on the feed.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.parts.committed.subscribe()
    }

    /// Whether several replicas may serve it at once: a file belongs to one.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.parts.is_shared
    }

    /// Writes what waits, moves the log into the file and closes it. Other
    /// clones of the handle get `Closed` from then on.
    ///
    /// # Errors
    /// If the last checkpoint fails; nothing that was answered is lost then.
    pub async fn close(self) -> Result<(), Error> {
        let answer = self.begin_close();
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// The same for those who have no async runtime around them.
    ///
    /// # Errors
    /// If the last checkpoint fails; nothing that was answered is lost then.
    ///
    /// # Panics
    /// When called from async code, which it would block.
    pub fn close_blocking(self) -> Result<(), Error> {
        let answer = self.begin_close();
        answer.blocking_recv().unwrap_or(Err(Error::Closed))
    }

    fn begin_close(&self) -> oneshot::Receiver<Result<(), Error>> {
        // Readers first: one in the middle of an old state would stop the checkpoint.
        let mut threads = self.parts.readers.close();
        threads.extend(self.parts.watcher.close());
        self.parts.writer.close(threads)
    }
}

/// Clients of servers do not work inside of someone's async runtime.
pub(crate) fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| resume_unwind(panic)))
}
