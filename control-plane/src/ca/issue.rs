//! Issuing: what a certificate of each kind says.

use std::{net::IpAddr, time::Duration};

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::NodeId,
    tls::{
        Identity,
        spiffe::{Principal, SpiffeId, TrustDomain},
    },
};
use muster_domain::certificate::{Issued, Leaf};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer as _, X509Certificate},
};

use super::{Ca, Error, ROOT_TTL, csr};

/// Clocks differ: a certificate is valid from a little before it was made.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// An issued certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The leaf.
    pub leaf_der: Vec<u8>,
    /// Leaf first, root not included.
    pub chain_der: Vec<Vec<u8>>,
    /// Slot that issued it.
    pub issuer: u32,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// Begin of validity.
    pub not_before: UnixMillis,
    /// End of validity.
    pub not_after: UnixMillis,
    /// SHA-256 of the public key info.
    pub key_sha256: Vec<u8>,
}

/// The control plane's own certificate, with the chains that its ports show.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    /// For those who know the issuing certificates: nodes.
    pub short: Identity,
    /// With the root, and the way back to roots before it: for hosts that know
    /// a pin or an old root, and for operators.
    pub long: Identity,
}

/// What is read from one of our own certificates.
pub(super) struct Facts {
    pub(super) not_before: UnixMillis,
    pub(super) not_after: UnixMillis,
    pub(super) serial: String,
    pub(super) public_key_sha256: Sha256,
}

pub(super) fn read(der: &[u8]) -> Option<Facts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let at = |time: x509_parser::time::ASN1Time| UnixMillis(time.timestamp().saturating_mul(1000));
    Some(Facts {
        not_before: at(certificate.validity().not_before),
        not_after: at(certificate.validity().not_after),
        serial: hex::encode(certificate.raw_serial()),
        public_key_sha256: Sha256::of(certificate.public_key().raw),
    })
}

pub(super) fn root(
    trust_domain: &TrustDomain,
    number: u32,
    now: UnixMillis,
) -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let params = root_params(trust_domain, number, now, now + ROOT_TTL);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// The same root as seen by those who know only the one before.
pub(super) fn cross(
    trust_domain: &TrustDomain,
    number: u32,
    key: &KeyPair,
    before: &Issuer<'_, KeyPair>,
    lives: (UnixMillis, UnixMillis),
) -> Result<CertificateDer<'static>, Error> {
    let mut params = root_params(trust_domain, number, lives.0, lives.1);
    params.use_authority_key_identifier_extension = true;
    Ok(params.signed_by(key, before)?.der().clone())
}

fn root_params(
    trust_domain: &TrustDomain,
    number: u32,
    from: UnixMillis,
    until: UnixMillis,
) -> CertificateParams {
    let mut params = authority(&format!("Muster root {number} of {trust_domain}"), from, until);
    // No bound on the path: a root of later years may hang under this one.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(super) fn intermediate(
    trust_domain: &TrustDomain,
    number: u32,
    root: &Issuer<'_, KeyPair>,
    lives: (UnixMillis, UnixMillis),
) -> Result<(CertificateDer<'static>, KeyPair), Error> {
    // Each has a name of its own: verifiers look for issuers by name.
    let name = format!("Muster issuing CA {number} of {trust_domain}");
    let mut params = authority(&name, lives.0, lives.1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, root)?;
    Ok((certificate.der().clone(), key))
}

/// A leaf that nobody keeps, to try an issuer.
pub(super) fn probe(
    issuer: &Issuer<'_, impl rcgen::SigningKey>,
    now: UnixMillis,
) -> Result<CertificateDer<'static>, Error> {
    let mut params = validity(now, now + BACKDATE);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params.signed_by(&KeyPair::generate()?, issuer)?.der().clone())
}

pub(super) fn authority(name: &str, now: UnixMillis, until: UnixMillis) -> CertificateParams {
    let mut params = validity(now, until);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(super) fn validity(now: UnixMillis, until: UnixMillis) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = (now - BACKDATE).to_system_time().into();
    params.not_after = until.to_system_time().into();
    params.serial_number = Some(serial());
    params
}

/// Names the key of an issuing certificate; `None`: it says nothing of it.
fn key_id<'a>(issuing: &X509Certificate<'a>) -> Option<&'a [u8]> {
    issuing.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    })
}

/// The same, in the certificates that it issues.
fn authority_key_id<'a>(leaf: &X509Certificate<'a>) -> Option<&'a [u8]> {
    leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    })
}

/// 128 random bits, positive and never shortened.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

impl Ca {
    /// A certificate for a node.
    ///
    /// # Errors
    /// If signing fails.
    pub fn issue_node(
        &self,
        node: NodeId,
        key: &csr::PublicKey,
        ttl: Duration,
        now: UnixMillis,
    ) -> Result<Certificate, Error> {
        let params = self.leaf(Principal::Node(node), ExtendedKeyUsagePurpose::ClientAuth, ttl, now)?;
        self.sign(&params, key.key())
    }

    /// A certificate and its key for an operator or a service.
    ///
    /// # Errors
    /// If signing fails.
    pub fn issue_operator(
        &self,
        principal: Principal,
        ttl: Duration,
        now: UnixMillis,
    ) -> Result<(Certificate, String), Error> {
        let key = KeyPair::generate()?;
        let params = self.leaf(principal, ExtendedKeyUsagePurpose::ClientAuth, ttl, now)?;
        Ok((self.sign(&params, &key)?, key.serialize_pem()))
    }

    /// The control plane's own certificate. The long chain has the root in it: a
    /// host that enrolls knows nothing but the pin of that root.
    ///
    /// # Errors
    /// If signing fails.
    pub fn issue_server(
        &self,
        replica: &str,
        dns: &[String],
        ips: &[IpAddr],
        ttl: Duration,
        now: UnixMillis,
    ) -> Result<ServerIdentity, Error> {
        let key = KeyPair::generate()?;
        let principal = Principal::ControlPlane(replica.to_owned());
        let mut params = self.leaf(principal, ExtendedKeyUsagePurpose::ServerAuth, ttl, now)?;
        for name in dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(ips.iter().map(|ip| SanType::IpAddress(*ip)));
        let certificate = self.sign(&params, &key)?;
        let chain: Vec<CertificateDer<'static>> = certificate.chain_der.into_iter().map(Into::into).collect();
        let mut long = chain.clone();
        let ring = self.ring.load();
        long.push(ring.root.clone());
        // A root may be on the way twice, and need not be sent twice.
        for der in ring.authority.way_back() {
            if !long.iter().any(|sent| sent.as_ref() == der) {
                long.push(CertificateDer::from(der.to_vec()));
            }
        }
        let with = |chain| Identity { chain, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) };
        Ok(ServerIdentity { short: with(chain), long: with(long) })
    }

    /// What is kept of a node's certificate that this authority has issued and of which
    /// nothing was kept. Whoever asks has checked its signature.
    #[must_use]
    pub fn issued_before(&self, leaf_der: &[u8], generation: u64) -> Option<Issued> {
        let (_, leaf) = X509Certificate::from_der(leaf_der).ok()?;
        let is_issuer = |der: &[u8]| {
            let issuing = X509Certificate::from_der(der).ok();
            issuing.is_some_and(|(_, issuing)| key_id(&issuing) == authority_key_id(&leaf))
        };
        let ring = self.ring.load();
        let slot = ring.authority.slots.iter().find(|slot| is_issuer(&slot.issuing_der))?;
        let facts = read(leaf_der)?;
        Some(Issued {
            serial: facts.serial.into(),
            generation,
            issuer: slot.number,
            not_before: facts.not_before,
            not_after: facts.not_after,
            leaf: Some(Box::new(Leaf {
                key_sha256: facts.public_key_sha256.as_bytes().to_vec(),
                der: leaf_der.to_vec(),
            })),
        })
    }

    fn leaf(
        &self,
        principal: Principal,
        usage: ExtendedKeyUsagePurpose,
        ttl: Duration,
        now: UnixMillis,
    ) -> Result<CertificateParams, Error> {
        // A leaf that outlives its issuer would fail without a warning.
        let mut params = validity(now, (now + ttl).min(self.ring.load().issuing_until));
        let id = SpiffeId { trust_domain: self.trust_domain.clone(), principal };
        params.subject_alt_names = vec![SanType::URI(id.to_string().as_str().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<Certificate, Error> {
        let ring = self.ring.load();
        let signed = params.signed_by(key, &ring.issuer)?;
        let leaf_der = signed.der().to_vec();
        let facts = read(&leaf_der).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        Ok(Certificate {
            chain_der: vec![leaf_der.clone(), ring.issuing.to_vec()],
            leaf_der,
            issuer: ring.number,
            serial: facts.serial,
            not_before: facts.not_before,
            not_after: facts.not_after,
            key_sha256: facts.public_key_sha256.as_bytes().to_vec(),
        })
    }
}
