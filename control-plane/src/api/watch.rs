//! Response streams of watches: a task that writes into a small channel, and
//! ends with the caller.

use std::{future::Future, pin::Pin};

use futures_util::Stream;
use muster_common::tasks::{Kind, Tasks};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Messages that wait for a slow reader; then its watch waits, too.
const ROOM: usize = 16;

/// What a watch answers.
pub(super) type Watch<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where a watch writes.
pub(super) struct Out<T>(mpsc::Sender<Result<T, Status>>);

/// The reader is gone.
pub(super) struct Gone;

impl<T> Out<T> {
    /// Sends one message, as soon as there is room.
    pub(super) async fn send(&self, message: T) -> Result<(), Gone> {
        self.0.send(Ok(message)).await.map_err(|_| Gone)
    }

    /// Ends the stream with a status.
    pub(super) async fn fail(&self, status: Status) -> Gone {
        let _ = self.0.send(Err(status)).await;
        Gone
    }

    /// Waits until the reader is gone.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Starts a watch.
pub(super) fn start<T, F, W>(tasks: &Tasks, watch: W) -> Watch<T>
where
    T: Send + 'static,
    W: FnOnce(Out<T>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(ROOM);
    tasks.spawn("watch", Kind::BestEffort, watch(Out(sender)));
    Box::pin(ReceiverStream::new(receiver))
}

/// Waits for a revision beyond this one. `false`: there will be none.
pub(super) async fn beyond(applied: &mut tokio::sync::watch::Receiver<u64>, revision: u64) -> bool {
    applied.wait_for(|applied| *applied > revision).await.is_ok()
}

/// Waits for the next commit. A closed store wakes nobody: the next look says so.
pub(super) async fn changed(committed: &mut tokio::sync::watch::Receiver<u64>) {
    if committed.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
