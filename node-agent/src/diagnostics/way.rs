//! Names, TCP, and the proxy between.

use std::{io, net::SocketAddr};

use muster_common::{error_chain::Chain, settings::ProxyUrl};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Found, WITHIN};
use crate::proxy;

/// How an address is reached: as the agent would reach it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) address: &'a str,
    pub(super) proxy: Option<&'a ProxyUrl>,
}

impl Line<'_> {
    /// What this host itself connects to.
    pub(super) fn first(&self) -> String {
        let of_proxy = |proxy: &ProxyUrl| {
            let host = proxy.host();
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            format!("{host}:{}", proxy.port())
        };
        self.proxy.map_or_else(|| self.address.to_owned(), of_proxy)
    }

    /// A connection. The error says why there is none.
    pub(super) async fn connect(&self) -> Result<TcpStream, String> {
        match self.proxy {
            None => connect(self.address).await.map_err(|error| error.to_string()),
            Some(proxy) => proxy::open(proxy, self.address).await.map_err(|error| Chain(&error).to_string()),
        }
    }
}

/// What an address stands for.
pub(super) async fn resolve(address: &str) -> Found {
    let remedy = "see that the name is right, and that this host's resolver knows it (/etc/resolv.conf)";
    match timeout(WITHIN, lookup_host(address)).await {
        Err(_) => Found::failed(format!("no answer about {address} within {} s", WITHIN.as_secs()), remedy),
        Ok(Err(error)) => Found::failed(format!("{address} has no address: {error}"), remedy),
        Ok(Ok(found)) => {
            let found: Vec<String> = found.map(|found: SocketAddr| found.ip().to_string()).collect();
            if found.is_empty() {
                return Found::failed(format!("{address} has no address"), remedy);
            }
            Found::passed(found.join(", ")).with("addresses", found)
        }
    }
}

/// Whether somebody takes a connection.
pub(super) async fn reach(address: &str) -> Found {
    match connect(address).await {
        Ok(stream) => {
            let name =
                |found: io::Result<SocketAddr>| found.map(|found| found.to_string()).unwrap_or_default();
            let (local, peer) = (name(stream.local_addr()), name(stream.peer_addr()));
            Found::passed(format!("{local} to {peer}")).with("local", local).with("peer", peer)
        }
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    "the host is there and nobody listens: see that the control plane runs, and that the port is right"
                }
                _ => "see that a firewall lets this host out to this port, and that a route is there",
            };
            Found::failed(format!("cannot reach {address}: {error}"), remedy)
        }
    }
}

/// Whether the proxy lets this host through to the address.
pub(super) async fn pass(line: Line<'_>) -> Found {
    match line.connect().await {
        Ok(_) => Found::passed(format!("it opens the way to {}", line.address)),
        Err(why) => Found::failed(why, "see the proxy's rules and its log; `proxy show` tells who names it"),
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let within =
        || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", WITHIN.as_secs()));
    timeout(WITHIN, TcpStream::connect(address)).await.map_err(|_| within())?
}
