//! The way to the control plane.

mod grpc;
#[cfg(test)]
pub(super) mod memory;

use std::{future::Future, time::Duration};

use futures_util::{Stream, StreamExt as _};
pub use grpc::Grpc;
use muster_common::reason::Reason;
use tokio::time::timeout;

use super::frames::{Body, Inbound, Outbound};
use crate::dial;

/// For the last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A session could not be opened, or broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot connect")]
    Dial(#[from] dial::Error),
    /// The identity does not serve.
    #[error("cannot use this host's identity")]
    Identity(#[from] crate::identity::Error),
    /// The control plane ended the session and said why.
    #[error(transparent)]
    Refused(#[from] dial::Refusal),
    /// The stream is gone.
    #[error("the control plane ended the stream")]
    Closed,
    /// The same, and this was the last that it said.
    #[error("the control plane ended the session")]
    LastWord(Box<Inbound>),
    /// Nothing went out for too long.
    #[error("the control plane does not read")]
    Stuck,
}

impl Error {
    /// Whether one of the two sides does not accept the other's certificate.
    #[must_use]
    pub fn is_about_identity(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_about_identity(),
            Self::Refused(refusal) => refusal.is_about_identity(),
            Self::Identity(_) | Self::Closed | Self::LastWord(_) | Self::Stuck => false,
        }
    }

    /// The control plane itself answered what it was told: there is a way to it and back. Not
    /// if it says that it was told nothing, or something else: small words may get through
    /// where large ones do not.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        let Self::Refused(refusal) = self else { return false };
        match refusal.reason {
            None
            | Some(
                Reason::HelloMissing
                | Reason::MessageInvalid
                | Reason::FrameTooLarge
                | Reason::SlowReader
                | Reason::SequenceOutOfOrder
                | Reason::ProtocolUnsupported,
            ) => false,
            Some(_) => true,
        }
    }

    /// It answered that it has no room for a session just now.
    #[must_use]
    pub fn is_lack_of_room(&self) -> bool {
        let reason = if let Self::Refused(refusal) = self { refusal.reason } else { None };
        matches!(reason, Some(Reason::Overloaded | Reason::RateLimited | Reason::ShuttingDown))
    }
}

/// Why nothing more can be sent: that stands at the end of what still comes in.
async fn why_closed(inbound: &mut (impl Stream<Item = Result<Inbound, Error>> + Unpin)) -> Error {
    let end = async {
        loop {
            match inbound.next().await {
                Some(Ok(last)) if matches!(last.body, Body::Reconnect(_) | Body::Removed(_)) => {
                    return Error::LastWord(Box::new(last));
                }
                Some(Ok(_)) => {} // said again in the next session
                Some(Err(error)) => return error,
                None => return Error::Closed,
            }
        }
    };
    timeout(LAST_WORDS, end).await.unwrap_or(Error::Closed)
}

/// Opens streams.
pub trait Transport: Send + 'static {
    /// What it opens.
    type Link: Link;

    /// Opens a stream to an address; `hello` goes out first.
    fn open(
        &mut self,
        address: &str,
        hello: Outbound,
    ) -> impl Future<Output = Result<Self::Link, Error>> + Send;
}

/// One open stream. Dropped: closed.
pub trait Link: Send {
    /// Sends a message; waits while the other side does not read.
    fn send(&mut self, message: Outbound) -> impl Future<Output = Result<(), Error>> + Send;

    /// The next message. May be dropped at any time without losing one.
    fn next(&mut self) -> impl Future<Output = Result<Inbound, Error>> + Send;

    /// No more will be sent; waits until the other side has heard it all, or gives up.
    fn finish(self) -> impl Future<Output = ()> + Send;
}
