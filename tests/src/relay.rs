//! A way between hosts and their control plane that a test can close, as a firewall does
//! that lets no new connection through and leaves the old ones alone.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// An address from which connections lead to another one. Dropped: all are cut.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// A way to an address; `is_open` is asked for each new connection.
    #[allow(clippy::disallowed_methods)] // a test's own tasks, ended with their owner
    pub async fn start(to: SocketAddr, is_open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_open = Arc::new(is_open);
        let task = tokio::spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                if is_open() {
                    ways.spawn(lead(near, to));
                }
            }
        });
        Self { address, task }
    }

    /// Where it begins.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn lead(mut near: TcpStream, to: SocketAddr) {
    if let Ok(mut far) = TcpStream::connect(to).await {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await; // one of them has ended
    }
}
