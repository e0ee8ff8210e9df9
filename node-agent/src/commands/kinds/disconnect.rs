//! Takes the host out of its fleet. The control plane ends this order itself, as
//! succeeded, in the write that removes the node: so nobody is told of a host that left
//! and is still there, or the other way round. Here it ends only if that does not come.

use std::time::Duration;

use muster_common::backoff::Backoff;

use super::{Options, Stop, Voice};
use crate::state::Report;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

pub(super) async fn run(options: &Options, voice: &Voice, stop: impl Future<Output = Stop>) -> Report {
    tokio::select! {
        biased;
        why = stop => why.report(voice),
        never = leave(options) => match never {},
    }
}

/// Never ends: once this host has left, its session and all of this end from outside.
async fn leave(options: &Options) -> std::convert::Infallible {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    while let Err(error) = options.errands.leave().await {
        tracing::warn!(error, "this host could not leave its fleet; trying again");
        tokio::time::sleep(backoff.next_wait()).await;
    }
    std::future::pending().await
}
