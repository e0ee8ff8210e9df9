//! The one thread that writes. It takes all writes that wait, runs each under
//! a savepoint of its own, and commits them together: one sync of the disk for
//! all. A write that fails takes nobody along.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::{oneshot, watch};

use crate::{engine::Engine, error::Error, options::Options};

mod batch;
mod patience;
pub(crate) mod request;

use patience::Patience;
pub(crate) use request::Request;

/// What others hold of the thread.
pub(crate) struct Writer {
    queue: SyncSender<Message>,
}

enum Message {
    Write(Request),
    Close(Close),
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
    queue: Receiver<Message>,
    committed: watch::Sender<u64>,
}

impl Writer {
    pub(crate) fn start(
        options: &Options,
        engine: Box<dyn Engine>,
        committed: watch::Sender<u64>,
    ) -> Result<Self, Error> {
        let (sender, queue) = sync_channel(options.queue.max(1));
        let (replica, limit) = (options.replica.clone(), options.batch.max(1));
        let patience = Patience::new(options.failover_within);
        let task = Task { engine, replica, patience, limit, queue, committed };
        spawn("store-writer", options, move || task.run())?;
        Ok(Self { queue: sender })
    }

    pub(crate) fn hand_in(&self, request: Request) -> Result<(), Error> {
        self.queue.try_send(Message::Write(request)).map_err(|error| match error {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => Error::Closed,
        })
    }

    /// Everything handed in before is still written; then, when these threads
    /// have ended, the database is closed.
    pub(crate) fn close(&self, readers: Vec<JoinHandle<()>>) -> oneshot::Receiver<Result<(), Error>> {
        let (done, answer) = oneshot::channel();
        // The queue is full at most as long as the thread works; a failed send drops `done`.
        let _ = self.queue.send(Message::Close(Close { readers, done }));
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
        let mut close = None;
        while close.is_none()
            && let Ok(first) = self.queue.recv()
        {
            let mut writes = Vec::new();
            close = self.gather(first, &mut writes);
            if !writes.is_empty() {
                self.write(writes);
            }
        }
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

    /// Takes what waits, up to the limit or a wish to close.
    fn gather(&self, first: Message, writes: &mut Vec<Request>) -> Option<Close> {
        let mut next = Ok(first);
        loop {
            match next {
                Ok(Message::Write(request)) => writes.push(request),
                Ok(Message::Close(close)) => return Some(close),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
            if writes.len() >= self.limit {
                return None;
            }
            next = self.queue.try_recv();
        }
    }
}
