//! The end of the process: who asks for it, and what is finished before it.

use std::time::Duration;

use muster_common::{drain::Drain, error_chain::Chain, tasks::Tasks};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{app::App, server::connections::Registry};

/// How long it may take until one more node has heard the last word of its session.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Whether somebody asked the process to end.
pub(super) struct Asked {
    terminate: Signal,
    interrupt: Signal,
}

impl Asked {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

pub(super) async fn wait_for_the_end(mut asked: Asked, app: &App, tasks: &Tasks) -> anyhow::Result<()> {
    tokio::select! {
        _ = asked.terminate.recv() => {}
        _ = asked.interrupt.recv() => {}
        why = app.replicas.over() => anyhow::bail!("the control plane cannot go on: {why}"),
        fatal = tasks.failed() => {
            tracing::error!(%fatal, "{fatal}: the control plane cannot go on");
            return Err(fatal.into());
        }
    }
    tracing::info!("the control plane finishes its work");
    Ok(())
}

/// First the nodes are told to come back, over as long a time as it takes to let them in
/// again; then everyone has time to finish.
pub(super) async fn finish(
    app: &App,
    tasks: &Tasks,
    drain: &Drain,
    connections: &Registry,
    within: Duration,
) {
    tasks.close();
    let begun = app.clock.monotonic();
    // What comes later has a moment all the same.
    let left = || within.saturating_sub(app.clock.monotonic() - begun).max(LAST_WORDS);
    let (sessions, spread) = (app.hub.len(), app.come_back_within());
    tracing::info!(sessions, ?spread, "{sessions} nodes are told to come back within {spread:?}");
    let word = app.last_word();
    let tell = || app.hub.for_each(|session| session.end(word.clone()));
    tell();
    drain.begin();
    tell(); // also those that were just beginning; who begins now finds out by itself
    let gone = async {
        while !app.hub.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(within, gone).await;
    if let Err(error) = app.record().await {
        tracing::warn!(error = %Chain(&error), "the last reports were not stored");
    }
    if let Err(error) = app.leave_replicas().await {
        tracing::warn!(error = %Chain(&error), "the other replicas were not told of the end");
    }
    // A session that has ended is not yet heard of by its node: its last word goes out with the
    // connection.
    let _ = tokio::time::timeout(left(), all_have_heard(connections)).await;
    drain.cut();
    if tokio::time::timeout(left(), tasks.ended()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
        tasks.abort_all();
    }
    if let Err(error) = app.sign_audit(true).await {
        tracing::warn!(error = %Chain(&error), "the end of the audit was not signed");
    }
}

/// Ends when no node is connected any more, or none has gone for a while.
async fn all_have_heard(connections: &Registry) {
    let mut left = connections.nodes();
    while left > 0 {
        let fewer = async {
            while connections.nodes() >= left {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, fewer).await.is_err() {
            return;
        }
        left = connections.nodes();
    }
}
