//! What the control plane gave for one program, and whom programs trust.

use std::time::Duration;

use muster_common::{
    clock::UnixMillis,
    tls::{self, spiffe::TrustDomain, workload::WorkloadId},
};
use rand::RngExt as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::jwt::Keys;

/// Between two renewals at least, whatever the clock of this host says.
const LEAST: Duration = Duration::from_secs(2);

/// A certificate and its key.
#[derive(Clone)]
pub(super) struct Svid {
    /// Its name.
    pub(super) id: WorkloadId,
    /// Leaf first.
    pub(super) chain_der: Vec<Vec<u8>>,
    /// PKCS #8.
    pub(super) key_der: Zeroizing<Vec<u8>>,
    /// End of validity.
    pub(super) not_after: UnixMillis,
    /// When it is to be renewed.
    pub(super) renew_at: UnixMillis,
}

/// By what certificates and tokens are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bundles {
    /// Under which all names stand.
    pub(super) trust_domain: TrustDomain,
    /// Roots of certificates.
    pub(super) x509_der: Vec<Vec<u8>>,
    /// Keys of tokens, as they came.
    pub(super) jwks: String,
    /// The same, read.
    pub(super) keys: Keys,
    /// When to ask again.
    pub(super) refresh_after: Duration,
}

impl std::fmt::Debug for Svid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Svid {
    /// Takes what was given for a key and a name. `None`: it is not what was asked for.
    pub(super) fn take(
        id: WorkloadId,
        chain_der: Vec<Vec<u8>>,
        key_der: Zeroizing<Vec<u8>>,
        public_key: &[u8],
        now: UnixMillis,
    ) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(chain_der.first()?).ok()?;
        let names = &leaf.subject_alternative_name().ok()??.value.general_names;
        let wanted = id.to_string();
        let is_ours = matches!(&names[..], [GeneralName::URI(uri)] if *uri == wanted);
        if !is_ours || leaf.public_key().raw != public_key {
            return None;
        }
        let not_after = UnixMillis(leaf.validity().not_after.timestamp().saturating_mul(1000));
        // Spread, so that a fleet that started together does not come together for ever.
        let part = rand::rng().random_range(0.4..=0.55);
        let renew_at = renew_at(not_after, now, part);
        Some(Self { id, chain_der, key_der, not_after, renew_at })
    }

    /// Whether a root of these signed it. Asked for a moment of its life, whatever the clock
    /// of this host says.
    pub(super) fn is_trusted_by(&self, bundles: &Bundles) -> bool {
        let roots: Vec<_> = bundles.x509_der.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let verifier = tls::roots(&roots).and_then(tls::client_verifier);
        let chain: Vec<_> = self.chain_der.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let at = u64::try_from(self.not_after.0 / 1000 - 1).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        match (verifier, chain.split_first()) {
            (Ok(verifier), Some((leaf, rest))) => verifier.verify_client_cert(leaf, rest, at).is_ok(),
            _ => false,
        }
    }

    /// Whether it can still be shown to others.
    pub(super) fn is_valid(&self, now: UnixMillis) -> bool {
        now < self.not_after
    }
}

/// After a part of what is left. On a host whose clock is ahead that is little, or nothing.
fn renew_at(not_after: UnixMillis, now: UnixMillis, part: f64) -> UnixMillis {
    now + not_after.since(now).mul_f64(part).max(LEAST)
}

impl Bundles {
    /// Whether everything that this one trusts is trusted by the other one, too.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.x509_der.iter().all(|der| other.x509_der.contains(der))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_comes_at_half_of_what_is_left_and_never_at_once() {
        let hour = 3_600_000;
        let wait = |now| renew_at(UnixMillis(hour), UnixMillis(now), 0.5).0 - now;
        assert_eq!((wait(0), wait(hour / 2)), (hour / 2, hour / 4));
        assert_eq!((wait(hour - 1), wait(hour), wait(9 * hour)), (2_000, 2_000, 2_000), "the clock is ahead");
    }
}
