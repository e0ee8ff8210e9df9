//! An operator's program on a bad line: it asks once, waits for a time, and knows whether what
//! it asked for was done, was not done, or may have been.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use muster_common::reason::Reason;
use muster_node_agent::dial;
use muster_tests::{
    history::Outcome,
    operator::{Operator, reason},
};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tonic::transport::Channel;

/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between tries to connect.
const AGAIN: Duration = Duration::from_millis(50);

/// One connection, made anew when it does not serve.
pub(crate) struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    operator: Option<Operator>,
}

impl Client {
    pub(crate) const fn new(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self { address, tls, operator: None }
    }

    /// An operator that is connected; on this line that may take a while.
    pub(crate) async fn operator(&mut self) -> Operator {
        loop {
            if let Some(operator) = &self.operator {
                return operator.clone();
            }
            match tokio::time::timeout(PATIENCE, self.dial()).await {
                Ok(Ok(channel)) => self.operator = Some(Operator::over(channel)),
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// A connection that leaves nothing behind when it is given up: what is on its way
    /// then is not sent again by the system, long after all trouble is over.
    async fn dial(&self) -> anyhow::Result<Channel> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_zero_linger()?;
        Ok(dial::over(stream, &self.address.to_string(), Arc::clone(&self.tls)).await?)
    }

    /// The connection is not to be used again.
    pub(crate) fn hang_up(&mut self) {
        self.operator = None;
    }

    /// Asks once; `begun` is told when the question goes out.
    pub(crate) async fn ask<T, F>(
        &mut self,
        begun: impl FnOnce(),
        call: impl FnOnce(Operator) -> F,
    ) -> Result<T, Outcome>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let operator = self.operator().await;
        begun();
        match tokio::time::timeout(PATIENCE, call(operator)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => match reason(&status) {
                // Whatever else the control plane says of itself, it has not done it.
                Some(said) if said != Reason::StoreOutcomeUnknown => Err(Outcome::Refused),
                _ => {
                    self.hang_up();
                    Err(Outcome::Unknown)
                }
            },
            Err(_) => {
                self.hang_up();
                Err(Outcome::Unknown)
            }
        }
    }

    /// Asks until there is an answer: what may be repeated.
    pub(crate) async fn insist<T, F>(&mut self, call: impl Fn(Operator) -> F) -> T
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        loop {
            match self.ask(|| {}, &call).await {
                Ok(answer) => return answer,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}
