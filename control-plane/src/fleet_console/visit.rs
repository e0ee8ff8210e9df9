//! One request of somebody who may look: known before a page is asked for.

use axum::extract::FromRequestParts;
use http::{HeaderValue, request::Parts};
use muster_common::reason::Reason;
use muster_domain::access::Scope;

use super::{FleetConsole, answer::Problem, caller::Caller};
use crate::server::{
    peer::Peer,
    policy::{self, Rule, Who},
    source::source,
};

/// The name of the door, in numbers.
const DOOR: &str = "fleet-console";
/// Longest query that is read, in bytes.
const MAX_QUERY: usize = 8 * 1024;

/// A request.
pub(super) struct Visit {
    pub(super) console: FleetConsole,
    pub(super) caller: Caller,
    peer: Peer,
    path: String,
    query: Vec<(String, String)>,
}

impl FromRequestParts<FleetConsole> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &FleetConsole) -> Result<Self, Problem> {
        let peer = peer(parts)?;
        let caller = Caller::of(console, &peer, &parts.headers).inspect_err(|reason| {
            // Whoever has no certificate has not come by the link yet: that is no attack.
            if peer.principal.is_some() {
                console.gate.callers.denied(&peer, None, parts.uri.path(), *reason);
            }
        });
        let name = caller.as_ref().map_or_else(|_| source(peer.remote).to_string(), Caller::name);
        rated(console, &name)?;
        let caller = caller.map_err(Problem::nobody)?;
        peer.line.know();
        let query = parts.uri.query().unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(Problem::invalid(format!("the query is longer than {MAX_QUERY} bytes")));
        }
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self { console: console.clone(), caller, peer, path: parts.uri.path().to_owned(), query })
    }
}

/// Somebody whom nobody knows.
pub(super) struct Stranger {
    pub(super) peer: Peer,
}

impl FromRequestParts<FleetConsole> for Stranger {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &FleetConsole) -> Result<Self, Problem> {
        let peer = peer(parts)?;
        rated(console, &source(peer.remote).to_string())?;
        Ok(Self { peer })
    }
}

/// Who is at the other end. Browsers send certificates and cookies along with what pages of others
/// ask for: such a page may lead here, and that is all.
fn peer(parts: &Parts) -> Result<Peer, Problem> {
    let said = |name: &str| parts.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    let is_of_others = matches!(said("sec-fetch-site"), b"cross-site" | b"same-site");
    let is_followed = matches!((said("sec-fetch-mode"), said("sec-fetch-dest")), (b"navigate", b"document"));
    if is_of_others && !is_followed {
        return Err(Problem::of_others());
    }
    let peer = parts.extensions.get::<Peer>().cloned();
    peer.ok_or_else(|| Problem::internal("the request came through no door"))
}

fn rated(console: &FleetConsole, name: &str) -> Result<(), Problem> {
    console.gate.rates.check(policy::Rate::Read, name).map_err(|wait| {
        console.gate.metrics.limit_met(DOOR, "reads");
        Problem::later(Reason::RateLimited, "too many requests", wait)
    })
}

impl Visit {
    /// What of the fleet a page about this method of the operators' API may show.
    ///
    /// # Errors
    /// If the caller may not call it; that is written down as there.
    pub(super) fn may(&self, method: &'static str) -> Result<Scope, Problem> {
        self.judge(method).map_err(|reason| {
            let name = self.caller.name();
            self.console.gate.callers.denied(&self.peer, Some(&name), &self.path, reason);
            match reason {
                Reason::Unauthenticated => Problem::nobody(reason),
                _ => Problem::denied(reason, &name, method),
            }
        })
    }

    /// Whether a page about this method would be shown.
    pub(super) fn could(&self, method: &'static str) -> bool {
        self.judge(method).is_ok()
    }

    /// The same at a later moment of a page that goes on.
    pub(super) fn judge(&self, method: &'static str) -> Result<Scope, Reason> {
        match policy::rule(method) {
            Some(Rule { who: Who::Operator(asked), .. }) => self.caller.scope(&self.console, asked),
            _ => Err(Reason::PermissionDenied),
        }
    }

    /// A value of the query; empty: it is not there.
    pub(super) fn asked(&self, key: &str) -> &str {
        self.query.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// The same page with other values in its query; empty ones are left out.
    pub(super) fn with(&self, values: &[(&str, &str)]) -> String {
        super::words::link(&self.path, values)
    }
}
