//! Calls as parts of traces.

use http::{HeaderMap, Response};
use muster_common::{tls::spiffe::Principal, trace::Context};
use tonic::{Code, body::Body};

use crate::{
    api::peer::Peer,
    traces::{Begun, Kind, Part, Traces, Value},
};

/// A call that is a part of a trace that somebody collects. One that its caller gives up is told, too.
pub(super) struct Traced(Part);

/// Where a caller is in a trace of its own.
pub(super) fn given(headers: &HeaderMap) -> Option<Context> {
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}

impl Traced {
    /// `method`: `/PACKAGE.SERVICE/METHOD`.
    pub(super) fn new(traces: &Traces, begun: Begun, method: &str, peer: &Peer) -> Self {
        let caller = match &peer.principal {
            Some(Principal::Operator(_)) => "operator",
            Some(Principal::Service(_)) => "service",
            Some(Principal::Node(_)) => "node",
            Some(Principal::ControlPlane(_)) => "control-plane",
            None => "stranger",
        };
        let method = method.trim_start_matches('/');
        let (service, name) = method.split_once('/').unwrap_or((method, ""));
        let word = |word: &str| Value::Text(word.to_owned());
        let attributes = vec![
            ("rpc.system", word("grpc")),
            ("rpc.service", word(service)),
            ("rpc.method", word(name)),
            ("muster.caller", word(caller)),
        ];
        Self(traces.part(begun, method.to_owned(), Kind::Server, attributes))
    }

    /// Where it is.
    pub(super) fn at(&self) -> Context {
        self.0.at()
    }

    /// It was answered; of a stream that is when it began to be.
    pub(super) fn answered(self, response: &Response<Body>) {
        let code =
            tonic::Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
        let error = if is_ours(code) { format!("{code:?}") } else { String::new() };
        let code = Value::Number(i64::from(i32::from(code)));
        self.0.end(&error, vec![("rpc.grpc.status_code", code)]);
    }
}

/// Whether a code tells of a failure here, and not of one of the caller's.
const fn is_ours(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
