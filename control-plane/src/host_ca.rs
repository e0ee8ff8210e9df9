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
    RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
    anchor_from_trusted_cert,
};
use x509_parser::{
    prelude::{FromDer as _, X509Certificate},
    revocation_list::CertificateRevocationList,
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
pub struct Authorities(Vec<config::HostCa>);

/// An authority said no, or could not say.
enum No {
    /// The certificate is not under it.
    Foreign(webpki::Error),
    /// Whether it is cannot be known now.
    Unknown,
    /// It is, and is no host of this fleet by this section; another one may differ.
    Refused(Error),
    /// It is, and it is revoked, or nobody can say: no other section lets it in.
    Never(Error),
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
        let (mut foreign, mut unknown, mut refused) = (no("chain", "no authority is configured"), None, None);
        let mut passed = None;
        // All of them: whoever says that it is revoked has the last word.
        for authority in &self.0 {
            match judge_under(authority, &leaf, above, now) {
                Ok(labels) => passed = passed.or_else(|| Some((authority.name.clone(), labels))),
                Err(No::Never(error)) => return Err(error),
                Err(No::Refused(error)) => refused = Some(error),
                Err(No::Unknown) => unknown = Some(Error::Unavailable { authority: authority.name.clone() }),
                Err(No::Foreign(error)) => foreign = no("chain", told(&error)),
            }
        }
        // Who knows the certificate has the say; then who may know it.
        let (authority, labels) = passed.ok_or_else(|| refused.or(unknown).unwrap_or(foreign))?;
        let key_sha256 = Sha256::of(&leaf.subject_public_key_info());
        let until = until(leaf_der).ok_or_else(|| no("form", "its end cannot be read"))?;
        Ok(Passed { authority, labels, key_sha256, until })
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

/// The node's labels, if the certificate is one of this authority's hosts.
fn judge_under(
    authority: &config::HostCa,
    leaf: &EndEntityCert<'_>,
    above: &[CertificateDer<'_>],
    now: UnixMillis,
) -> Result<Labels, No> {
    let unreadable = |error: Unusable| {
        let (name, error) = (&authority.name, muster_common::error_chain::Chain(&error).to_string());
        tracing::error!(
            authority = name,
            error,
            "the files of host authority {name} cannot be read: {error}"
        );
    };
    let error = |check, why: String| Error::Certificate { check, why };
    let unknown = |error| {
        unreadable(error);
        No::Unknown
    };
    let roots = pem::certificates(&authority.ca_file).map_err(|error| unknown(error.into()))?;
    let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(|error| unknown(content(&authority.ca_file, error)))?;
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.0).unwrap_or_default()));
    let verify = |revocation| {
        leaf.verify_for_usage(ALGORITHMS.all, &anchors, above, at, KeyUsage::client_auth(), revocation, None)
            .map(drop)
    };
    verify(None).map_err(No::Foreign)?;
    // Before any list is read: those are long, and certificates that are no hosts' are many.
    let name = authority.fits_dns(leaf.valid_dns_names());
    if name.is_none() && !authority.fits_uri(leaf.valid_uri_names()) {
        let why = "none of its names is one of a host of this fleet".to_owned();
        return Err(No::Refused(error("names", why)));
    }
    let labels = labels(authority, name).map_err(|why| No::Refused(error("labels", why)))?;
    if let Some(file) = &authority.crl_file {
        let lists = lists(file).map_err(|error| {
            unreadable(error);
            No::Never(Error::Unavailable { authority: authority.name.clone() })
        })?;
        let lists: Vec<CertRevocationList<'_>> = lists.into_iter().map(Into::into).collect();
        let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
        let refused = |found: webpki::Error| No::Never(error("revocation", told(&found).to_owned()));
        // Each alone: of several lists of one issuer only the first is asked for a certificate.
        for list in &lists {
            let alone =
                revocation(std::slice::from_ref(list), UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore);
            match verify(Some(alone.map_err(refused)?)) {
                // Of another key with the issuer's name; whether that one's list is there is asked below.
                Ok(()) | Err(webpki::Error::InvalidCrlSignatureForPublicKey) => {}
                // Any: of several paths the error is that of one of them, and without the list one was good.
                Err(found) => return Err(refused(found)),
            }
        }
        let all = revocation(&lists, UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce);
        verify(Some(all.map_err(refused)?)).map_err(refused)?;
    }
    Ok(labels)
}

/// The whole chain is looked up. An error if there is no list.
fn revocation<'a>(
    lists: &'a [&'a CertRevocationList<'a>],
    unknown: UnknownStatusPolicy,
    expired: ExpirationPolicy,
) -> Result<RevocationOptions<'a>, webpki::Error> {
    let options = RevocationOptionsBuilder::new(lists).map_err(|_| webpki::Error::UnknownRevocationStatus)?;
    let options = options.with_depth(RevocationCheckDepth::Chain);
    Ok(options.with_status_policy(unknown).with_expiration_policy(expired).build())
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

/// Seconds since 1970. One that nobody can tell is the oldest.
fn made_at(list: &[u8]) -> i64 {
    CertificateRevocationList::from_der(list).map_or(i64::MIN, |(_, list)| list.last_update().timestamp())
}

/// The newest first: that one of an issuer decides whether there is a list that is not too old.
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
        let parsed = OwnedCertRevocationList::from_der(&list).map_err(|source| content(path, source))?;
        Ok::<_, Unusable>((made_at(&list), parsed))
    });
    let mut lists = parsed.collect::<Result<Vec<_>, _>>()?;
    if lists.is_empty() {
        return Err(unreadable("there is no revocation list in it".to_owned()));
    }
    lists.sort_by_key(|(made_at, _)| std::cmp::Reverse(*made_at));
    Ok(lists.into_iter().map(|(_, list)| list).collect())
}

fn content(path: &Path, source: webpki::Error) -> Unusable {
    Unusable::Content { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
