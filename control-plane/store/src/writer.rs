//! The one thread that writes. It takes all writes that wait, the first lane first,
//! runs each under a savepoint of its own, and commits them together: one sync of the
//! disk for all. A write that fails takes nobody along.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use muster_common::clock::Clock;
use muster_domain::lane::Lane;
use tokio::sync::{oneshot, watch};

use crate::{engine::Engine, error::Error, meter::Metered, options::Options};

mod batch;
mod patience;
mod queue;
pub(crate) mod request;

use patience::Patience;
use queue::{Entrance, Exit, queue};
pub(crate) use request::Request;

/// What others hold of the thread.
pub(crate) struct Writer {
    queue: Entrance,
}

struct Close {
    /// Threads that read: the last connection to end must be the one that can
    /// write, or the log stays beside the file.
    readers: Vec<JoinHandle<()>>,
    done: oneshot::Sender<Result<(), Error>>,
}

struct Task {
    engine: Box<dyn Engine>,
    replica: String,
    patience: Patience,
    limit: usize,
    queue: Exit,
    committed: watch::Sender<u64>,
    meter: Metered,
}

impl Writer {
    pub(crate) fn start(
        options: &Options,
        engine: Box<dyn Engine>,
        committed: watch::Sender<u64>,
        meter: Metered,
    ) -> Result<Self, Error> {
        let (entrance, queue) = queue(options.queue);
        let (replica, limit) = (options.replica.clone(), options.batch.max(1));
        let patience = Patience::new(options.failover_within);
        let task = Task { engine, replica, patience, limit, queue, committed, meter };
        spawn("store-writer", options, move || task.run())?;
        Ok(Self { queue: entrance })
    }

    pub(crate) fn hand_in(&self, lane: Lane, request: Request) -> Result<(), Error> {
        self.queue.push(lane, request, Clock::System.monotonic())
    }

    /// How many writes wait, by lane.
    pub(crate) fn waiting(&self) -> [(Lane, usize); Lane::ALL.len()] {
        self.queue.waiting()
    }

    /// How long the oldest write has waited.
    pub(crate) fn behind(&self) -> Duration {
        self.queue.behind(Clock::System.monotonic())
    }

    /// Everything handed in before is still written; then, when these threads
    /// have ended, the database is closed.
    pub(crate) fn close(&self, readers: Vec<JoinHandle<()>>) -> oneshot::Receiver<Result<(), Error>> {
        let (done, answer) = oneshot::channel();
        self.queue.close(Close { readers, done });
        answer
    }
}

/// Starts a thread of the store.
pub(crate) fn spawn(
    name: &str,
    options: &Options,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map_err(|error| Error::Open { place: options.place.clone(), source: Arc::new(error) })
}

impl Task {
    fn run(mut self) {
        loop {
            let writes = self.queue.take(self.limit);
            if writes.is_empty() {
                break;
            }
            self.write(writes);
        }
        let close = self.queue.closed();
        let (readers, told) = close.map_or((Vec::new(), None), |close| (close.readers, Some(close.done)));
        for reader in readers {
            let _ = reader.join(); // one that panicked has ended, too
        }
        let done = self.engine.close();
        if let Err(error) = &done {
            tracing::warn!(%error, "the database was closed without its last checkpoint");
        }
        let Self { engine, queue, .. } = self;
        drop((engine, queue)); // closed before anyone is told so
        if let Some(told) = told {
            let _ = told.send(done);
        }
    }
}
