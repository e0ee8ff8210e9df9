//! The threads that read. Each has a connection that cannot write. Those that
//! read for callers share one queue, so a long read holds up nobody while another
//! thread is free; what keeps the process itself true to the store has a thread of
//! its own, which no caller can keep busy.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    engine::{Begin, Engine},
    error::Error,
    options::Options,
    places,
    tx::ReadTx,
    writer::{request::panic_text, spawn},
};

/// What others hold of the threads.
pub(crate) struct Readers {
    callers: SyncSender<Message>,
    own: SyncSender<Message>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// For whom a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Someone who called.
    Caller,
    /// The process itself.
    Own,
}

type Read = Box<dyn FnOnce(&mut dyn Engine) + Send>;

enum Message {
    Read(Read),
    Close,
}

impl Readers {
    pub(crate) fn start(options: &Options) -> Result<Self, Error> {
        let mut threads = Vec::new();
        let callers = start(options, options.readers.max(1), &mut threads)?;
        let own = start(options, 1, &mut threads)?;
        Ok(Self { callers, own, threads: Mutex::new(threads) })
    }

    pub(crate) fn hand_in<T, E, F>(
        &self,
        whose: Whose,
        f: F,
        done: oneshot::Sender<Result<T, E>>,
    ) -> Result<(), Error>
    where
        F: FnOnce(&mut ReadTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let read = Box::new(move |engine: &mut dyn Engine| {
            if !done.is_closed() {
                let _ = done.send(read(engine, f));
            }
        });
        let queue = match whose {
            Whose::Caller => &self.callers,
            Whose::Own => &self.own,
        };
        queue.try_send(Message::Read(read)).map_err(|error| match error {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => Error::Closed,
        })
    }

    /// What was handed in before is still read. Answers the threads that end now.
    pub(crate) fn close(&self) -> Vec<JoinHandle<()>> {
        let threads = std::mem::take(&mut *self.threads.lock());
        if !threads.is_empty() {
            let _ = self.own.send(Message::Close);
        }
        for _ in threads.iter().skip(1) {
            let _ = self.callers.send(Message::Close);
        }
        threads
    }
}

/// Starts threads that share one queue.
fn start(
    options: &Options,
    count: usize,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<SyncSender<Message>, Error> {
    let (sender, queue) = sync_channel(options.queue.max(1));
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..count {
        let engine = places::reader(options)?;
        let queue = Arc::clone(&queue);
        threads.push(spawn("store-reader", options, move || run(engine, &queue))?);
    }
    Ok(sender)
}

fn run(mut engine: Box<dyn Engine>, queue: &Mutex<Receiver<Message>>) {
    loop {
        // The lock is held while waiting, and given up before the work.
        let next = queue.lock().recv();
        match next {
            Ok(Message::Read(read)) => read(&mut *engine),
            Ok(Message::Close) | Err(_) => return,
        }
    }
}

fn read<T, E: From<Error>>(
    engine: &mut dyn Engine,
    f: impl FnOnce(&mut ReadTx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    engine.begin(Begin::Read)?;
    let result = catch_unwind(AssertUnwindSafe(|| f(&mut ReadTx::new(engine))));
    // Nothing was written: this only lets go of the state that was read.
    engine.rollback()?;
    result.unwrap_or_else(|panic| Err(Error::Panicked(panic_text(&*panic)).into()))
}
