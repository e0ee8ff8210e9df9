//! Who this host is: its key, its certificate, the roots it trusts. One file,
//! readable by the agent's user alone, replaced as a whole.

mod enroll;
mod renew;
mod rpc;
mod store;

use muster_common::{
    clock::UnixMillis,
    ids::NodeId,
    reason::Reason,
    tls::{self, spiffe::TrustDomain},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use enroll::{Wish, enroll};
pub use renew::{Keeper, Wanted, renew_at};
pub use rpc::leave;
pub use store::Store;

use crate::dial;

/// The identity of an enrolled host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// For ever.
    pub node: NodeId,
    /// In which it was enrolled.
    pub trust_domain: TrustDomain,
    /// Counts certificates.
    pub certificate_generation: u64,
    /// Counts sets of roots.
    pub trust_bundle_version: u64,
    /// `host:port` for sessions.
    pub session_addresses: Vec<String>,
    /// Begin of the certificate's life.
    pub not_before: UnixMillis,
    /// End of the certificate's life.
    pub not_after: UnixMillis,
    /// Leaf first.
    pub chain_pem: String,
    /// Of the leaf. Wiped from memory when it is no longer needed.
    pub key_pem: Zeroizing<String>,
    /// Roots that the host trusts.
    pub roots_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let generation = self.certificate_generation;
        f.debug_struct("Identity")
            .field("node", &self.node)
            .field("generation", &generation)
            .finish_non_exhaustive()
    }
}

/// Something about the identity did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what was written.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which.
        path: std::path::PathBuf,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// The control plane's root does not have the pin of the join string.
    #[error(
        "CA_PIN_MISMATCH: {address} does not have the root that the join string pins; ask for a new join string, and \
         do not go on if you did not expect this"
    )]
    PinMismatch {
        /// Where.
        address: String,
    },
    /// No connection.
    #[error("cannot connect")]
    Dial(#[from] dial::Error),
    /// The control plane said no.
    #[error(transparent)]
    Refused(#[from] dial::Refusal),
    /// The control plane answered something that cannot be used.
    #[error("the control plane's answer cannot be used: {0}")]
    Answer(&'static str),
    /// The control plane sent roots that must not be put into force.
    #[error("roots of version {version} are refused: {why}")]
    Roots {
        /// Which set.
        version: u64,
        /// What is wrong with them.
        why: &'static str,
    },
    /// Certificates and key do not fit.
    #[error("the identity cannot be used")]
    Tls(#[from] tls::Error),
    /// No key could be made.
    #[error("cannot make a key")]
    Key(#[from] rcgen::Error),
    /// The host has an identity already.
    #[error("this host is node {0} already; disconnect it first")]
    Enrolled(NodeId),
    /// The host is no longer this node.
    #[error("this host is not node {0} any more")]
    Gone(NodeId),
    /// The host has none.
    #[error("this host is not connected to a control plane")]
    None,
}

impl Error {
    /// The stable reason, if there is one.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::PinMismatch { .. } => Some(Reason::CaPinMismatch),
            Self::Refused(refusal) => refusal.reason,
            Self::Enrolled(_) => Some(Reason::AlreadyExists),
            _ => None,
        }
    }
}

impl Identity {
    /// TLS with this identity.
    ///
    /// # Errors
    /// If its parts do not fit each other.
    pub fn client_config(&self) -> Result<ClientConfig, Error> {
        let chain = certificates(&self.chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|_| Error::Answer("no private key"))?;
        let roots = tls::roots(&certificates(&self.roots_pem)?)?;
        Ok(tls::client_config(tls::Identity { chain, key }, roots, self.trust_domain.clone())?)
    }

    /// The same host with other roots. `None`: it has exactly these. `server` is what
    /// the control plane showed in the session that brought them: roots that would
    /// shut it out would shut this host out.
    ///
    /// # Errors
    /// If they are not newer, empty, not certificates, or do not vouch for the server.
    pub fn with_roots(
        &self,
        version: u64,
        roots_der: &[Vec<u8>],
        server: &[CertificateDer<'_>],
        now: UnixMillis,
    ) -> Result<Option<Self>, Error> {
        let refuse = |why| Err(Error::Roots { version, why });
        let roots: Vec<CertificateDer<'static>> =
            roots_der.iter().map(|der| CertificateDer::from(der.clone())).collect();
        if roots.is_empty() {
            return refuse("there are none");
        }
        if version < self.trust_bundle_version {
            return refuse("they are older than those in force");
        }
        if version == self.trust_bundle_version {
            let same = sorted(roots) == sorted(certificates(&self.roots_pem)?);
            return if same { Ok(None) } else { refuse("others have this version") };
        }
        tls::judge_server(server, tls::roots(&roots)?, self.trust_domain.clone(), now)?;
        let changed = Self {
            trust_bundle_version: version,
            roots_pem: tls::pem::encode_certificates(&roots),
            ..self.clone()
        };
        changed.client_config().map(|_| Some(changed))
    }
}

fn sorted(mut certificates: Vec<CertificateDer<'static>>) -> Vec<CertificateDer<'static>> {
    certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    certificates.dedup();
    certificates
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.map_err(|_| Error::Answer("no certificates"))
}

#[cfg(test)]
mod tests;
