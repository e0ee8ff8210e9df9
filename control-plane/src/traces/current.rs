//! The call that a task is busy with, for what is deep below and is to be a part of it.

use std::future::Future;

use muster_common::trace::Context;

tokio::task_local! {
    static CURRENT: Context;
}

/// Does something as a part of a trace.
pub async fn within<F: Future>(context: Context, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

/// Where this task is in a trace that somebody collects. `None`: nobody does.
#[must_use]
pub fn now() -> Option<Context> {
    CURRENT.try_with(|context| *context).ok()
}
