//! The key that signs checkpoints of the audit, and the public halves that
//! check them. It is no key of the authority: no certificate comes from it, and
//! losing it harms no host.

use std::path::Path;

use muster_common::{digest::Sha256, tls::pem};
use muster_domain::audit::{Checkpoint, checkpoint::BadSignature};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SigningKey as _};
use rustls::{
    SignatureScheme,
    crypto::aws_lc_rs,
    pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, alg_id, pem::PemObject as _},
};
use x509_parser::{prelude::FromDer as _, x509::SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use super::{Error, files};

const KEY: &str = "audit.key";
/// Name of the file with the public half, beside the authority's.
pub const PUBLIC: &str = "audit.pub";

/// Signs.
pub struct AuditKey {
    pair: KeyPair,
    id: Sha256,
}

/// Checks signatures of any of some keys.
#[derive(Debug, Clone, Default)]
pub struct AuditKeys(Vec<Public>);

#[derive(Debug, Clone)]
struct Public {
    id: Sha256,
    /// The point on the curve.
    point: Vec<u8>,
}

impl AuditKey {
    /// The key of a folder; made if there is none.
    ///
    /// # Errors
    /// If files cannot be read or written, or do not fit each other.
    pub fn open_or_create(dir: &Path) -> Result<Self, Error> {
        let (key, public) = (dir.join(KEY), dir.join(PUBLIC));
        if !key.exists() {
            if public.exists() {
                // A new key over the old name would leave what was signed without its key.
                return Err(Error::Unusable {
                    path: public,
                    what: "its audit.key is missing: bring that back, or move audit.pub away and keep it; \
                           then a new key is made",
                });
            }
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            files::folder(dir)?;
            files::secret(&key, &Zeroizing::new(pair.serialize_pem()))?;
        }
        let unusable = |what| Error::Unusable { path: key.clone(), what };
        let text = std::fs::read_to_string(&key)
            .map(Zeroizing::new)
            .map_err(|source| pem::Error::Read { path: key.clone(), source })?;
        let pair = KeyPair::from_pem(&text).map_err(|_| unusable("it is not a private key"))?;
        if !pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(unusable("it is not a key on P-256"));
        }
        let id = Sha256::of(&pair.subject_public_key_info());
        if public.exists() {
            if !AuditKeys::read(&public)?.0.iter().any(|public| public.id == id) {
                return Err(Error::Unusable { path: public, what: "it does not hold the key of audit.key" });
            }
        } else {
            files::public(&public, &pair.public_key_pem())?;
        }
        Ok(Self { pair, id })
    }

    /// Names the key: SHA-256 of its public key info.
    #[must_use]
    pub const fn id(&self) -> Sha256 {
        self.id
    }

    /// The public half, as `audit.pub` has it.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// Puts the signature on a checkpoint.
    ///
    /// # Errors
    /// If signing fails.
    pub fn sign(&self, checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
        let named = Checkpoint { key_id: self.id, ..checkpoint };
        let signature = self.pair.sign(&named.signed_bytes())?;
        Ok(Checkpoint { signature, ..named })
    }
}

impl AuditKeys {
    /// All public keys of a file.
    ///
    /// # Errors
    /// If it cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read(path).map_err(|source| pem::Error::Read { path: path.to_owned(), source })?;
        let none = || Error::Unusable { path: path.to_owned(), what: "it holds no public keys on P-256" };
        let keys = SubjectPublicKeyInfoDer::pem_slice_iter(&text).map(|der| {
            let der = der.map_err(|_| none())?;
            let point = point(&der).ok_or_else(none)?;
            Ok(Public { id: Sha256::of(&der), point })
        });
        let keys = keys.collect::<Result<Vec<_>, Error>>()?;
        if keys.is_empty() { Err(none()) } else { Ok(Self(keys)) }
    }

    /// The public half of a key.
    #[must_use]
    pub fn of(key: &AuditKey) -> Self {
        let point = point(&key.pair.subject_public_key_info());
        Self(point.map(|point| Public { id: key.id, point }).into_iter().collect())
    }

    /// Whether a signature holds.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<(), BadSignature> {
        let is_named = |key: &&Public| key.id == checkpoint.key_id;
        let key = self.0.iter().find(is_named).ok_or(BadSignature::UnknownKey)?;
        let algorithm = algorithm().ok_or(BadSignature::UnknownKey)?;
        let (bytes, signature) = (checkpoint.signed_bytes(), &checkpoint.signature);
        algorithm.verify_signature(&key.point, &bytes, signature).map_err(|_| BadSignature::Wrong)
    }
}

/// The point on the curve of a public key info. `None`: it is not one on P-256.
pub(super) fn point(public_key_info: &[u8]) -> Option<Vec<u8>> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(public_key_info).ok()?;
    let bytes = info.subject_public_key.data.to_vec();
    // 0x04 and two coordinates of 32 bytes.
    (rest.is_empty() && bytes.len() == 65 && bytes[0] == 4).then_some(bytes)
}

fn algorithm() -> Option<&'static dyn SignatureVerificationAlgorithm> {
    let provider = aws_lc_rs::default_provider();
    let known = provider.signature_verification_algorithms.mapping;
    let (_, of_scheme) =
        known.iter().find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256)?;
    of_scheme.iter().copied().find(|algorithm| algorithm.public_key_alg_id() == alg_id::ECDSA_P256)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use muster_common::clock::UnixMillis;

    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            trust_domain: "fleet.test".into(),
            replica: "a".into(),
            seq: 7,
            hash: Sha256::of(b"entry"),
            at: UnixMillis(5),
            key_id: Sha256::ZERO,
            signature: Vec::new(),
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_signs() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("ca");
        let key = AuditKey::open_or_create(&dir).unwrap();
        assert_eq!(std::fs::metadata(dir.join(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        let again = AuditKey::open_or_create(&dir).unwrap();
        assert_eq!(key.id(), again.id());
        let signed = again.sign(checkpoint()).unwrap();
        let keys = AuditKeys::read(&dir.join(PUBLIC)).unwrap();
        assert_eq!(keys.check(&signed), Ok(()));
        assert_eq!(AuditKeys::of(&key).check(&signed), Ok(()));
    }

    #[test]
    fn a_signature_holds_for_its_bytes_and_its_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = AuditKey::open_or_create(&folder.path().join("a")).unwrap();
        let other = AuditKey::open_or_create(&folder.path().join("b")).unwrap();
        let (keys, others) = (AuditKeys::of(&key), AuditKeys::of(&other));
        let signed = key.sign(checkpoint()).unwrap();
        assert_eq!(others.check(&signed), Err(BadSignature::UnknownKey));
        let changed = Checkpoint { seq: 8, ..signed.clone() };
        assert_eq!(keys.check(&changed), Err(BadSignature::Wrong));
        let renamed = Checkpoint { key_id: other.id(), ..signed.clone() };
        assert_eq!(others.check(&renamed), Err(BadSignature::Wrong), "the name of a key is signed, too");
        for signature in [Vec::new(), vec![0; 64], signed.signature[1..].to_vec()] {
            assert_eq!(keys.check(&Checkpoint { signature, ..signed.clone() }), Err(BadSignature::Wrong));
        }
        let both = folder.path().join("both.pub");
        std::fs::write(&both, key.public_pem() + &other.public_pem()).unwrap();
        let both = AuditKeys::read(&both).unwrap();
        assert_eq!(both.check(&other.sign(checkpoint()).unwrap()), Ok(()), "a file can hold several");
        assert_eq!(AuditKeys::default().check(&signed), Err(BadSignature::UnknownKey));
    }

    #[test]
    fn a_lost_key_is_not_replaced_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let key = AuditKey::open_or_create(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join(PUBLIC)).unwrap();
        assert_eq!(
            AuditKey::open_or_create(folder.path()).unwrap().id(),
            key.id(),
            "the public half is made again"
        );
        std::fs::remove_file(folder.path().join(KEY)).unwrap();
        let refused = AuditKey::open_or_create(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("audit.key is missing"), "{refused}");
        std::fs::remove_file(folder.path().join(PUBLIC)).unwrap();
        let other = AuditKey::open_or_create(&folder.path().join("other")).unwrap();
        AuditKey::open_or_create(folder.path()).unwrap();
        std::fs::write(folder.path().join(PUBLIC), other.public_pem()).unwrap();
        assert!(AuditKey::open_or_create(folder.path()).is_err(), "halves of two keys");
        std::fs::write(folder.path().join(PUBLIC), "nothing").unwrap();
        assert!(AuditKeys::read(&folder.path().join(PUBLIC)).is_err());
    }
}
