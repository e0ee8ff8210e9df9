//! A way between hosts and their control plane that a test can close, as a firewall does
//! that lets no new connection through and leaves the old ones alone. It counts what goes
//! over it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_util::io::InspectReader;

/// An address from which connections lead to another one. Dropped: all are cut.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    traffic: Arc<Traffic>,
    task: JoinHandle<()>,
}

/// Bytes of all connections so far.
#[derive(Debug, Default)]
struct Traffic {
    there: AtomicU64,
    back: AtomicU64,
}

impl Relay {
    /// A way to an address; `is_open` is asked for each new connection.
    #[allow(clippy::disallowed_methods)] // a test's own tasks, ended with their owner
    pub async fn start(to: SocketAddr, is_open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, traffic) = (Arc::new(is_open), Arc::<Traffic>::default());
        let counted = Arc::clone(&traffic);
        let task = tokio::spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                if is_open() {
                    ways.spawn(lead(near, to, Arc::clone(&counted)));
                }
            }
        });
        Self { address, traffic, task }
    }

    /// Bytes that went to the control plane, and back from it.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.traffic.there.load(Ordering::Relaxed), self.traffic.back.load(Ordering::Relaxed))
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

async fn lead(near: TcpStream, to: SocketAddr, traffic: Arc<Traffic>) {
    if let Ok(far) = TcpStream::connect(to).await {
        let count = |way: &AtomicU64, bytes: &[u8]| way.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut near = InspectReader::new(near, |bytes| _ = count(&traffic.there, bytes));
        let mut far = InspectReader::new(far, |bytes| _ = count(&traffic.back, bytes));
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await; // one of them has ended
    }
}
