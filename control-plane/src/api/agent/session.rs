//! `SessionService`: turns messages into frames and back; the session itself is
//! `session::reactor`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use muster_common::reason::Reason;
use muster_proto::agent::v1::{self as pb, session_service_server::SessionService};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    api::{caller, status, wire},
    app::App,
    session::{
        frames::{Caller, Inbound, Refusal},
        reactor::{Ports, Reactor},
    },
};

/// Answers nodes.
pub struct Handler {
    app: App,
    ports: Ports,
}

impl Handler {
    /// With the use-cases as the ports of every session.
    #[must_use]
    pub fn new(app: App) -> Self {
        let ports = Ports { inbox: Arc::new(app.clone()), desk: Arc::new(app.clone()) };
        Self { app, ports }
    }
}

/// What a node sends, as frames.
pub struct Frames(Streaming<pb::SessionRequest>);

/// What a node gets, as messages.
pub struct Messages(Box<Reactor<Frames>>);

impl Stream for Frames {
    type Item = Result<Inbound, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|next| match next? {
            Ok(message) => Some(wire::session::inbound(message)),
            Err(status) => broken(&status),
        })
    }
}

/// A stream that broke: by what the node sent, or by the connection.
fn broken(status: &Status) -> Option<Result<Inbound, Refusal>> {
    match status.code() {
        // What tonic says of a message over the limit.
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => {
            Some(Err(Refusal::new(Reason::FrameTooLarge, status.message())))
        }
        tonic::Code::Internal if status.message().contains("decode") => {
            Some(Err(Refusal::new(Reason::MessageInvalid, status.message())))
        }
        _ => None,
    }
}

impl Stream for Messages {
    type Item = Result<pb::SessionResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0).poll_next(context).map(|next| {
            next.map(|frame| match frame {
                Ok(frame) => Ok(wire::session::outbound(frame)),
                Err(refusal) => Err(status::of_refusal(&refusal)),
            })
        })
    }
}

#[tonic::async_trait]
impl SessionService for Handler {
    type SessionStream = Messages;

    async fn session(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Messages>, Status> {
        let (node, caller) = caller::node(&request)?;
        self.app.admit_session(node).map_err(status::of_app)?;
        // What another replica told the node before it came here is known before its Hello is.
        let caller = Caller { is_unsure: !self.app.catches_up().await, ..caller };
        let reactor = Reactor::new(caller, Frames(request.into_inner()), self.ports.clone());
        Ok(Response::new(Messages(Box::new(reactor))))
    }
}
