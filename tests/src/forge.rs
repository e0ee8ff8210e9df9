//! Certificates that the authority of a control plane would never issue, under
//! that authority: somebody has its issuing key, or it has a flaw.

use std::path::Path;

use muster_common::tls::{Identity, pem};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority in the wrong hands.
#[derive(Debug)]
pub struct Forge {
    issuer: Issuer<'static, KeyPair>,
    chain: Vec<CertificateDer<'static>>,
}

impl Forge {
    /// With the issuing key that lies in this folder.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn new(ca: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(ca.join(name)).expect("an issuing certificate");
        let key = KeyPair::from_pem(&text("issuing.key")).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&text("issuing.crt"), key).expect("an issuer");
        Self { issuer, chain: pem::certificates(&ca.join("issuing.crt")).expect("a certificate") }
    }

    /// A client's certificate with these names, changed as wished.
    ///
    /// # Panics
    /// If there can be no such certificate.
    #[must_use]
    pub fn client(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("a name")));
        params.subject_alt_names = names.collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = new_key();
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        identity([vec![leaf.der().clone()], self.chain.clone()].concat(), &key)
    }

    /// The same under so many authorities more, one below the other.
    ///
    /// # Panics
    /// If there can be no such certificate.
    #[must_use]
    pub fn deep(&self, uri: &str, depth: usize) -> Identity {
        let (mut chain, mut above) = (self.chain.clone(), None::<Issuer<'static, KeyPair>>);
        for n in 0..depth {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {n}"));
            let key = new_key();
            let issuer = above.as_ref().unwrap_or(&self.issuer);
            let certificate = params.clone().signed_by(&key, issuer).expect("a certificate");
            chain.insert(0, certificate.der().clone());
            above = Some(Issuer::new(params, key));
        }
        let lowest = Self { issuer: above.expect("at least one"), chain };
        lowest.client(&[uri], |_| {})
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn identity(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Identity {
    Identity { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())) }
}
