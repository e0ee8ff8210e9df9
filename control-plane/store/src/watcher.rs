//! Notices what other processes commit, such as the command line beside a
//! running server. A hint is all it gives: the new revision.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{engine::Engine as _, error::Error, options::Options, sqlite::Sqlite, writer::spawn};

/// What others hold of the thread; it ends when this is dropped.
pub(crate) struct Watcher {
    stop: SyncSender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    pub(crate) fn start(options: &Options, committed: watch::Sender<u64>) -> Result<Self, Error> {
        let (stop, stopped) = sync_channel(1);
        let engine = Sqlite::reader(&options.path, options.busy_timeout)?;
        let interval = options.watch_interval;
        let thread = spawn("store-watcher", options, move || run(engine, interval, &stopped, &committed))?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Answers the thread that ends now.
    pub(crate) fn close(&self) -> Option<JoinHandle<()>> {
        // Full: it was told already.
        let _ = self.stop.try_send(());
        self.thread.lock().take()
    }
}

fn run(mut engine: Sqlite, interval: Duration, stopped: &Receiver<()>, committed: &watch::Sender<u64>) {
    let mut seen = None;
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        match look(&mut engine, &mut seen) {
            Ok(Some(revision)) => {
                committed.send_if_modified(|known| {
                    let newer = revision > *known;
                    *known = revision.max(*known);
                    newer
                });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot see whether other processes wrote to the database; trying on");
            }
        }
    }
}

/// The newest revision if anyone has committed since the last look.
fn look(engine: &mut Sqlite, seen: &mut Option<i64>) -> Result<Option<u64>, Error> {
    let version = engine.data_version()?;
    if *seen == Some(version) {
        return Ok(None);
    }
    let mut revision = None;
    engine.query("SELECT revision FROM feed", &[], &mut |mut row| {
        revision = Some(row.u64("revision")?);
        Ok(())
    })?;
    *seen = Some(version); // after the read: a failed one is tried again
    Ok(revision)
}
