//! The folders of issuers: making them, opening them, taking them away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    tls::{pem, spiffe::TrustDomain},
};
use muster_domain::workload::{Issuer, Issuers as Standings, Standing};
use rcgen::{BasicConstraints, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::jwt;
use crate::ca::{Error, files, issue};

const ISSUING_KEY: &str = "issuing.key";
const JWT_KEY: &str = "jwt.key";
/// With what the text of a key begins, and how long one is at most.
const BEGIN: &str = "-----BEGIN ";
const LONGEST: usize = 512;

/// The keys of the issuer that issues.
pub(super) struct Signing {
    pub(super) issuer: rcgen::Issuer<'static, KeyPair>,
    pub(super) not_after: UnixMillis,
    pub(super) jwt: jwt::Key,
}

fn root(ca_dir: &Path) -> PathBuf {
    ca_dir.join("workload")
}

fn folder(ca_dir: &Path, number: u32) -> PathBuf {
    root(ca_dir).join(number.to_string())
}

/// Makes an issuer with files of its own; whatever was left of an attempt with its number
/// is replaced. It stands as the next one.
///
/// # Errors
/// If files cannot be written.
pub fn make(
    ca_dir: &Path,
    trust_domain: &TrustDomain,
    number: u32,
    life: Duration,
    now: UnixMillis,
) -> Result<Issuer, Error> {
    let (issuing, jwt) = (key()?, key()?);
    let mut params =
        issue::authority(&format!("Muster workload CA {number} of {trust_domain}"), now, now + life);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    // The standard wants the trust domain's own name in it.
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").as_str().try_into()?)];
    let certificate = params.self_signed(&issuing)?;
    let path = folder(ca_dir, number);
    files::folder(&path)?;
    for (name, key) in [(ISSUING_KEY, &issuing), (JWT_KEY, &jwt)] {
        files::secret(&path.join(name), &Zeroizing::new(key.serialize_pem()))?;
    }
    let facts = issue::read(certificate.der()).ok_or(rcgen::Error::CouldNotParseCertificate)?;
    Ok(Issuer {
        number,
        standing: Standing::Next,
        certificate_der: certificate.der().to_vec(),
        jwt_key_der: jwt.subject_public_key_info(),
        not_after: facts.not_after,
        created_at: now,
        changed_at: now,
        secret: None,
    })
}

/// Whether the keys of an issuer are here, and are its.
#[must_use]
pub fn has_keys(ca_dir: &Path, issuer: &Issuer) -> bool {
    open(ca_dir, issuer).is_ok()
}

/// Both keys of an issuer, one text after the other. `None`: they are not here.
///
/// # Errors
/// From the file system.
pub fn keys_of(ca_dir: &Path, number: u32) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let mut both = Zeroizing::new(Vec::with_capacity(2 * LONGEST));
    for name in [ISSUING_KEY, JWT_KEY] {
        let path = folder(ca_dir, number).join(name);
        match fs::read(&path).map(Zeroizing::new) {
            Ok(key) => both.extend_from_slice(&key),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(pem::Error::Read { path, source }.into()),
        }
    }
    Ok(Some(both))
}

/// Puts down what [`keys_of`] has answered elsewhere.
///
/// # Errors
/// If it is something else, or files cannot be written.
pub fn put_keys(ca_dir: &Path, number: u32, keys: &[u8]) -> Result<(), Error> {
    let path = folder(ca_dir, number);
    let what = "what the store has for it is not two keys";
    let wrong = || Error::Unusable { path: path.clone(), what };
    let text = std::str::from_utf8(keys).map_err(|_| wrong())?;
    let second = text.rfind(BEGIN).filter(|at| *at > 0).ok_or_else(wrong)?;
    let (issuing, jwt) = text.split_at(second);
    files::folder(&path)?;
    files::secret(&path.join(ISSUING_KEY), issuing)?;
    files::secret(&path.join(JWT_KEY), jwt)
}

fn key() -> Result<KeyPair, Error> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// Opens the issuer that is to sign.
pub(super) fn open(ca_dir: &Path, issuer: &Issuer) -> Result<Signing, Error> {
    let path = folder(ca_dir, issuer.number);
    let issuing = read(&path.join(ISSUING_KEY))?;
    let facts = issue::read(&issuer.certificate_der)
        .ok_or(Error::Unusable { path: path.clone(), what: "its certificate in the store is none" })?;
    if facts.public_key_sha256 != Sha256::of(&issuing.subject_public_key_info()) {
        return Err(Error::Unusable {
            path: path.join(ISSUING_KEY),
            what: "it is not the key that the store knows",
        });
    }
    let jwt = read(&path.join(JWT_KEY))?;
    if jwt.subject_public_key_info() != issuer.jwt_key_der {
        return Err(Error::Unusable {
            path: path.join(JWT_KEY),
            what: "it is not the key that the store knows",
        });
    }
    let der = CertificateDer::from(issuer.certificate_der.clone());
    Ok(Signing {
        issuer: rcgen::Issuer::from_ca_cert_der(&der, issuing)?,
        not_after: issuer.not_after,
        jwt: jwt::Key::new(&jwt)?,
    })
}

fn read(path: &Path) -> Result<KeyPair, Error> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|source| pem::Error::Read { path: path.to_owned(), source })?;
    KeyPair::from_pem(&text)
        .ok()
        .filter(|pair| pair.is_compatible(&PKCS_ECDSA_P256_SHA256))
        .ok_or(Error::Unusable { path: path.to_owned(), what: "it is not a private key on P-256" })
}

/// Removes the keys of issuers that issue no more, and of those that nobody knows.
///
/// # Errors
/// From the file system.
pub fn forget_keys(ca_dir: &Path, standings: &Standings) -> Result<(), Error> {
    let failed = |source| Error::Write { path: root(ca_dir), source };
    for entry in fs::read_dir(root(ca_dir)).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        let signs = |number| {
            let issuer = standings.all.iter().find(|issuer| issuer.number == number);
            issuer.is_some_and(|issuer| issuer.standing != Standing::Previous)
        };
        // A number beyond the newest may be one that is being made.
        if number.is_some_and(|number| !signs(number) && number <= standings.newest) {
            fs::remove_dir_all(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
    }
    Ok(())
}
