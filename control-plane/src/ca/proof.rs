//! Proofs of possession: a challenge that only we can make, signed by a key that
//! we know from a certificate.

use std::time::Duration;

use aws_lc_rs::{
    hmac,
    signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey},
};
use muster_common::{clock::UnixMillis, digest::Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long a challenge is good.
pub const GOOD_FOR: Duration = Duration::from_secs(60);

const STAMP: usize = 8;
const TAG: usize = 32;

/// Makes and checks challenges. Nothing is kept of one that was made.
pub struct Challenges(hmac::Key);

impl Default for Challenges {
    fn default() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()))
    }
}

impl Challenges {
    /// A challenge for somebody who says to be `subject`.
    #[must_use]
    pub fn make(&self, subject: &str, now: UnixMillis) -> Vec<u8> {
        let until = (now + GOOD_FOR).0.to_be_bytes();
        let tag = hmac::sign(&self.0, &bound(&until, subject));
        [until.as_slice(), tag.as_ref()].concat()
    }

    /// Whether we made it for them, less than a minute ago.
    #[must_use]
    pub fn check(&self, challenge: &[u8], subject: &str, now: UnixMillis) -> bool {
        let Some((until, tag)) = challenge.split_at_checked(STAMP) else { return false };
        let Ok(stamp) = <[u8; STAMP]>::try_from(until) else { return false };
        tag.len() == TAG
            && hmac::verify(&self.0, &bound(until, subject), tag).is_ok()
            && now < UnixMillis(i64::from_be_bytes(stamp))
    }
}

fn bound(until: &[u8], subject: &str) -> Vec<u8> {
    [b"muster-challenge-v1\0".as_slice(), until, subject.as_bytes()].concat()
}

/// Whether `signature` over the challenge and the request is by the key of a
/// certificate of ours. ECDSA P-256 only: what our agents have.
#[must_use]
pub fn holds(certificate_der: &[u8], challenge: &[u8], csr_der: &[u8], signature: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate_der) else { return false };
    let point: &[u8] = &certificate.public_key().subject_public_key.data;
    let text = muster_common::proof::recovery(challenge, Sha256::of(csr_der));
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&text, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use rcgen::SigningKey as _;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn a_challenge_is_for_one_and_for_a_minute() {
        let (ours, others) = (Challenges::default(), Challenges::default());
        let challenge = ours.make("node/a", NOW);
        assert!(ours.check(&challenge, "node/a", NOW));
        assert!(ours.check(&challenge, "node/a", NOW + GOOD_FOR - Duration::from_millis(1)));
        assert!(!ours.check(&challenge, "node/a", NOW + GOOD_FOR));
        assert!(!ours.check(&challenge, "node/b", NOW));
        assert!(!others.check(&challenge, "node/a", NOW));
        for length in 0..challenge.len() {
            assert!(!ours.check(&challenge[..length], "node/a", NOW));
        }
        let mut later = challenge;
        later[7] ^= 1;
        assert!(!ours.check(&later, "node/a", NOW));
    }

    #[test]
    fn only_the_holder_of_the_key_can_sign() {
        let (holder, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let certificate = rcgen::CertificateParams::default().self_signed(&holder).unwrap();
        let text = muster_common::proof::recovery(b"challenge", Sha256::of(b"csr"));
        let (good, bad) = (holder.sign(&text).unwrap(), other.sign(&text).unwrap());
        assert!(holds(certificate.der(), b"challenge", b"csr", &good));
        assert!(!holds(certificate.der(), b"challenge", b"csr", &bad));
        assert!(!holds(certificate.der(), b"challenge", b"other", &good));
        assert!(!holds(certificate.der(), b"other", b"csr", &good));
        assert!(!holds(b"nonsense", b"challenge", b"csr", &good));
    }
}
