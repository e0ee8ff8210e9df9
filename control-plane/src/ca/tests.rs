use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use muster_common::{
    clock::{Clock, UnixMillis},
    ids::NodeId,
    reason::Reason,
    tls::{self, spiffe},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::*;

fn ca(dir: &Path) -> Ca {
    Ca::create(&dir.join("ca"), &"fleet.example".parse().unwrap(), Clock::System.now()).unwrap()
}

fn bare() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
}

fn request(params: &CertificateParams) -> Vec<u8> {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn verify(ca: &Ca, chain: &[Vec<u8>], at: UnixMillis) -> bool {
    let chain: Vec<CertificateDer<'_>> =
        chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let roots = tls::roots(&ca.trust_bundle().1).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        std::sync::Arc::new(roots),
        tls::provider(),
    )
    .build()
    .unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.0).unwrap()));
    verifier.verify_client_cert(&chain[0], &chain[1..], at).is_ok()
}

#[test]
fn a_nodes_certificate_says_its_name_and_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, node, now) = (ca(dir.path()), NodeId::generate(), Clock::System.now());
    let key = csr::public_key(&request(&bare())).unwrap();
    let issued = ca.issue_node(node, &key, DAY, now).unwrap();
    let leaf = spiffe::read_leaf(&issued.leaf_der).unwrap();
    assert_eq!(leaf.id.to_string(), format!("spiffe://fleet.example/node/{node}"));
    assert_eq!((leaf.serial, issued.key_sha256), (issued.serial, key.sha256()));
    assert!(verify(&ca, &issued.chain_der, now));
    assert!(!verify(&ca, &issued.chain_der, now + DAY + DAY));
}

#[test]
fn no_leaf_outlives_its_issuer() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ca(dir.path());
    let key = csr::public_key(&request(&bare())).unwrap();
    let issued = ca.issue_node(NodeId::generate(), &key, 100 * ROOT_TTL, Clock::System.now()).unwrap();
    assert_eq!(issued.not_after, ca.issuing_until);
}

#[test]
fn a_request_with_names_is_refused() {
    let mut subject = bare();
    subject.distinguished_name.push(DnType::CommonName, "operator/admin");
    let mut name = bare();
    name.subject_alt_names.push(SanType::URI("spiffe://fleet.example/operator/admin".try_into().unwrap()));
    for params in [subject, name] {
        assert_eq!(csr::public_key(&request(&params)).unwrap_err(), Reason::CsrNamesForbidden);
    }
}

#[test]
fn a_request_without_proof_is_refused() {
    let mut forged = request(&bare());
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(csr::public_key(&forged).unwrap_err(), Reason::CsrInvalid);
    assert_eq!(csr::public_key(b"nonsense").unwrap_err(), Reason::CsrInvalid);
    let mut long = request(&bare());
    long.push(0);
    assert_eq!(csr::public_key(&long).unwrap_err(), Reason::CsrInvalid);
}

#[test]
fn an_authority_is_the_same_when_opened_again_and_never_made_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (made, domain) = (ca(dir.path()), "fleet.example".parse().unwrap());
    let path = dir.path().join("ca");
    let opened = Ca::open(&path, &domain).unwrap();
    assert_eq!(made.pin(), opened.pin());
    assert!(matches!(Ca::create(&path, &domain, Clock::System.now()), Err(Error::Exists(_))));
    for (name, mode) in [("root.key", 0o600), ("issuing.key", 0o600), ("", 0o700)] {
        let found = std::fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
}

#[test]
fn keys_that_do_not_belong_to_the_certificate_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let domain = "fleet.example".parse().unwrap();
    ca(dir.path());
    let path = dir.path().join("ca");
    std::fs::copy(path.join("root.key"), path.join("issuing.key")).unwrap();
    assert!(matches!(Ca::open(&path, &domain), Err(Error::Unusable { .. })));
}
