//! Which way each connection goes out.

use std::sync::Arc;

use muster_common::settings::Service;
use rustls::ClientConfig;
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

use super::{Chain, Error, WITHIN, directly, secure, secured, server};
use crate::proxy::{self, Rules};

/// Opens connections by the rules of now. The default one knows no proxy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer(watch::Receiver<Rules>);

impl Default for Dialer {
    fn default() -> Self {
        Self::fixed(Rules::default())
    }
}

impl Dialer {
    /// By rules that may change.
    #[must_use]
    pub const fn new(rules: watch::Receiver<Rules>) -> Self {
        Self(rules)
    }

    /// By rules that stay.
    #[must_use]
    pub fn fixed(rules: Rules) -> Self {
        Self(watch::Sender::new(rules).subscribe())
    }

    /// A connection for a service at an address. It is not opened again when it breaks.
    ///
    /// # Errors
    /// Told apart by whose fault it is.
    pub async fn channel(
        &self,
        service: Service,
        address: &str,
        tls: Arc<ClientConfig>,
    ) -> Result<Channel, Error> {
        self.channel_and_chain(service, address, tls).await.map(|(channel, _)| channel)
    }

    /// As `channel`; and who answered.
    ///
    /// # Errors
    /// Told apart by whose fault it is.
    pub async fn channel_and_chain(
        &self,
        service: Service,
        address: &str,
        tls: Arc<ClientConfig>,
    ) -> Result<(Channel, Chain), Error> {
        let name = server(address)?;
        let stream = Box::pin(self.stream(service, address)).await?;
        secured(stream, address, name, tls).await
    }

    /// A connection of which nothing is said yet: whoever wants to know who answers finds
    /// out for itself.
    ///
    /// # Errors
    /// Told apart by whose fault it is.
    pub async fn stream(&self, service: Service, address: &str) -> Result<TcpStream, Error> {
        server(address)?;
        let route = self.0.borrow().route(service, address);
        let failed = |source| Error::Proxy { address: address.to_owned(), source };
        match route.proxy().map_err(failed)? {
            None => directly(address).await,
            Some(proxy) => proxy::open(proxy, address).await.map_err(failed),
        }
    }

    /// As `stream`, with TLS on it.
    ///
    /// # Errors
    /// Told apart by whose fault it is.
    pub async fn secure_stream(
        &self,
        service: Service,
        address: &str,
        tls: Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let name = server(address)?;
        let stream = self.stream(service, address).await?;
        let slow = |_| Error::Slow { address: address.to_owned() };
        timeout(WITHIN, secure(stream, address, name, tls)).await.map_err(slow)?
    }
}
