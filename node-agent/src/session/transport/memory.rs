//! For tests: a control plane in the same process, spoken to in frames.

use tokio::sync::mpsc;

use super::{Error, Link, Transport, why_closed};
use crate::session::frames::{Inbound, Outbound};

/// Opens streams whose other ends a test holds.
pub(in crate::session) struct Memory(pub mpsc::Sender<Peer>);

/// The other end of a stream.
pub(in crate::session) struct Peer {
    pub(in crate::session) address: String,
    pub(in crate::session) heard: mpsc::Receiver<Outbound>,
    pub(in crate::session) say: mpsc::Sender<Result<Inbound, Error>>,
}

pub(in crate::session) struct MemoryLink {
    out: mpsc::Sender<Outbound>,
    inbound: mpsc::Receiver<Result<Inbound, Error>>,
}

impl Transport for Memory {
    type Link = MemoryLink;

    async fn open(&mut self, address: &str, hello: Outbound) -> Result<MemoryLink, Error> {
        let (out, heard) = mpsc::channel(64);
        let (say, inbound) = mpsc::channel(64);
        out.send(hello).await.map_err(|_| Error::Closed)?;
        self.0.send(Peer { address: address.to_owned(), heard, say }).await.map_err(|_| Error::Closed)?;
        Ok(MemoryLink { out, inbound })
    }
}

impl Link for MemoryLink {
    async fn send(&mut self, message: Outbound) -> Result<(), Error> {
        if self.out.send(message).await.is_ok() {
            return Ok(());
        }
        let inbound = &mut self.inbound;
        Err(why_closed(&mut futures_util::stream::poll_fn(|context| inbound.poll_recv(context))).await)
    }

    async fn next(&mut self) -> Result<Inbound, Error> {
        self.inbound.recv().await.unwrap_or(Err(Error::Closed))
    }

    async fn finish(self) {}
}
