//! One connection, from its handshake to its end.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use muster_common::{clock::Instant, drain::Drain, error_chain::Chain};
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::service::Routes;

use super::{
    DoorName, Gate,
    addresses::{Addresses, Place},
    frames::{Bounds, Excess, Metered},
    layers::Guarded,
    limits::Limits,
    peer,
    source::source,
    strangers,
    turns::{Turn, Turns},
    unknown,
    waiters::{Waiters, Waiting},
};
use crate::api::peer::Peer;

/// What a connection needs of its door.
pub(super) struct Context {
    pub(super) name: DoorName,
    pub(super) gate: Gate,
    pub(super) limits: Limits,
    pub(super) addresses: Addresses,
    pub(super) silent: Waiters,
    pub(super) half_open: Waiters,
    pub(super) unknown: Waiters,
    pub(super) turns: Turns,
    pub(super) tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    pub(super) routes: Routes,
    pub(super) drain: Drain,
}

/// A connection that was not served.
enum Failed {
    /// A limit was met: its name.
    Limit(&'static str),
    /// The handshake: a word for metrics, and why.
    Handshake(&'static str, String),
}

impl Context {
    /// Someone met a limit, by the name that it has in the configuration.
    pub(super) fn met(&self, limit: &'static str) {
        self.gate.metrics.limit_met(self.name.as_str(), limit);
    }

    /// Someone is waited for; an older one may have to go for it.
    pub(super) fn wait_in(&self, waiters: &Waiters, remote: SocketAddr) -> Waiting {
        let (waiting, made_room) = waiters.enter(source(remote));
        if let Some(limit) = made_room {
            self.met(limit);
        }
        waiting
    }

    /// A connection was not served.
    fn failed(&self, remote: SocketAddr, failed: Failed) {
        let door = self.name.as_str();
        match failed {
            Failed::Limit(limit) => {
                self.met(limit);
                tracing::debug!(door, %remote, limit, "a connection on {door} from {remote} met the limit {limit}");
            }
            Failed::Handshake(reason, why) => self.refused(remote, reason, &why),
        }
    }

    /// A handshake failed, or named nobody.
    fn refused(&self, remote: SocketAddr, reason: &'static str, why: &str) {
        let door = self.name.as_str();
        self.gate.metrics.handshake_failed(door, reason);
        tracing::debug!(door, %remote, reason, "a handshake on {door} from {remote} failed: {why}");
    }
}

/// A connection that has shaken hands, ready to be served.
struct Opened {
    peer: Peer,
    connection: Pin<Box<Connection>>,
    requested: Flag,
    excess: Excess,
    _place: Place,
}

type Connection = http2::Connection<Counted, TowerToHyperService<Noting>, TokioExecutor>;

/// As hyper sees it, with its frames counted.
pub(super) type Counted = TokioIo<Metered<TlsStream<TcpStream>>>;

/// Serves one connection to its end.
///
/// Ten thousand of these wait at a time, and a future is as big as the biggest
/// of its steps. So what is needed only from its turn until the connection is
/// open has a box of its own, freed by then.
pub(super) async fn serve(context: Arc<Context>, stream: TcpStream, remote: SocketAddr, waiting: Waiting) {
    let opened = match turn(&context, &stream, remote, waiting).await {
        Ok(turn) => Box::pin(open(&context, stream, remote, turn)).await,
        Err(failed) => Err(failed),
    };
    let opened = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        Err(failed) => return context.failed(remote, failed),
    };
    let door = context.name.as_str();
    let _entry = opened.peer.principal.as_ref().map(|principal| {
        let (connections, most) = (&context.gate.connections, context.limits.per_identity);
        let (entry, cut) = connections.enter(principal, &opened.peer.serial, &opened.peer.line, most);
        if cut {
            context.met("per-identity");
        }
        entry
    });
    context.gate.metrics.handshake(door, opened.peer.key_exchange);
    context.gate.metrics.connection(door, 1);
    let end = run(&context, opened).await;
    context.gate.metrics.connection(door, -1);
    tracing::debug!(door, %remote, end, "a connection on {door} from {remote} ended: {end}");
}

/// Waits for the first words, then for a turn. Until then a connection is a
/// socket and no more: what it said is with the kernel.
async fn turn(
    context: &Context,
    stream: &TcpStream,
    remote: SocketAddr,
    waiting: Waiting,
) -> Result<(Place, Turn), Failed> {
    let (limits, mut first) = (&context.limits, [0]);
    tokio::select! {
        biased;
        // Looked at, not only waited for: a socket may be told as readable and have nothing.
        spoken = timeout(limits.hello_within, stream.peek(&mut first)) => {
            spoken.map_err(|_| Failed::Limit("hello-within"))?.map_err(|error| refused(&error))?;
        }
        () = waiting.cut() => return Err(Failed::Handshake("silent", "it said nothing, and others came".to_owned())),
    }
    drop(waiting);
    // Only now does it count for its address: those that were silent took no place from it.
    let source = source(remote);
    let place = context.addresses.enter(source, limits.per_address);
    let place = place.ok_or(Failed::Limit("per-address"))?;
    let turn = context.turns.take(source, limits.turn_within).await;
    Ok((place, turn.map_err(Failed::Limit)?))
}

/// Shakes hands and learns who it is; who may not be served has been told so.
async fn open(
    context: &Arc<Context>,
    stream: TcpStream,
    remote: SocketAddr,
    (place, turn): (Place, Turn),
) -> Result<Option<Opened>, Failed> {
    let stream = timed(context, shake_hands(context, stream, remote, turn)).await?;
    let peer = match peer::name(stream.get_ref().1, remote, &context.gate.trust_domain) {
        Ok(peer) => peer,
        Err(reason) => {
            context.refused(remote, reason.as_str(), "its certificate names nobody of ours");
            strangers::serve(context, stream, reason).await;
            return Ok(None);
        }
    };
    if let Some(leaf) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        context.gate.callers.shown(&peer, leaf);
    }
    let served = Guarded::new(context.routes.clone(), context.gate.clone(), context.name, peer.clone());
    let (service, requested) = first_request(served);
    let (stream, excess) = metered(context, stream);
    let connection = builder(&context.limits).serve_connection(stream, TowerToHyperService::new(service));
    Ok(Some(Opened { peer, connection: Box::pin(connection), requested, excess, _place: place }))
}

/// Takes how long a handshake lasts, whatever comes of it.
async fn timed<T>(context: &Context, shake: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let (gate, begun) = (&context.gate, context.gate.clock.monotonic());
    let shaken = shake.await;
    let outcome = match &shaken {
        Ok(_) => "done",
        Err(Failed::Limit(word) | Failed::Handshake(word, _)) => word,
    };
    gate.metrics.handshake_took(context.name.as_str(), outcome, gate.clock.monotonic() - begun);
    shaken
}

/// Nobody keeps a turn while its peer is silent, and so many go on without.
async fn shake_hands(
    context: &Context,
    stream: TcpStream,
    remote: SocketAddr,
    turn: Turn,
) -> Result<TlsStream<TcpStream>, Failed> {
    let limits = &context.limits;
    let acceptor = TlsAcceptor::from(Arc::clone(&context.tls.borrow()));
    let mut shake = pin!(timeout(limits.handshake_within, acceptor.accept(stream)));
    let shaken = tokio::select! {
        biased;
        shaken = &mut shake => shaken,
        () = tokio::time::sleep(limits.turn) => {
            let waiting = context.wait_in(&context.half_open, remote);
            drop(turn);
            tokio::select! {
                biased;
                shaken = shake => shaken,
                () = waiting.cut() => return Err(Failed::Handshake("half-open", "it stopped half way, and others came".to_owned())),
            }
        }
    };
    shaken.map_err(|_| Failed::Limit("handshake-within"))?.map_err(|error| refused(&error))
}

fn refused(error: &std::io::Error) -> Failed {
    Failed::Handshake("refused", error.to_string())
}

/// When a connection has to end.
struct Ends {
    age: Instant,
    expiry: Instant,
    leaving: Option<Instant>,
}

impl Ends {
    /// From now on it is asked to end, and is cut after `within`.
    fn leave(&mut self, now: Instant, within: Duration) {
        let until = now + within;
        self.leaving = Some(self.leaving.map_or(until, |before| before.min(until)));
    }

    /// What is next.
    fn next(&self) -> Instant {
        self.leaving.unwrap_or(self.age).min(self.expiry)
    }
}

async fn run(context: &Context, opened: Opened) -> &'static str {
    let Opened { peer, mut connection, requested, excess, _place } = opened;
    let (limits, clock) = (&context.limits, &context.gate.clock);
    let expires_in = peer.not_after.since(clock.now());
    let started = clock.monotonic();

    // One timer for all that time can end, set to whatever is next.
    let mut ends = Ends {
        age: started + limits.age.mul_f64(0.8 + 0.4 * rand::random::<f64>()),
        expiry: started + expires_in.min(Duration::from_secs(10 * 365 * 24 * 3600)),
        leaving: None,
    };
    let mut unknown = unknown::enter(context, &peer, started);
    let mut timer = pin!(tokio::time::sleep_until(started + limits.first_request_within));
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            () = peer.line.is_to_be_cut() => return "cut",
            () = context.drain.deadline() => return "drained",
            () = unknown::over(&mut unknown) => return "it did not say who it is",
            () = context.drain.begun(), if ends.leaving.is_none() => {
                connection.as_mut().graceful_shutdown();
                ends.leave(clock.monotonic(), limits.grace);
            }
            () = peer.line.leaving(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
                ends.leave(clock.monotonic(), limits.leave_within);
            }
            end = connection.as_mut() => return closed(context, &excess, end.err()),
            () = timer.as_mut() => {
                let now = clock.monotonic();
                if !requested.load(std::sync::atomic::Ordering::Relaxed) {
                    context.met("first-request-within");
                    return "no first request";
                }
                if now >= ends.expiry {
                    return "certificate expired";
                }
                match ends.leaving {
                    Some(until) if now >= until => return "grace is over",
                    None if now >= ends.age => {
                        // A session is moved before its connection ends: its node is not late for it.
                        context.gate.callers.move_on(&peer);
                        connection.as_mut().graceful_shutdown();
                        ends.leave(now, limits.grace);
                    }
                    _ => {}
                }
            }
        }
        timer.as_mut().reset(ends.next());
    }
}

/// The connection as hyper sees it.
pub(super) fn metered(context: &Arc<Context>, stream: TlsStream<TcpStream>) -> (Counted, Excess) {
    let limits = &context.limits;
    let bounds = Bounds {
        burst: limits.frames,
        per_second: limits.frames_per_second,
        header_list: limits.header_list,
    };
    let door = Arc::clone(context);
    let met = Arc::new(move |limit: &'static str| door.met(limit));
    let stream = Metered::new(stream, bounds, context.gate.clock.clone(), met);
    let excess = stream.excess();
    (TokioIo::new(stream), excess)
}

/// Words of hyper, h2 and the system, which have no types for this.
const SAID: [(&str, &str); 2] = [("keep-alive timed out", "ping"), ("os error 110", "unacknowledged-within")];
/// h2 sends its peer away; a peer's own last words are "received".
const EXCESS: &str = "error detected: detected excessive load";

/// A connection ended by itself: counts the limit that it met, if it did.
pub(super) fn closed(context: &Context, excess: &Excess, error: Option<hyper::Error>) -> &'static str {
    let said = error.map(|error| Chain(&error).to_string()).unwrap_or_default();
    let limit = match SAID.iter().find(|(words, _)| said.contains(words)) {
        Some((_, limit)) => *limit,
        None if said.contains(EXCESS) => excess.limit(),
        None => return "closed",
    };
    context.met(limit);
    limit
}

pub(super) fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_local_error_reset_streams(Some(limits.local_resets))
        .max_pending_accept_reset_streams(Some(limits.pending_resets))
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_send_buf_size(limits.send_buffer)
        .max_header_list_size(limits.header_list)
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
