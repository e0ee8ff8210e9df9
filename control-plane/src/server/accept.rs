//! Accepting: as many as there are permits for, and no more.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use muster_common::{
    drain::Drain,
    tasks::{Kind, Tasks},
};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{
    Door, DoorName, Gate,
    connection::{self, Context},
};

const BACKLOG: i32 = 4096;
/// Before the kernel gives up on bytes that nobody acknowledges.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// When there are no file descriptors or no memory left.
const EXHAUSTED: Duration = Duration::from_millis(50);

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
}

impl Sockets {
    /// Opens all three, or none.
    ///
    /// # Errors
    /// If one of the addresses cannot be had.
    pub fn open(agents: &SocketAddr, enrollment: &SocketAddr, operators: &SocketAddr) -> Result<Self, Error> {
        let open = |address: &SocketAddr, door: DoorName| {
            listen(*address).map_err(|source| Error { address: *address, door: door.as_str(), source })
        };
        Ok(Self {
            agents: open(agents, DoorName::Agents)?,
            enrollment: open(enrollment, DoorName::Enrollment)?,
            operators: open(operators, DoorName::Operators)?,
        })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves a port until drained.
pub async fn serve(listener: TcpListener, door: Door, gate: Gate, drain: Drain, tasks: Tasks) {
    let everyone = Arc::new(Semaphore::new(door.limits.connections));
    let handshakes = Arc::new(Semaphore::new(door.limits.handshakes));
    let addresses = Addresses::default();
    let mut tls = door.tls;
    let context = Arc::new(Context {
        name: door.name,
        gate,
        limits: door.limits,
        routes: door.routes,
        drain: drain.clone(),
    });
    loop {
        let permits = async { (owned(&everyone).await, owned(&handshakes).await) };
        let (permit, handshake) = tokio::select! {
            biased;
            () = drain.begun() => return,
            permits = permits => permits,
        };
        let (stream, remote) = tokio::select! {
            biased;
            () = drain.begun() => return,
            accepted = accept(&listener) => accepted,
        };
        let Some(place) = addresses.enter(remote.ip(), context.limits.per_address) else {
            context.gate.metrics.handshake_failed(context.name.as_str(), "address");
            continue;
        };
        let config = Arc::clone(&tls.borrow_and_update());
        let context = Arc::clone(&context);
        tasks.spawn("connection", Kind::BestEffort, async move {
            let (_permit, _place) = (permit, place);
            connection::serve(context, stream, remote, config, handshake).await;
        });
    }
}

async fn owned(permits: &Arc<Semaphore>) -> tokio::sync::OwnedSemaphorePermit {
    match Arc::clone(permits).acquire_owned().await {
        Ok(permit) => permit,
        Err(_) => std::future::pending().await, // never closed
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                prepare(&stream);
                return (stream, remote);
            }
            // A peer that went away while it waited is nobody's trouble.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Trying again at once would spin a core until a descriptor is free.
                tracing::warn!(%error, "a connection could not be accepted: {error}");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    // None of these can fail on a socket that was just accepted, short of it being gone already.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; given back when dropped.
struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    fn enter(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut all = self.0.lock();
        let count = all.entry(address).or_default();
        (*count < most).then(|| {
            *count += 1;
            Place { addresses: self.clone(), address }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.addresses.0.lock();
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}
