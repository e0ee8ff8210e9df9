//! An operator's program on a bad line: it asks once, waits for a time, and knows whether what
//! it asked for was done, was not done, or may have been. One that knows several control planes asks
//! each in turn.

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

/// A connection to each control plane that it knows, made anew when it does not serve.
pub(crate) struct Client {
    lines: Vec<Line>,
    /// The one that was asked last.
    at: usize,
    tls: Arc<ClientConfig>,
}

/// To one control plane.
struct Line {
    plane: usize,
    address: SocketAddr,
    operator: Option<Operator>,
}

impl Client {
    /// Of one control plane.
    pub(crate) fn of_one(plane: usize, address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self { lines: vec![Line { plane, address, operator: None }], at: 0, tls }
    }

    /// Of all of them; it asks the one after `last` first.
    pub(crate) fn of_all(addresses: &[SocketAddr], last: usize, tls: Arc<ClientConfig>) -> Self {
        let line = |(plane, address): (usize, &SocketAddr)| Line { plane, address: *address, operator: None };
        Self { lines: addresses.iter().enumerate().map(line).collect(), at: last % addresses.len(), tls }
    }

    /// The control plane that was asked last.
    pub(crate) fn plane(&self) -> usize {
        self.lines[self.at].plane
    }

    fn turn(&mut self) {
        self.at = (self.at + 1) % self.lines.len();
    }

    /// An operator that is connected to the next control plane, or to one after it; on this line that
    /// may take a while.
    async fn operator(&mut self) -> Operator {
        loop {
            self.turn();
            let line = &mut self.lines[self.at];
            if let Some(operator) = &line.operator {
                return operator.clone();
            }
            match tokio::time::timeout(PATIENCE, connect(line.address, Arc::clone(&self.tls))).await {
                Ok(Ok(channel)) => line.operator = Some(Operator::over(channel)),
                _ => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
            return line.operator.clone().expect("it was just made");
        }
    }

    /// The connection that was used last is not to be used again.
    pub(crate) fn hang_up(&mut self) {
        self.lines[self.at].operator = None;
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

/// A connection that leaves nothing behind when it is given up: what is on its way
/// then is not sent again by the system, long after all trouble is over.
async fn connect(address: SocketAddr, tls: Arc<ClientConfig>) -> anyhow::Result<Channel> {
    let stream = TcpStream::connect(address).await?;
    stream.set_zero_linger()?;
    Ok(dial::over(stream, &address.to_string(), tls).await?)
}
