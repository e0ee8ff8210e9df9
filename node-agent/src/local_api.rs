//! What the agent tells and does for its own host: gRPC over a Unix socket.
//!
//! The kernel says who calls; [`policy`] is the one place that says what they may. Every
//! user has bounds of its own, and root's share is kept. It is served whether the host is
//! in a fleet or not, and nothing of it ever reaches a network. It changes nothing by
//! itself: what it is asked it hands to a [`Host`].

mod caller;
pub mod client;
mod connection;
mod guard;
mod limits;
mod policy;
mod ports;
mod reflection;
mod refusal;
mod service;
mod socket;
pub mod status;
mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use muster_common::{
    clock::Clock,
    drain::Drain,
    error_chain::Chain,
    tasks::{Kind, Tasks},
};
use tokio::{net::UnixStream, sync::watch};
use tonic::service::{Routes, RoutesBuilder};

pub use caller::{Caller, Unit};
pub use limits::Limits;
pub use ports::{Host, Refused};

use guard::{Guarded, Traffic};
use limits::Users;
use socket::Socket;

/// Between tries for a socket that cannot be had.
const AGAIN: Duration = Duration::from_secs(10);
/// After an accept that failed: for want of descriptors it would fail again at once.
const BREATH: Duration = Duration::from_millis(100);

/// The door of the host.
pub struct Door {
    /// Where to listen; the first of these that can be had.
    pub sockets: Vec<PathBuf>,
    /// What is served.
    pub routes: Routes,
    /// What each user may take.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// Where connections live.
    pub tasks: Tasks,
    /// To be told: where it listens.
    pub opened: watch::Sender<Option<PathBuf>>,
}

/// All services of the socket.
#[must_use]
pub fn routes(host: Arc<dyn Host>, limits: &Limits) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes.add_service(service::server(host, limits.message));
    reflection::add(&mut routes);
    routes.routes()
}

impl Door {
    /// Serves until the process ends.
    pub async fn serve(self, drain: Drain) {
        let socket = tokio::select! {
            biased;
            () = drain.begun() => return,
            socket = self.bind() => socket,
        };
        self.opened.send_replace(Some(socket.path().to_owned()));
        let users = Users::new(self.limits);
        loop {
            tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = socket.listener.accept() => match accepted {
                    Ok((stream, _)) => self.take(stream, &users, &drain),
                    Err(error) => {
                        tracing::warn!(%error, "a connection on the local socket could not be taken");
                        tokio::time::sleep(BREATH).await;
                    }
                }
            }
        }
    }

    /// The host is looked after also while there is no socket.
    async fn bind(&self) -> Socket {
        let mut told = false;
        loop {
            for path in &self.sockets {
                match Socket::bind(path) {
                    Ok(socket) => {
                        tracing::info!("the local socket is {}", path.display());
                        return socket;
                    }
                    Err(error) if !told => {
                        tracing::warn!("no local socket at {}: {}", path.display(), Chain(&error));
                    }
                    Err(_) => {}
                }
            }
            told = true;
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn take(&self, stream: UnixStream, users: &Users, drain: &Drain) {
        let Ok(caller) = Caller::of(&stream) else { return }; // it is gone already
        match users.connect(&caller, self.clock.monotonic()) {
            Ok(place) => {
                let service = Guarded {
                    routes: self.routes.clone(),
                    users: users.clone(),
                    limits: self.limits,
                    clock: self.clock.clone(),
                    caller,
                    unit: Unit::of(&stream),
                    traffic: Traffic::default(),
                };
                let connection = connection::serve(stream, service, place, drain.clone());
                self.tasks.spawn("local connection", Kind::BestEffort, connection);
            }
            Err(met) => {
                let uid = caller.uid;
                tracing::debug!(uid, "a connection of uid {uid} on the local socket was refused: {met}");
            }
        }
    }
}
