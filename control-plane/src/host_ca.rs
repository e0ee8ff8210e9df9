//! Certificates that authorities of others gave to hosts: whether one is a host
//! of this fleet, and whether who shows it has its key.
//!
//! Promises: the key decides about the algorithm; nothing of a certificate counts
//! before the proof of its key does, and no revocation list is read for one that
//! hangs under no trusted authority; files are read anew each time, so that what
//! was replaced is in force at once.
//!
//! Never: a store, a clock of its own, a network.

mod revocation;

use std::{path::Path, sync::LazyLock, time::Duration};

use muster_common::{clock::UnixMillis, digest::Sha256, proof, tls::pem};
use muster_domain::{labels::Labels, requestable::Requestable};
use rustls::{
    SignatureScheme,
    pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime},
};
use webpki::{EndEntityCert, KeyUsage, RevocationOptions, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config;

/// Most certificates that a host may show.
const MAX_CHAIN: usize = 8;
/// Most bytes of one of them.
const MAX_CERTIFICATE: usize = 8 * 1024;

/// What a host shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Leaf first.
    pub chain_der: Vec<Vec<u8>>,
    /// Ours, of a moment ago; who calls has checked that.
    pub challenge: Vec<u8>,
    /// By the key of the leaf.
    pub signature: Vec<u8>,
}

/// A certificate of a host of this fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Of the authority, in the configuration.
    pub authority: String,
    /// For the node.
    pub labels: Labels,
    /// Labels that the host may ask for.
    pub requestable: Requestable,
    /// Of the certificate's public key info.
    pub key_sha256: Sha256,
    /// End of the certificate.
    pub until: UnixMillis,
}

/// Why a certificate lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One of the checks says no.
    #[error("{check}: {why}")]
    Certificate {
        /// `chain`.
        check: &'static str,
        /// For people; nothing of the certificate's own words.
        why: String,
    },
    /// The key is not its own.
    #[error("the signature is not by the key of the certificate, or came too late")]
    Proof,
    /// The files of an authority cannot be read.
    #[error("the files of authority {authority} cannot be read")]
    Unavailable {
        /// In the configuration.
        authority: String,
    },
}

/// The files of an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its certificates.
    #[error(transparent)]
    Certificates(#[from] pem::Error),
    /// A certificate or list in them.
    #[error("{path}: {source}")]
    Content {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: webpki::Error,
    },
    /// Its lists cannot be read.
    #[error("cannot read {path}: {why}")]
    Lists {
        /// Where.
        path: String,
        /// Why.
        why: String,
    },
}

/// All authorities that are trusted.
pub struct Authorities(Vec<Authority>);

struct Authority {
    config: config::HostCa,
    requestable: Requestable,
}

/// No authority of the certificate.
enum No {
    /// It is not under it.
    Foreign(webpki::Error),
    /// Whether it is cannot be known now.
    Unknown,
}

/// What is judged.
struct Asked<'a> {
    leaf: EndEntityCert<'a>,
    above: &'a [CertificateDer<'a>],
    at: UnixTime,
}

/// An authority of the certificate.
struct Under<'a> {
    authority: &'a Authority,
    roots: Vec<CertificateDer<'static>>,
    /// The node's, or why it is no host of this fleet by this section; another one may differ.
    labels: Result<Labels, Error>,
}

impl Authorities {
    /// As configured.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn new(configured: &[config::HostCa]) -> Result<Self, Unusable> {
        for authority in configured {
            for certificate in pem::certificates(&authority.ca_file)? {
                anchor_from_trusted_cert(&certificate)
                    .map_err(|source| content(&authority.ca_file, source))?;
            }
            if let Some(file) = &authority.crl_file {
                revocation::lists(file)?;
            }
        }
        let authority = |config: &config::HostCa| {
            let requestable = config::requestable(&config.requestable_labels);
            Authority { config: config.clone(), requestable }
        };
        Ok(Self(configured.iter().map(authority).collect()))
    }

    /// Judges what a host shows together with its request.
    ///
    /// # Errors
    /// Why it lets nobody in.
    pub fn judge(&self, shown: &Shown, csr: Sha256, now: UnixMillis) -> Result<Passed, Error> {
        let no = |check, why: &str| Error::Certificate { check, why: why.to_owned() };
        if shown.chain_der.len() > MAX_CHAIN || shown.chain_der.iter().any(|der| der.len() > MAX_CERTIFICATE)
        {
            return Err(no("size", "a chain has at most 8 certificates of 8 KiB"));
        }
        let chain: Vec<CertificateDer<'_>> =
            shown.chain_der.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let (leaf_der, above) = chain.split_first().ok_or_else(|| no("form", "there is no certificate"))?;
        let leaf = EndEntityCert::try_from(leaf_der).map_err(|_| no("form", "it is not a certificate"))?;
        let text = proof::enrollment(&shown.challenge, csr);
        if !proof_algorithms()
            .any(|algorithm| leaf.verify_signature(algorithm, &text, &shown.signature).is_ok())
        {
            return Err(Error::Proof);
        }
        let at = Duration::from_millis(u64::try_from(now.0).unwrap_or_default());
        let asked = Asked { leaf, above, at: UnixTime::since_unix_epoch(at) };
        let (mut foreign, mut unknown) = (no("chain", "no authority is configured"), None);
        // Whose lists have to be read, and who may say yes.
        let (mut concerned, mut above) = (Vec::new(), Vec::new());
        for authority in &self.0 {
            let judged = asked.judge_under(authority);
            let name = &authority.config.name;
            if !matches!(judged, Err(No::Foreign(_))) {
                concerned.push(name);
            }
            match judged {
                Ok(under) => above.push(under),
                Err(No::Unknown) => unknown = Some(Error::Unavailable { authority: name.clone() }),
                Err(No::Foreign(error)) => foreign = no("chain", told(&error)),
            }
        }
        // Who knows the certificate has the say; then who may know it.
        let refused = above.iter().rev().find_map(|under| under.labels.as_ref().err()).cloned();
        let passed = above.iter().find_map(|under| Some((under.authority, under.labels.as_ref().ok()?)));
        let (authority, labels) = passed.ok_or_else(|| refused.or(unknown).unwrap_or(foreign))?;
        // A list counts whatever section has it, and whatever else that one says: before any
        // is read, because they are long, and certificates that are no hosts' are many.
        for Authority { config: authority, .. } in &self.0 {
            let Some(file) = &authority.crl_file else { continue };
            match revocation::lists(file) {
                Ok(lists) => asked.check_revoked(authority, &above, &lists)?,
                Err(error) => {
                    unreadable(authority, &error);
                    if concerned.contains(&&authority.name) {
                        return Err(Error::Unavailable { authority: authority.name.clone() });
                    }
                }
            }
        }
        let key_sha256 = Sha256::of(&asked.leaf.subject_public_key_info());
        let until = until(leaf_der).ok_or_else(|| no("form", "its end cannot be read"))?;
        let Authority { config, requestable } = authority;
        Ok(Passed {
            authority: config.name.clone(),
            labels: labels.clone(),
            requestable: requestable.clone(),
            key_sha256,
            until,
        })
    }
}

fn until(der: &[u8]) -> Option<UnixMillis> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(UnixMillis(certificate.validity().not_after.timestamp().saturating_mul(1000)))
}

/// In our own words: those of the certificate go to nobody.
fn told(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => "it has run out, or something above it",
        E::CertNotValidYet { .. } => "it is not valid yet, or something above it",
        E::CaUsedAsEndEntity => "it is an authority's",
        E::RequiredEkuNotFoundContext(_) => "it is not for clients",
        E::UnknownIssuer => {
            "no authority that is trusted stands above it, or something in between is missing"
        }
        E::CertRevoked => "it is revoked, or something above it",
        E::CrlExpired { .. } => "the revocation list is too old",
        E::UnknownRevocationStatus => "no revocation list of its issuers is there",
        E::InvalidCrlSignatureForPublicKey => {
            "a revocation list bears the name of one of its issuers and is signed by another key"
        }
        E::IssuerNotCrlSigner => "one of its issuers may not sign revocation lists",
        _ => "it is no chain of good certificates",
    }
}

fn unreadable(authority: &config::HostCa, error: &Unusable) {
    let (name, error) = (&authority.name, muster_common::error_chain::Chain(error).to_string());
    tracing::error!(authority = name, error, "the files of host authority {name} cannot be read: {error}");
}

impl Asked<'_> {
    /// Whether the certificate is one of this authority's hosts, its lists aside.
    fn judge_under<'a>(&self, authority: &'a Authority) -> Result<Under<'a>, No> {
        let config = &authority.config;
        let unknown = |error: Unusable| {
            unreadable(config, &error);
            No::Unknown
        };
        let roots = pem::certificates(&config.ca_file).map_err(|error| unknown(error.into()))?;
        for root in &roots {
            anchor_from_trusted_cert(root).map_err(|source| unknown(content(&config.ca_file, source)))?;
        }
        self.verify(&roots, None).map_err(No::Foreign)?;
        Ok(Under { authority, roots, labels: self.labels(config) })
    }

    fn labels(&self, authority: &config::HostCa) -> Result<Labels, Error> {
        let refused = |check, why: String| Error::Certificate { check, why };
        let name = authority.fits_dns(self.leaf.valid_dns_names());
        if name.is_none() && !authority.fits_uri(self.leaf.valid_uri_names()) {
            return Err(refused("names", "none of its names is one of a host of this fleet".to_owned()));
        }
        labels(authority, name).map_err(|why| refused("labels", why))
    }

    fn verify(
        &self,
        roots: &[CertificateDer<'_>],
        revocation: Option<RevocationOptions<'_>>,
    ) -> Result<(), webpki::Error> {
        let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>()?;
        let (all, usage) = (ALGORITHMS.all, KeyUsage::client_auth());
        self.leaf.verify_for_usage(all, &anchors, self.above, self.at, usage, revocation, None).map(drop)
    }
}

fn labels(authority: &config::HostCa, name: Option<&str>) -> Result<Labels, String> {
    let mut labels = Labels::new();
    if let Some(key) = &authority.name_label {
        let name = name.ok_or("it has no DNS name that fits, which name-label asks for")?;
        labels.insert(key.clone(), name.to_ascii_lowercase());
    }
    labels.extend(authority.static_labels.clone());
    muster_domain::labels::check_labels(&labels).map_err(|error| error.to_string())?;
    Ok(labels)
}

static ALGORITHMS: LazyLock<rustls::crypto::WebPkiSupportedAlgorithms> =
    LazyLock::new(|| muster_common::tls::provider().signature_verification_algorithms);

fn proof_algorithms() -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> {
    let of = |scheme: &SignatureScheme| {
        ALGORITHMS
            .mapping
            .iter()
            .find(|(known, _)| known == scheme)
            .map_or(&[][..], |(_, algorithms)| algorithms)
    };
    // The first of each is the one for the curve or padding that TLS 1.3 asks for.
    proof::SCHEMES.iter().filter_map(move |scheme| of(scheme).first().copied())
}

fn content(path: &Path, source: webpki::Error) -> Unusable {
    Unusable::Content { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
