//! Notices what other processes commit, such as the command line beside a
//! running server. A hint is all it gives: the new revision.

use std::{thread::JoinHandle, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{oneshot, oneshot::error::TryRecvError, watch};

use crate::{error::Error, options::Options, places, writer::spawn};

/// How an engine learns of commits.
pub(crate) trait Watch: Send {
    /// Waits `limit`, or less if there may be something to see. Ends at once when stopped.
    fn wait(&mut self, limit: Duration, stopped: &mut oneshot::Receiver<()>);

    /// The newest revision if anyone has committed since the last look.
    fn look(&mut self) -> Result<Option<u64>, Error>;
}

/// What others hold of the thread; it ends when this is dropped.
pub(crate) struct Watcher {
    parts: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Watcher {
    pub(crate) fn start(options: &Options, committed: watch::Sender<u64>) -> Result<Self, Error> {
        let (stop, stopped) = oneshot::channel();
        let watch = places::watch(options)?;
        let interval = options.watch_interval;
        let thread = spawn("store-watcher", options, move || run(watch, interval, stopped, &committed))?;
        Ok(Self { parts: Mutex::new(Some((stop, thread))) })
    }

    /// Answers the thread that ends now.
    pub(crate) fn close(&self) -> Option<JoinHandle<()>> {
        let (stop, thread) = self.parts.lock().take()?;
        drop(stop);
        Some(thread)
    }
}

fn run(
    mut watch: Box<dyn Watch>,
    interval: Duration,
    mut stopped: oneshot::Receiver<()>,
    committed: &watch::Sender<u64>,
) {
    let mut is_blind = false;
    loop {
        let looked = watch.look();
        if looked.is_err() != is_blind {
            is_blind = looked.is_err();
            match &looked {
                Ok(_) => tracing::info!("what other processes write to the database can be seen again"),
                Err(error) => {
                    tracing::warn!(%error, "cannot see whether other processes wrote to the database; trying on");
                }
            }
        }
        if let Ok(Some(revision)) = looked {
            committed.send_if_modified(|known| {
                let newer = revision > *known;
                *known = revision.max(*known);
                newer
            });
        }
        watch.wait(interval, &mut stopped);
        if !matches!(stopped.try_recv(), Err(TryRecvError::Empty)) {
            return;
        }
    }
}
