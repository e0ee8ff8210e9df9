//! One connection, from its handshake to its end.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use muster_common::{clock::Instant, drain::Drain};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::service::Routes;

use super::{
    DoorName, Gate,
    connections::Entry,
    layers::Guarded,
    limits::{HEADER_LIST, LOCAL_RESETS, Limits, PENDING_RESETS},
    peer, strangers,
};
use crate::api::peer::Peer;

/// What a connection needs of its door.
pub(super) struct Context {
    pub(super) name: DoorName,
    pub(super) gate: Gate,
    pub(super) limits: Limits,
    pub(super) routes: Routes,
    pub(super) drain: Drain,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    context: Arc<Context>,
    stream: TcpStream,
    remote: SocketAddr,
    config: Arc<rustls::ServerConfig>,
    handshake_permit: OwnedSemaphorePermit,
) {
    let door = context.name.as_str();
    let shake = TlsAcceptor::from(config).accept(stream);
    let stream = match timeout(context.limits.handshake_within, shake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return failed(&context, remote, "refused", &error.to_string()),
        Err(_) => return failed(&context, remote, "timeout", "it took too long"),
    };
    drop(handshake_permit);
    let peer = match peer::name(stream.get_ref().1, remote, &context.gate.trust_domain) {
        Ok(peer) => peer,
        Err(reason) => {
            failed(&context, remote, reason.as_str(), "its certificate is not one of ours");
            return strangers::serve(&context, stream, reason).await;
        }
    };
    let entry = match &peer.principal {
        None => None,
        Some(principal) => {
            match context.gate.connections.enter(principal, &peer.serial, context.limits.per_identity) {
                Some(entry) => Some(entry),
                None => return failed(&context, remote, "too-many", "its identity has too many connections"),
            }
        }
    };
    context.gate.metrics.connection(door, 1);
    let end = run(&context, stream, peer, entry).await;
    context.gate.metrics.connection(door, -1);
    tracing::debug!(door, %remote, end, "a connection on {door} from {remote} ended: {end}");
}

fn failed(context: &Context, remote: SocketAddr, reason: &'static str, why: &str) {
    let door = context.name.as_str();
    context.gate.metrics.handshake_failed(door, reason);
    tracing::debug!(door, %remote, reason, "a handshake on {door} from {remote} failed: {why}");
}

async fn run(
    context: &Context,
    stream: TlsStream<TcpStream>,
    peer: Peer,
    entry: Option<Entry>,
) -> &'static str {
    let limits = &context.limits;
    let expires_in = peer.not_after.since(context.gate.clock.now());
    let started = context.gate.clock.monotonic();
    let served = Guarded::new(context.routes.clone(), context.gate.clone(), context.name, peer);
    let (service, requested) = first_request(served);
    let connection =
        builder(limits).serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = pin!(connection);

    // One timer for all that time can end, set to whatever is next.
    let age = started + limits.age.mul_f64(0.8 + 0.4 * rand::random::<f64>());
    let expiry = started + expires_in.min(Duration::from_secs(10 * 365 * 24 * 3600));
    let mut timer = pin!(tokio::time::sleep_until(started + limits.first_request_within));
    let mut leaving: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = cut(entry.as_ref()) => return "cut",
            () = context.drain.deadline() => return "drained",
            () = context.drain.begun(), if leaving.is_none() => {
                connection.as_mut().graceful_shutdown();
                let until = context.gate.clock.monotonic() + limits.grace;
                leaving = Some(until);
                timer.as_mut().reset(until.min(expiry));
            }
            _ = connection.as_mut() => return "closed",
            () = timer.as_mut() => {
                let now = context.gate.clock.monotonic();
                if !requested.load(std::sync::atomic::Ordering::Relaxed) {
                    return "no first request";
                }
                if now >= expiry {
                    return "certificate expired";
                }
                match leaving {
                    Some(until) if now >= until => return "grace is over",
                    Some(until) => timer.as_mut().reset(until.min(expiry)),
                    None if now >= age => {
                        connection.as_mut().graceful_shutdown();
                        leaving = Some(now + limits.grace);
                        timer.as_mut().reset((now + limits.grace).min(expiry));
                    }
                    None => timer.as_mut().reset(age.min(expiry)),
                }
            }
        }
    }
}

async fn cut(entry: Option<&Entry>) {
    match entry {
        Some(entry) => entry.cut().await,
        None => std::future::pending().await,
    }
}

pub(super) fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_local_error_reset_streams(Some(LOCAL_RESETS))
        .max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_send_buf_size(limits.send_buffer)
        .max_header_list_size(HEADER_LIST)
        .adaptive_window(false)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

type Flag = Arc<std::sync::atomic::AtomicBool>;

/// Notes that a first request has come.
fn first_request(served: Guarded) -> (Noting, Flag) {
    let flag = Flag::default();
    (Noting { served, flag: Arc::clone(&flag) }, flag)
}

#[derive(Clone)]
struct Noting {
    served: Guarded,
    flag: Flag,
}

impl tower::Service<http::Request<hyper::body::Incoming>> for Noting {
    type Response = <Guarded as tower::Service<http::Request<hyper::body::Incoming>>>::Response;
    type Error = std::convert::Infallible;
    type Future = <Guarded as tower::Service<http::Request<hyper::body::Incoming>>>::Future;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.served.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<hyper::body::Incoming>) -> Self::Future {
        self.flag.store(true, std::sync::atomic::Ordering::Relaxed);
        self.served.call(request)
    }
}
