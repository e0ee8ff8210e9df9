//! Who looks at a page, and what of the fleet they may see.

use http::HeaderMap;
use muster_common::{reason::Reason, tls::spiffe::Principal};
use muster_domain::access::{Asked, Scope};

use super::{FleetConsole, entered::Guest};
use crate::server::peer::Peer;

/// Who looks.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// An operator or service, by certificate.
    Operator(Principal, String),
    /// Whoever came by a link.
    Guest(Guest),
}

impl Caller {
    /// Who is at the other end. A certificate counts before a cookie.
    ///
    /// # Errors
    /// Why it is nobody who may look.
    pub(super) fn of(console: &FleetConsole, peer: &Peer, headers: &HeaderMap) -> Result<Self, Reason> {
        let clock = &console.gate.clock;
        match &peer.principal {
            Some(Principal::Operator(_) | Principal::Service(_)) if peer.not_after <= clock.now() => {
                Err(Reason::CertificateExpired)
            }
            Some(principal @ (Principal::Operator(_) | Principal::Service(_))) => {
                Ok(Self::Operator(principal.clone(), peer.serial.clone()))
            }
            Some(_) => Err(Reason::WrongKindOfCaller),
            None => {
                let guest = console.entered.of(headers, clock.monotonic());
                guest.map(Self::Guest).ok_or(Reason::Unauthenticated)
            }
        }
    }

    /// As logs, rates and the audit call them.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Operator(principal, _) => principal.to_string(),
            Self::Guest(guest) => format!("console-link/{}", guest.link.name),
        }
    }

    /// The nodes on which they have what is asked, at this moment.
    ///
    /// # Errors
    /// Why they have it nowhere.
    pub(super) fn scope(&self, console: &FleetConsole, asked: Asked) -> Result<Scope, Reason> {
        match self {
            Self::Operator(principal, serial) => console.gate.callers.scope(principal, serial, asked),
            Self::Guest(guest) => {
                let now = console.gate.clock.monotonic();
                let guest = console.entered.get(guest.key, now).ok_or(Reason::Unauthenticated)?;
                let may = guest.link.role.allows(asked.permission);
                let scope = || Scope::whole(self.name(), asked.permission);
                may.then(scope).ok_or(Reason::PermissionDenied)
            }
        }
    }
}
