//! Who this host is: its key, its certificate, the roots it trusts. One file,
//! readable by the agent's user alone, replaced as a whole.

mod enroll;
mod host_certificate;
mod login;
mod patience;
mod recover;
mod rename;
mod renew;
mod rpc;
mod store;

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
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

pub use enroll::{Join, Proof, Wish, enroll, reach};
pub use host_certificate::HostCertificate;
pub use login::{Code as LoginCode, Failed as LoginFailed, Login, MOST as LOGIN_MOST, logins, sign_in};
pub use patience::{Waiting, enroll_when_approved};
pub use rename::rename;
pub use renew::{Keeper, Wanted, renew_at};
pub use rpc::{connect, leave};
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
    /// `host:port` to come back by, when the certificate is of no use any more.
    #[serde(default)]
    pub enrollment_addresses: Vec<String>,
    /// Begin of the certificate's life.
    pub not_before: UnixMillis,
    /// End of the certificate's life.
    pub not_after: UnixMillis,
    /// Leaf first.
    pub chain_pem: String,
    /// Of the leaf. Wiped from memory when it is no longer needed.
    pub key_pem: Zeroizing<String>,
    /// Roots that the host trusts when it comes back.
    pub roots_pem: String,
    /// Issuing certificates that it trusts in sessions; empty: the roots.
    #[serde(default)]
    pub issuers_pem: String,
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
    /// What the host wants in by cannot be shown.
    #[error(transparent)]
    HostCertificate(#[from] host_certificate::Error),
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

    /// Whether this identity, or the trust in the control plane, is of no use any
    /// more: reason to come back by proof of the key.
    #[must_use]
    pub fn is_about_identity(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_about_identity(),
            Self::Refused(refusal) => refusal.is_about_identity(),
            _ => false,
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
        let anchors = if self.issuers_pem.is_empty() { &self.roots_pem } else { &self.issuers_pem };
        let roots = tls::roots(&certificates(anchors)?)?;
        Ok(tls::client_config(tls::Identity { chain, key }, roots, self.trust_domain.clone())?)
    }

    /// TLS without this identity, by the roots that it knows: to come back.
    ///
    /// # Errors
    /// If the roots cannot be used.
    pub fn recovery_config(&self) -> Result<ClientConfig, Error> {
        let roots = tls::roots(&certificates(&self.roots_pem)?)?;
        Ok(tls::recovery_client_config(roots, self.trust_domain.clone())?)
    }

    /// The same host with another trust. `None`: it has exactly this one. `server` is
    /// what the control plane showed in the session that brought it: a trust that
    /// would shut it out would shut this host out.
    ///
    /// # Errors
    /// If it is not newer, empty, no certificates, or does not vouch for the server.
    pub fn with_trust(
        &self,
        version: u64,
        trust: &Roots,
        server: &[CertificateDer<'_>],
        now: UnixMillis,
    ) -> Result<Option<Self>, Error> {
        let refuse = |why| Err(Error::Roots { version, why });
        if version < self.trust_bundle_version {
            return refuse("they are older than those in force");
        }
        let changed = Self {
            trust_bundle_version: version,
            roots_pem: trust.roots_pem.clone(),
            issuers_pem: trust.issuers_pem.clone(),
            ..self.clone()
        };
        if version == self.trust_bundle_version {
            let same = sorted(certificates(&changed.roots_pem)?) == sorted(certificates(&self.roots_pem)?)
                && (self.issuers_pem.is_empty()
                    || sorted(certificates(&changed.issuers_pem)?)
                        == sorted(certificates(&self.issuers_pem)?));
            return if same { Ok(None) } else { refuse("others have this version") };
        }
        tls::judge_server(server, tls::roots(&trust.anchors()?)?, self.trust_domain.clone(), now)?;
        changed.client_config().map(|_| Some(changed))
    }

    /// Whether it is of a control plane whose root has this pin.
    #[must_use]
    pub fn is_under(&self, pin: Sha256) -> bool {
        let roots = certificates(&self.roots_pem).unwrap_or_default();
        roots.iter().any(|root| tls::pin::of_certificate(root) == Some(pin))
    }

    /// Of the certificate, in hex, if it can be read.
    #[must_use]
    pub fn serial(&self) -> Option<String> {
        let leaf = certificates(&self.chain_pem).ok()?.into_iter().next()?;
        tls::spiffe::read_leaf(&leaf).ok().map(|leaf| leaf.serial)
    }

    /// Whether the certificate has run out, by the host's clock.
    #[must_use]
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.not_after <= now
    }
}

/// Whom a control plane says to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    roots_pem: String,
    issuers_pem: String,
}

impl Roots {
    /// As they come over the wire.
    ///
    /// # Errors
    /// If there are no roots.
    pub fn of<B: AsRef<[u8]>>(roots_der: &[B], issuers_der: &[B]) -> Result<Self, Error> {
        let pem = |ders: &[B]| {
            let ders: Vec<CertificateDer<'_>> =
                ders.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
            tls::pem::encode_certificates(&ders)
        };
        if roots_der.is_empty() {
            return Err(Error::Answer("no roots"));
        }
        Ok(Self { roots_pem: pem(roots_der), issuers_pem: pem(issuers_der) })
    }

    fn anchors(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        certificates(if self.issuers_pem.is_empty() { &self.roots_pem } else { &self.issuers_pem })
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
