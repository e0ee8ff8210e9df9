//! Certificates that authorities of others gave to hosts: whether one is a host
//! of this fleet, and whether who shows it has its key.
//!
//! Promises: the key decides about the algorithm; nothing of a certificate counts
//! before the proof of its key does, and no revocation list is read for one that
//! hangs under no trusted authority; files are read anew each time, so that what
//! was replaced is in force at once.
//!
//! Never: a store, a clock of its own, a network.

use std::{io::Read as _, path::Path, sync::LazyLock, time::Duration};

use muster_common::{clock::UnixMillis, digest::Sha256, proof, tls::pem};
use muster_domain::labels::Labels;
use rustls::{
    SignatureScheme,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, UnixTime,
        pem::PemObject as _,
    },
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, anchor_from_trusted_cert,
};

use crate::config;

/// Most certificates that a host may show.
const MAX_CHAIN: usize = 8;
/// Most bytes of one of them.
const MAX_CERTIFICATE: usize = 8 * 1024;
/// Most bytes of an authority's revocation lists.
const MAX_CRL: u64 = 16 * 1024 * 1024;

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
    /// Of the certificate's public key info.
    pub key_sha256: Sha256,
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
pub struct Authorities(Vec<config::HostCa>);

/// An authority said no, or could not say.
enum No {
    /// The certificate is not under it.
    Foreign(webpki::Error),
    /// It is, and one of the checks says no.
    Refused(Error),
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
                lists(file)?;
            }
        }
        Ok(Self(configured.to_vec()))
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        let leaf = EndEntityCert::try_from(leaf_der).map_err(|error| no("form", &error.to_string()))?;
        let text = proof::enrollment(&shown.challenge, csr);
        if !proof_algorithms()
            .any(|algorithm| leaf.verify_signature(algorithm, &text, &shown.signature).is_ok())
        {
            return Err(Error::Proof);
        }
        let mut why = no("chain", "no authority is configured");
        for authority in &self.0 {
            match judge_under(authority, &leaf, above, now) {
                Ok(labels) => {
                    let key_sha256 = Sha256::of(&leaf.subject_public_key_info());
                    return Ok(Passed { authority: authority.name.clone(), labels, key_sha256 });
                }
                Err(No::Refused(error)) => why = error,
                Err(No::Foreign(error)) if matches!(&why, Error::Certificate { check: "chain", .. }) => {
                    why = no("chain", &error.to_string());
                }
                // Another one knows it, and said why not.
                Err(No::Foreign(_)) => {}
            }
        }
        Err(why)
    }
}

/// The node's labels, if the certificate is one of this authority's hosts.
fn judge_under(
    authority: &config::HostCa,
    leaf: &EndEntityCert<'_>,
    above: &[CertificateDer<'_>],
    now: UnixMillis,
) -> Result<Labels, No> {
    let unavailable = |error: Unusable| {
        let (name, error) = (&authority.name, muster_common::error_chain::Chain(&error).to_string());
        tracing::error!(
            authority = name,
            error,
            "the files of host authority {name} cannot be read: {error}"
        );
        No::Refused(Error::Unavailable { authority: name.clone() })
    };
    let refused = |check, why: String| No::Refused(Error::Certificate { check, why });
    let roots = pem::certificates(&authority.ca_file).map_err(|error| unavailable(error.into()))?;
    let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(|error| unavailable(content(&authority.ca_file, error)))?;
    let algorithms = ALGORITHMS.all;
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.0).unwrap_or_default()));
    let verify = |revocation| {
        leaf.verify_for_usage(algorithms, &anchors, above, at, KeyUsage::client_auth(), revocation, None)
            .map(drop)
    };
    verify(None).map_err(No::Foreign)?;
    if let Some(file) = &authority.crl_file {
        let lists = lists(file).map_err(unavailable)?;
        let lists: Vec<CertRevocationList<'_>> = lists.into_iter().map(Into::into).collect();
        let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
        let no_list = || {
            unavailable(Unusable::Lists { path: file.display().to_string(), why: "it has none".to_owned() })
        };
        let options = RevocationOptionsBuilder::new(&lists).map_err(|_| no_list())?;
        let options = options
            .with_depth(RevocationCheckDepth::EndEntity)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        verify(Some(options)).map_err(|error| refused("revocation", error.to_string()))?;
    }
    let name = authority.fits_dns(leaf.valid_dns_names());
    if name.is_none() && !authority.fits_uri(leaf.valid_uri_names()) {
        return Err(refused("names", "none of its names is one of a host of this fleet".to_owned()));
    }
    labels(authority, name).map_err(|why| refused("labels", why))
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

/// As in TLS 1.3: one for each kind of key.
const PROOF_SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

fn proof_algorithms() -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> {
    let of = |scheme: &SignatureScheme| {
        ALGORITHMS
            .mapping
            .iter()
            .find(|(known, _)| known == scheme)
            .map_or(&[][..], |(_, algorithms)| algorithms)
    };
    // The first of each is the one for the curve or padding that TLS 1.3 asks for.
    PROOF_SCHEMES.iter().filter_map(move |scheme| of(scheme).first().copied())
}

fn lists(path: &Path) -> Result<Vec<OwnedCertRevocationList>, Unusable> {
    let unreadable = |why: String| Unusable::Lists { path: path.display().to_string(), why };
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let read =
        file.take(MAX_CRL + 1).read_to_end(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if read as u64 > MAX_CRL {
        return Err(unreadable(format!("it is longer than {MAX_CRL} bytes")));
    }
    let parsed = CertificateRevocationListDer::pem_slice_iter(&text).map(|list| {
        let list = list.map_err(|error| unreadable(error.to_string()))?;
        OwnedCertRevocationList::from_der(&list).map_err(|source| content(path, source))
    });
    let lists = parsed.collect::<Result<Vec<_>, _>>()?;
    if lists.is_empty() {
        return Err(unreadable("there is no revocation list in it".to_owned()));
    }
    Ok(lists)
}

fn content(path: &Path, source: webpki::Error) -> Unusable {
    Unusable::Content { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
