//! Who asks.

use muster_common::{clock::UnixMillis, trace::Context};
use muster_domain::{access::Scope, audit::Stamp};

/// Who asks, from where, and what of the fleet they may touch; every write of an
/// operator starts with one.
#[derive(Debug, Clone)]
pub struct Actor {
    /// `operator/alice`.
    pub principal: String,
    /// No write touches a node outside of it.
    pub scope: Scope,
    /// From where.
    pub remote_address: String,
    /// Of the request.
    pub trace_id: String,
    /// Where the request is in its trace, if somebody collects that.
    pub traced: Option<Context>,
}

impl Actor {
    /// The request's place in its trace, as it is stored with what goes on later; empty: nobody
    /// collects it.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.traced.map(|traced| traced.to_string()).unwrap_or_default()
    }

    /// The stamp of one of their writes.
    #[must_use]
    pub fn stamp(&self, action: &'static str, at: UnixMillis) -> Stamp {
        Stamp {
            actor: self.principal.clone(),
            action: action.to_owned(),
            at,
            remote_address: self.remote_address.clone(),
            trace_id: self.trace_id.clone(),
        }
    }
}
