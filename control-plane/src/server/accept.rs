//! Accepting: as many as there are permits for, and no more.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use muster_common::{
    clock::Instant,
    drain::Drain,
    tasks::{Kind, Tasks},
};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{
    Door, DoorName, Gate,
    addresses::Addresses,
    connection::{self, Context},
    turns::{self, Turns, owned},
    unknown,
    waiters::{Most, Waiters},
};

use crate::config::Listen;

/// When there are no file descriptors or no memory left.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// One line about that in so long: a port in trouble must not fill the disk, too.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {door}")]
pub struct Error {
    address: SocketAddr,
    door: &'static str,
    #[source]
    source: io::Error,
}

/// The open ports; nobody is served yet.
pub struct Sockets {
    /// For nodes.
    pub agents: TcpListener,
    /// For hosts without an identity.
    pub enrollment: TcpListener,
    /// For operators.
    pub operators: TcpListener,
    /// For browsers. `None`: there is no fleet console.
    pub fleet_console: Option<TcpListener>,
}

impl Sockets {
    /// Opens all of them, or none.
    ///
    /// # Errors
    /// If one of the addresses cannot be had.
    pub fn open(listen: &Listen, fleet_console: Option<SocketAddr>, backlog: u32) -> Result<Self, Error> {
        let open = |address: SocketAddr, door: DoorName| {
            socket(address, backlog).map_err(|source| Error { address, door: door.as_str(), source })
        };
        Ok(Self {
            agents: open(listen.agents, DoorName::Agents)?,
            enrollment: open(listen.enrollment, DoorName::Enrollment)?,
            operators: open(listen.operators, DoorName::Operators)?,
            fleet_console: fleet_console.map(|it| open(it, DoorName::FleetConsole)).transpose()?,
        })
    }
}

fn socket(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Serves a port until drained.
pub async fn serve(listener: TcpListener, door: Door, gate: Gate, drain: Drain, tasks: Tasks) {
    let everyone = Arc::new(Semaphore::new(door.limits.connections));
    let turns = Turns::new(turns::Most::of(&door.limits), gate.clock.clone());
    let context = Arc::new(Context {
        name: door.name,
        gate,
        addresses: Addresses::default(),
        silent: Waiters::new(Most {
            all: door.limits.silent,
            per_address: door.limits.silent_per_address,
            names: ("silent", "silent-per-address"),
        }),
        half_open: Waiters::new(Most {
            all: door.limits.half_open,
            per_address: door.limits.half_open_per_address,
            names: ("half-open", "half-open-per-address"),
        }),
        unknown: unknown::all(&door.limits),
        turns,
        limits: door.limits,
        tls: door.tls,
        routes: door.routes,
        drain: drain.clone(),
    });
    let mut trouble = Trouble::default();
    loop {
        if everyone.available_permits() == 0 {
            context.met("connections");
        }
        let permit = tokio::select! {
            biased;
            () = drain.begun() => return,
            permit = owned(Arc::clone(&everyone)) => permit,
        };
        let (stream, remote) = tokio::select! {
            biased;
            () = drain.begun() => return,
            accepted = accept(&listener, &context, &mut trouble) => accepted,
        };
        // Here and not in its task, where a newer one could come before it.
        let waiting = context.wait_in(&context.silent, remote);
        let context = Arc::clone(&context);
        tasks.spawn("connection", Kind::BestEffort, async move {
            let _permit = permit;
            connection::serve(context, stream, remote, waiting).await;
        });
    }
}

async fn accept(listener: &TcpListener, context: &Context, trouble: &mut Trouble) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                prepare(&stream, context.limits.unacknowledged_within);
                return (stream, remote);
            }
            // A peer that went away while it waited is nobody's trouble.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                context.met("descriptors");
                trouble.tell(context, &error);
                // Trying again at once would spin a core until a descriptor is free.
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Accepting that failed, told once in a while.
#[derive(Debug, Default)]
struct Trouble {
    times: u64,
    told: Option<Instant>,
}

impl Trouble {
    fn tell(&mut self, context: &Context, error: &io::Error) {
        let (door, now) = (context.name.as_str(), context.gate.clock.monotonic());
        self.times += 1;
        if self.told.is_some_and(|told| now - told < TOLD_EVERY) {
            return;
        }
        self.told = Some(now);
        let times = std::mem::take(&mut self.times);
        tracing::warn!(door, times, %error, "connections on {door} could not be accepted, {times} times: {error}");
    }
}

fn prepare(stream: &TcpStream, unacknowledged_within: Duration) {
    let socket = socket2::SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    // None of these can fail on a socket that was just accepted, short of it being gone already.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(unacknowledged_within));
}
