//! The folders of slots: making them, opening them, taking their keys away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    tls::{self, pem, spiffe::TrustDomain},
};
use muster_domain::authority::{Authority, Slot, Standing};
use rcgen::{Issuer, KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, UnixTime};
use zeroize::Zeroizing;

use super::{Error, ISSUING_TTL, files, issue};

/// What is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The issuing certificate, under the root that is there.
    Issuing,
    /// A root, and an issuing certificate under it.
    Root,
}

/// A slot whose files were read.
pub(super) struct Opened {
    pub(super) root: CertificateDer<'static>,
    pub(super) issuing: CertificateDer<'static>,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

/// The folder of a slot.
pub(super) fn folder(dir: &Path, number: u32) -> PathBuf {
    dir.join(number.to_string())
}

/// Makes the first slot of a new authority.
///
/// # Errors
/// If one is there already, or files cannot be written.
pub fn first(dir: &Path, trust_domain: &TrustDomain, now: UnixMillis) -> Result<Slot, Error> {
    let path = folder(dir, 1);
    if path.exists() {
        return Err(Error::Exists(path));
    }
    files::folder(dir)?;
    let root = issue::root(trust_domain, 1, now)?;
    let root_der = root.der().clone();
    write_root(&path, &root_der, root.key(), None)?;
    let issuing = issue::intermediate(trust_domain, 1, &root, (now, now + ISSUING_TTL))?;
    finish(&path, 1, 1, (root_der, None), issuing, now)
}

/// Makes the slot that is to come, with files of its own; whatever was left of an
/// attempt with its number is replaced.
///
/// # Errors
/// If the root's key is not there, or files cannot be written.
pub fn prepare(
    dir: &Path,
    trust_domain: &TrustDomain,
    authority: &Authority,
    scope: Scope,
    now: UnixMillis,
) -> Result<Slot, Error> {
    let active = authority.at(Standing::Active).ok_or(Error::None)?;
    let number = authority.next_number();
    let path = folder(dir, number);
    let before = root_issuer(dir, active)?;
    let before_until = until(&active.root_der);
    match scope {
        Scope::Issuing => {
            let lives = (now, (now + ISSUING_TTL).min(before_until));
            let issuing = issue::intermediate(trust_domain, number, &before, lives)?;
            files::folder(&path)?;
            let root = CertificateDer::from(active.root_der.clone());
            files::public(&path.join("root.crt"), &pem::encode_certificates([&root]))?;
            finish(&path, number, active.root_of, (root, None), issuing, now)
        }
        Scope::Root => {
            let root = issue::root(trust_domain, number, now)?;
            let lives = (now, until(root.der()).min(before_until));
            let cross = issue::cross(trust_domain, number, root.key(), &before, lives)?;
            let root_der = root.der().clone();
            write_root(&path, &root_der, root.key(), Some(&cross))?;
            let issuing = issue::intermediate(trust_domain, number, &root, (now, now + ISSUING_TTL))?;
            finish(&path, number, number, (root_der, Some(cross)), issuing, now)
        }
    }
}

/// Takes a chain and a key that another authority made: the issuing certificate
/// first, its root last. They are copied into the slot's folder.
///
/// # Errors
/// If the files do not fit each other, or cannot be an issuing authority now.
pub fn from_files(dir: &Path, number: u32, chain: &Path, key: &Path, now: UnixMillis) -> Result<Slot, Error> {
    let certificates = pem::certificates(chain)?;
    let unusable = |what| Error::Unusable { path: chain.to_owned(), what };
    let (Some(issuing), Some(root)) = (certificates.first(), certificates.last()) else {
        return Err(unusable("it holds no certificate"));
    };
    if certificates.len() < 2 {
        return Err(unusable("it must hold the issuing certificate first and its root last"));
    }
    let pair = KeyPair::from_pem(&read_text(key)?)
        .map_err(|_| Error::Unusable { path: key.to_owned(), what: "it is not a private key" })?;
    let facts = issue::read(issuing).ok_or_else(|| unusable("the first is not a certificate"))?;
    if facts.public_key_sha256 != Sha256::of(&pair.subject_public_key_info()) {
        return Err(Error::Unusable {
            path: key.to_owned(),
            what: "it is not the key of the chain's first certificate",
        });
    }
    check_chain(issuing, root, &pair, now)?.map_err(unusable)?;
    let path = folder(dir, number);
    files::folder(dir)?;
    files::folder(&path)?;
    files::public(&path.join("root.crt"), &pem::encode_certificates([root]))?;
    let slot = finish(&path, number, number, (root.clone(), None), (issuing.clone(), pair), now)?;
    Ok(Slot { external: true, ..slot })
}

/// Opens a slot that is to sign.
pub(super) fn open(dir: &Path, slot: &Slot) -> Result<Opened, Error> {
    let path = folder(dir, slot.number);
    let (issuing, file) = one(&path.join("issuing.crt"))?;
    let unusable = |what| Error::Unusable { path: file.clone(), what };
    if issuing.as_ref() != slot.issuing_der {
        return Err(unusable("it is not the certificate that the store knows"));
    }
    let key_path = path.join("issuing.key");
    let key = KeyPair::from_pem(&read_text(&key_path)?)
        .map_err(|_| Error::Unusable { path: key_path.clone(), what: "it is not a private key" })?;
    let facts = issue::read(&issuing).ok_or_else(|| unusable("it is not a certificate"))?;
    if facts.public_key_sha256 != Sha256::of(&key.subject_public_key_info()) {
        return Err(unusable("its key is another one than issuing.key"));
    }
    let issuer = Issuer::from_ca_cert_der(&issuing, key)?;
    Ok(Opened { root: CertificateDer::from(slot.root_der.clone()), issuing, issuer })
}

/// Whether the key of a slot's issuing certificate is here, and is its.
#[must_use]
pub fn has_key(dir: &Path, slot: &Slot) -> bool {
    open(dir, slot).is_ok()
}

/// That key. `None`: it is not here.
///
/// # Errors
/// From the file system.
pub fn key_of(dir: &Path, slot: &Slot) -> Result<Option<Zeroizing<String>>, Error> {
    if !has_key(dir, slot) {
        return Ok(None);
    }
    read_text(&folder(dir, slot.number).join("issuing.key")).map(|text| Some(Zeroizing::new(text)))
}

/// Puts down what [`key_of`] has answered elsewhere, with the slot's certificates.
///
/// # Errors
/// If it is something else, or files cannot be written.
pub fn put_key(dir: &Path, slot: &Slot, key: &[u8]) -> Result<(), Error> {
    let path = folder(dir, slot.number);
    let what = "what the store has for it is not its key";
    let wrong = || Error::Unusable { path: path.clone(), what };
    let text = std::str::from_utf8(key).map_err(|_| wrong())?;
    let pair = KeyPair::from_pem(text).map_err(|_| wrong())?;
    let facts = issue::read(&slot.issuing_der).ok_or_else(wrong)?;
    if facts.public_key_sha256 != Sha256::of(&pair.subject_public_key_info()) {
        return Err(wrong());
    }
    files::folder(&path)?;
    files::secret(&path.join("issuing.key"), text)?;
    for (name, der) in [("root.crt", &slot.root_der), ("issuing.crt", &slot.issuing_der)] {
        let certificate = CertificateDer::from(der.clone());
        files::public(&path.join(name), &pem::encode_certificates([&certificate]))?;
    }
    Ok(())
}

/// Whether the slot that issues can: its files are there and fit.
///
/// # Errors
/// If not.
pub fn check_active(dir: &Path, authority: &Authority) -> Result<(), Error> {
    open(dir, authority.at(Standing::Active).ok_or(Error::None)?).map(drop)
}

/// Removes the keys of slots that will not sign again. A root's key stays while
/// a trusted slot is under that root, and until its successor is signed by it.
///
/// # Errors
/// From the file system.
pub fn forget_keys(dir: &Path, authority: &Authority) -> Result<(), Error> {
    for slot in authority.slots.iter().filter(|slot| !slot.standing.is_trusted()) {
        let path = folder(dir, slot.number);
        files::remove(&path.join("issuing.key"))?;
        if !authority.trusted().any(|other| other.root_of == slot.number) {
            files::remove(&path.join("root.key"))?;
        }
    }
    Ok(())
}

fn write_root(
    path: &Path,
    root: &CertificateDer<'_>,
    key: &KeyPair,
    cross: Option<&CertificateDer<'_>>,
) -> Result<(), Error> {
    files::folder(path)?;
    files::secret(&path.join("root.key"), &key.serialize_pem())?;
    files::public(&path.join("root.crt"), &pem::encode_certificates([root]))?;
    match cross {
        Some(cross) => files::public(&path.join("cross.crt"), &pem::encode_certificates([cross])),
        None => Ok(()),
    }
}

fn finish(
    path: &Path,
    number: u32,
    root_of: u32,
    (root, cross): (CertificateDer<'static>, Option<CertificateDer<'static>>),
    (issuing, key): (CertificateDer<'static>, KeyPair),
    now: UnixMillis,
) -> Result<Slot, Error> {
    files::secret(&path.join("issuing.key"), &key.serialize_pem())?;
    files::public(&path.join("issuing.crt"), &pem::encode_certificates([&issuing]))?;
    Ok(Slot {
        number,
        standing: Standing::Next,
        root_of,
        root_der: root.to_vec(),
        not_after: until(&issuing),
        issuing_der: issuing.to_vec(),
        cross_der: cross.map(|der| der.to_vec()),
        external: false,
        created_at: now,
        changed_at: now,
    })
}

fn root_issuer(dir: &Path, slot: &Slot) -> Result<Issuer<'static, KeyPair>, Error> {
    let path = folder(dir, slot.root_of).join("root.key");
    if slot.external || !path.exists() {
        return Err(Error::Unusable { path, what: "the root's key is not here; put it back for this step" });
    }
    let key = KeyPair::from_pem(&read_text(&path)?)
        .map_err(|_| Error::Unusable { path: path.clone(), what: "it is not a private key" })?;
    // A move that was refused may have left the key of another root there.
    let of_root = issue::read(&slot.root_der).map(|facts| facts.public_key_sha256);
    if of_root != Some(Sha256::of(&key.subject_public_key_info())) {
        return Err(Error::Unusable { path, what: "it is not the key of this slot's root" });
    }
    Ok(Issuer::from_ca_cert_der(&CertificateDer::from(slot.root_der.clone()), key)?)
}

/// Whether what the first certificate issues now would be accepted under the last,
/// with nothing in between: that is how it is shown. Tried, with a leaf that nobody
/// keeps: that is what counts in the end.
fn check_chain(
    first: &CertificateDer<'static>,
    last: &CertificateDer<'static>,
    key: &KeyPair,
    now: UnixMillis,
) -> Result<Result<(), &'static str>, Error> {
    let issuer = Issuer::from_ca_cert_der(first, key)?;
    let leaf = issue::probe(&issuer, now)?;
    let Ok(roots) = tls::roots(std::slice::from_ref(last)) else { return Ok(Err("the last is not a root")) };
    let Ok(verifier) = tls::client_verifier(roots) else { return Ok(Err("the last is not a root")) };
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.0).unwrap_or(0)));
    Ok(verifier.verify_client_cert(&leaf, std::slice::from_ref(first), at).map(|_| ()).map_err(|_| {
        "what its first certificate issues would not be accepted under its last: not an authority, run out, \
         or not signed by it (put the certificate that signed the first one last)"
    }))
}

fn until(der: &[u8]) -> UnixMillis {
    issue::read(der).map_or(UnixMillis(0), |facts| facts.not_after)
}

fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| pem::Error::Read { path: path.to_owned(), source }.into())
}

fn one(path: &Path) -> Result<(CertificateDer<'static>, PathBuf), Error> {
    let found = pem::certificates(path)?.into_iter().next();
    let found = found.ok_or(Error::Unusable { path: path.to_owned(), what: "it holds no certificate" })?;
    Ok((found, path.to_owned()))
}
