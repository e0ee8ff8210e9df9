//! One connection, from its first byte to its end.

use std::{pin::pin, time::Duration};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use muster_common::drain::Drain;
use tokio::net::UnixStream;

use super::{
    guard::{Guarded, Traffic},
    limits::{Connection, Limits},
};

/// How a peer that no longer reads is found.
const PING: Duration = Duration::from_secs(60);
const PING_WITHIN: Duration = Duration::from_secs(20);
/// For calls that are under way when the connection is to end.
const GRACE: Duration = Duration::from_secs(1);

/// Serves a connection to its end; `_place` counts it as long as it lives.
pub(super) async fn serve(stream: UnixStream, service: Guarded, _place: Connection, drain: Drain) {
    let (limits, traffic, caller) = (service.limits, service.traffic.clone(), service.caller);
    let io = TokioIo::new(stream);
    let mut connection = pin!(builder(&limits).serve_connection(io, TowerToHyperService::new(service)));
    let end = tokio::select! {
        biased;
        // Malformed frames and peers that are gone: of no interest to anybody.
        _ = connection.as_mut() => "closed",
        () = idle(&traffic, &limits) => "idle",
        () = drain.begun() => "drained",
    };
    if end != "closed" {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(GRACE, connection).await;
    }
    tracing::debug!(
        uid = caller.uid,
        end,
        "a connection of uid {} on the local socket ended: {end}",
        caller.uid
    );
}

/// Waits until a connection has had no call for as long as is allowed, and at most twice that.
async fn idle(traffic: &Traffic, limits: &Limits) {
    tokio::time::sleep(limits.first_call_within).await;
    let (mut seen, mut is_open) = traffic.now();
    while seen > 0 {
        tokio::time::sleep(limits.idle).await;
        let before = (seen, is_open);
        (seen, is_open) = traffic.now();
        if before == (seen, false) {
            return;
        }
    }
}

fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_local_error_reset_streams(Some(64))
        .max_pending_accept_reset_streams(Some(16))
        .initial_stream_window_size(limits.window)
        .initial_connection_window_size(limits.window)
        .max_send_buf_size(limits.window as usize)
        .max_header_list_size(limits.headers)
        .adaptive_window(false)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_WITHIN);
    builder
}
