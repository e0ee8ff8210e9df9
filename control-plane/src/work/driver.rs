//! Runs one worker: after a hint or in time, never twice at once, with a pause
//! after a failure.

use std::{future::Future, time::Duration};

use muster_common::{
    backoff::Backoff,
    drain::Drain,
    error_chain::Chain,
    tasks::{Kind, Tasks},
};

use crate::app::{App, Error};

/// Background work of one kind.
pub trait Worker: Send + 'static {
    /// For logs.
    const NAME: &'static str;
    /// Whether one replica does it for all: it is safe to do twice, and no use.
    const IS_FOR_ALL: bool = false;
    /// Longest pause after failures.
    const PAUSE_AT_MOST: Duration = Duration::from_secs(10);
    /// Waits for a hint that there is something to do.
    fn hint(&mut self, app: &App) -> impl Future<Output = ()> + Send;
    /// How long without a hint.
    fn every(&self, app: &App) -> Duration;
    /// Another replica does it for all now: what this one knew of it will be old.
    fn let_go(&mut self) {}
    /// Does what is to be done.
    fn work(&mut self, app: &App) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Starts a worker.
pub fn drive<W: Worker>(app: &App, tasks: &Tasks, drain: &Drain, mut worker: W) {
    let (app, drain) = (app.clone(), drain.clone());
    app.metrics.worker_begins(W::NAME);
    tasks.spawn(W::NAME, Kind::Fatal, async move {
        let mut backoff = Backoff::new(Duration::from_millis(100), W::PAUSE_AT_MOST);
        loop {
            let begun = app.clock.monotonic();
            let done = if !W::IS_FOR_ALL || app.leads() {
                worker.work(&app).await
            } else {
                worker.let_go();
                Ok(())
            };
            app.metrics.worked(W::NAME, app.clock.monotonic() - begun);
            let pause = match done {
                Ok(()) => {
                    backoff.reset();
                    None
                }
                Err(error) => {
                    let wait = backoff.next_wait();
                    app.metrics.worker_failed(W::NAME);
                    tracing::warn!(worker = W::NAME, error = %Chain(&error), "worker {} failed", W::NAME);
                    Some(wait)
                }
            };
            tokio::select! {
                biased;
                () = drain.deadline() => return,
                () = rest(&mut worker, &app, pause) => {}
            }
        }
    });
}

async fn rest<W: Worker>(worker: &mut W, app: &App, pause: Option<Duration>) {
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
        return;
    }
    let every = worker.every(app);
    tokio::select! {
        () = worker.hint(app) => {}
        () = tokio::time::sleep(every) => {}
    }
}
