//! What every call passes before it reaches a service: the rule of its method,
//! the kind of its caller, the certificate's end, the role, the rate.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use muster_common::{ids::NodeId, reason::Reason, tls::spiffe::Principal};
use muster_domain::access::{Asked, Scope};
use tonic::{body::Body, service::Routes};
use tower::Service;

use super::{
    DoorName, Gate,
    policy::{self, Rule, Who},
    refusal,
    source::source,
    traced::{self, Traced},
    unreadable,
    watches::Watching,
};
use crate::{
    api::peer::{Peer, TraceId},
    metrics::Metrics,
    traces,
};

/// What the door asks about callers.
pub trait Callers: Send + Sync + 'static {
    /// The nodes on which an operator or service with this certificate has what
    /// is asked.
    ///
    /// # Errors
    /// The reason why it has it nowhere: nobody knows it, its certificate was
    /// replaced, or no binding of it allows this.
    fn scope(&self, principal: &Principal, serial: &str, asked: Asked) -> Result<Scope, Reason>;

    /// Whether a node may speak with this certificate.
    ///
    /// # Errors
    /// The reason why not.
    fn node_allowed(&self, node: NodeId, serial: &str) -> Result<(), Reason>;

    /// A handshake went well, with this certificate.
    fn shown(&self, peer: &Peer, leaf_der: &[u8]);

    /// The connection will end for its age: what is on it shall move to another.
    fn move_on(&self, peer: &Peer);

    /// A call was refused for who called. `name`: of whoever has shown it without a certificate.
    fn denied(&self, peer: &Peer, name: Option<&str>, method: &str, reason: Reason);
}

/// The services of one connection, behind the policy.
#[derive(Clone)]
pub struct Guarded {
    routes: Routes,
    gate: Gate,
    door: DoorName,
    peer: Peer,
}

impl Guarded {
    pub(super) fn new(routes: Routes, gate: Gate, door: DoorName, peer: Peer) -> Self {
        Self { routes, gate, door, peer }
    }

    /// Whether the call may pass, and what it may touch.
    fn judge(&self, method: &str) -> Result<Passed, Refused> {
        let Some(rule) = policy::rule(method).filter(|rule| rule.door == self.door) else {
            // Someone of the other kind is told so, whatever they ask for.
            self.check_kind_of_door()?;
            return Err(Refused::new(Reason::PermissionDenied, "no such method on this port"));
        };
        let scope = self.check_caller(rule)?;
        let caller = match &self.peer.principal {
            Some(principal) => principal.to_string(),
            None => source(self.peer.remote).to_string(),
        };
        self.gate.rates.check(rule.rate, &caller).map_err(|wait| {
            let message = format!("too many calls; try again in {} ms", wait.as_millis().max(1));
            Refused { after: Some(wait), ..self.limited(rule.rate.as_str(), message) }
        })?;
        if !rule.rate.stays_open() {
            return Ok(Passed { scope, watching: None });
        }
        let message = "too many open watches; end one, or try again when one has ended";
        let watching = self.gate.watches.open(&caller);
        let watching = watching.ok_or_else(|| self.limited("watches-per-caller", message))?;
        Ok(Passed { scope, watching: Some(watching) })
    }

    fn limited(&self, limit: &'static str, message: impl Into<String>) -> Refused {
        self.gate.metrics.limit_met(self.door.as_str(), limit);
        Refused::new(Reason::RateLimited, message)
    }

    fn check_kind_of_door(&self) -> Result<(), Refused> {
        match (self.door, &self.peer.principal) {
            (DoorName::Agents, Some(Principal::Node(_)))
            | (DoorName::Enrollment | DoorName::FleetConsole, _) => Ok(()),
            (DoorName::Operators, Some(Principal::Operator(_) | Principal::Service(_))) => Ok(()),
            (DoorName::Agents, _) => {
                Err(Refused::new(Reason::WrongKindOfCaller, "this port is for nodes' certificates"))
            }
            (DoorName::Operators, _) => Err(Refused::new(
                Reason::WrongKindOfCaller,
                "this port is for certificates of operators and services",
            )),
        }
    }

    fn check_caller(&self, rule: Rule) -> Result<Option<Scope>, Refused> {
        self.check_kind_of_door()?;
        if self.peer.not_after <= self.gate.clock.now() {
            return Err(Refused::new(Reason::CertificateExpired, "the certificate has run out"));
        }
        match (rule.who, &self.peer.principal) {
            (Who::Anyone, _) => Ok(None),
            (Who::Node, Some(Principal::Node(node))) => self
                .gate
                .callers
                .node_allowed(*node, &self.peer.serial)
                .map(|()| None)
                .map_err(|reason| Refused::new(reason, format!("node {node} may not speak: {reason}"))),
            (Who::Operator(asked), Some(principal)) => self.scope(principal, asked).map(Some),
            (Who::Node | Who::Operator(_), _) => {
                Err(Refused::new(Reason::WrongKindOfCaller, "the method is for callers of another kind"))
            }
        }
    }
}

impl Guarded {
    fn scope(&self, principal: &Principal, asked: Asked) -> Result<Scope, Refused> {
        let serial = &self.peer.serial;
        self.gate.callers.scope(principal, serial, asked).map_err(|reason| {
            let message = match reason {
                Reason::CertificateRevoked => {
                    format!("{principal} was revoked, or has another certificate now than {serial}")
                }
                _ if asked.fleet => format!("no binding of {principal} on every node (\"*\") allows this"),
                _ => format!("no binding of {principal} allows this"),
            };
            Refused::new(reason, message)
        })
    }
}

impl Guarded {
    /// Pages are no methods: each asks for its rights itself, knowing who is there.
    fn page(&mut self, request: Request<hyper::body::Incoming>) -> Answer {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.routes.call(request);
        Box::pin(async move { Ok(answer.await.unwrap_or_else(|never| match never {})) })
    }
}

/// What a call that may pass takes along.
struct Passed {
    /// None: the method is not for operators.
    scope: Option<Scope>,
    /// If it is a watch.
    watching: Option<Watching>,
}

struct Refused {
    reason: Reason,
    message: String,
    /// When it is worth calling again, if that is known.
    after: Option<Duration>,
}

impl Refused {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), after: None }
    }

    fn response(&self, metrics: &Metrics) -> Response<Body> {
        match self.after {
            Some(after) => refusal::later(metrics, self.reason, &self.message, after),
            None => refusal::response(metrics, self.reason, &self.message),
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<hyper::body::Incoming>> for Guarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Answer {
        if self.door == DoorName::FleetConsole {
            return self.page(request);
        }
        let method = request.uri().path().to_owned();
        let Passed { scope, watching } = match self.judge(&method) {
            Ok(passed) => passed,
            Err(refused) => {
                if refused.reason != Reason::RateLimited {
                    self.gate.callers.denied(&self.peer, None, &method, refused.reason);
                }
                return Box::pin(std::future::ready(Ok(refused.response(&self.gate.metrics))));
            }
        };
        let mut request = request.map(Body::new);
        let (trace, begun) = self.gate.traces.call(traced::given(request.headers()));
        request.extensions_mut().insert(self.peer.clone());
        request.extensions_mut().insert(TraceId(trace.to_string()));
        // What hosts call is not for them to have collected.
        let begun = begun.filter(|_| self.door == DoorName::Operators);
        let traced = begun.map(|begun| Traced::new(&self.gate.traces, begun, &method, &self.peer));
        if let Some(traced) = &traced {
            request.extensions_mut().insert(traced.at());
        }
        if let Some(scope) = scope {
            request.extensions_mut().insert(scope);
        }
        let (answer, this) = (self.routes.call(request), (self.gate.clone(), self.peer.clone()));
        let told = (self.door == DoorName::Operators).then_some(method);
        Box::pin(async move {
            let (gate, peer) = this;
            let answer = match &traced {
                Some(traced) => traces::within(traced.at(), answer).await,
                None => answer.await,
            };
            let response =
                unreadable::explained(&gate.metrics, answer.unwrap_or_else(|never| match never {}));
            if let Some(traced) = traced {
                traced.answered(&response);
            }
            if let Some(method) = told.filter(|_| is_denied(&response)) {
                gate.callers.denied(&peer, None, &method, Reason::PermissionDenied);
            }
            Ok(match watching {
                Some(watching) => response.map(|body| watching.hold(body)),
                None => response,
            })
        })
    }
}

/// Whether a use-case refused the call for its caller: what was asked reached beyond its scope.
fn is_denied(response: &Response<Body>) -> bool {
    tonic::Status::from_header_map(response.headers())
        .is_some_and(|status| status.code() == tonic::Code::PermissionDenied)
}
