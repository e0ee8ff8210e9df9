//! What every call passes before it reaches a service: the rule of its method, the bounds
//! of its user, the time it may take.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use muster_common::{clock::Clock, reason::Reason};
use tonic::{Status, body::Body, service::Routes};
use tower::Service;

use super::{
    caller::{Caller, Unit},
    limits::{Call, Limits, Users},
    policy, refusal,
};

/// The services of one connection, behind the policy.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) routes: Routes,
    pub(super) users: Users,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) caller: Caller,
    pub(super) unit: Unit,
    pub(super) traffic: Traffic,
}

/// The calls of one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// An open call; it has ended when this is dropped.
struct Open {
    traffic: Traffic,
    _place: Call,
}

/// The body of an answer, which keeps its call open.
struct Held {
    body: Body,
    _open: Open,
}

impl Traffic {
    /// Calls that were begun, and whether any is open.
    pub(super) fn now(&self) -> (u64, bool) {
        let ended = self.0.ended.load(Ordering::Relaxed);
        let begun = self.0.begun.load(Ordering::Relaxed);
        (begun, begun > ended)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.traffic.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Guarded {
    /// Whether the call may pass.
    fn judge(&self, method: &str) -> Result<Call, Status> {
        // Counted first: refusals cost something, too.
        let place = self.users.call(self.caller.uid, self.clock.monotonic());
        let place = place.map_err(|met| refusal::status(Reason::RateLimited, met.to_string()))?;
        policy::judge(method, &self.caller)
            .map_err(|message| refusal::status(Reason::PermissionDenied, message))?;
        Ok(place)
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Incoming>> for Guarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answer {
        let method = request.uri().path().to_owned();
        let Caller { uid, pid, .. } = self.caller;
        self.traffic.0.begun.fetch_add(1, Ordering::Relaxed);
        let place = match self.judge(&method) {
            Ok(place) => place,
            Err(refused) => {
                self.traffic.0.ended.fetch_add(1, Ordering::Relaxed);
                let message = refused.message();
                tracing::debug!(
                    uid,
                    pid,
                    method,
                    "a call of uid {uid} on the local socket was refused: {message}"
                );
                return Box::pin(std::future::ready(Ok(refused.into_http())));
            }
        };
        let open = Open { traffic: self.traffic.clone(), _place: place };
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.caller);
        request.extensions_mut().insert(self.unit.clone());
        let (answer, within) = (self.routes.call(request), self.limits.call_within);
        Box::pin(async move {
            let Ok(answer) = tokio::time::timeout(within, answer).await else {
                let message = format!("the call was not answered within {} s", within.as_secs());
                return Ok(Status::deadline_exceeded(message).into_http());
            };
            let response = answer.unwrap_or_else(|never| match never {});
            Ok(response.map(|body| Body::new(Held { body, _open: open })))
        })
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
