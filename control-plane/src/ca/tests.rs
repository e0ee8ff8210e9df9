use std::os::unix::fs::PermissionsExt as _;

use muster_common::{
    clock::Clock,
    ids::NodeId,
    reason::Reason,
    tls::{self, spiffe},
};
use muster_domain::authority::{Move, Progress};
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls::pki_types::UnixTime;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn domain() -> TrustDomain {
    "fleet.example".parse().unwrap()
}

fn now() -> UnixMillis {
    Clock::System.now()
}

/// An authority in a folder, with the moves that the store would keep.
struct Lab {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let slot = first(&folder.path().join("ca"), &domain(), now()).unwrap();
        Self { folder, authority: Authority::first(slot) }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("ca")
    }

    fn open(&self) -> Ca {
        Ca::open(&self.dir(), &domain(), self.authority.clone()).unwrap()
    }

    fn go(&mut self, step: Move) {
        self.authority = self.authority.go(step, &Progress::default(), false, now()).unwrap();
    }

    fn prepare(&mut self, scope: Scope) {
        let slot = prepare(&self.dir(), &domain(), &self.authority, scope, now()).unwrap();
        self.authority = self.authority.prepare(slot).unwrap();
    }

    fn rotate(&mut self, scope: Scope) {
        self.prepare(scope);
        self.go(Move::Activate);
        self.go(Move::Retire);
        forget_keys(&self.dir(), &self.authority).unwrap();
    }
}

fn bare() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
}

fn request(params: &CertificateParams) -> Vec<u8> {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn node(ca: &Ca, ttl: Duration) -> Certificate {
    let key = csr::public_key(&request(&bare())).unwrap();
    ca.issue_node(NodeId::generate(), &key, ttl, now()).unwrap()
}

fn accepted(chain: &[Vec<u8>], anchors: &[CertificateDer<'static>], at: UnixMillis) -> bool {
    let chain: Vec<CertificateDer<'_>> =
        chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let verifier = tls::client_verifier(tls::roots(anchors).unwrap()).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.0).unwrap()));
    verifier.verify_client_cert(&chain[0], &chain[1..], at).is_ok()
}

#[test]
fn a_nodes_certificate_says_its_name_and_ends_in_time() {
    let ca = Lab::new().open();
    let (id, now) = (NodeId::generate(), now());
    let key = csr::public_key(&request(&bare())).unwrap();
    let issued = ca.issue_node(id, &key, DAY, now).unwrap();
    let leaf = spiffe::read_leaf(&issued.leaf_der).unwrap();
    assert_eq!(leaf.id.to_string(), format!("spiffe://fleet.example/node/{id}"));
    assert_eq!((leaf.serial, issued.key_sha256), (issued.serial, key.sha256()));
    assert_eq!((issued.issuer, issued.chain_der.len()), (1, 2));
    let bundle = ca.trust_bundle();
    for anchors in [&bundle.roots, &bundle.issuers] {
        assert!(accepted(&issued.chain_der, anchors, now));
        assert!(!accepted(&issued.chain_der, anchors, now + DAY + DAY));
    }
}

#[test]
fn no_leaf_outlives_its_issuer() {
    let lab = Lab::new();
    let issued = node(&lab.open(), 100 * ROOT_TTL);
    assert_eq!(issued.not_after, lab.authority.slots[0].not_after);
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
    let lab = Lab::new();
    assert_eq!(lab.open().pin(), lab.open().pin());
    assert!(matches!(first(&lab.dir(), &domain(), now()), Err(Error::Exists(_))));
    for (name, mode) in [("1/root.key", 0o600), ("1/issuing.key", 0o600), ("1", 0o700), ("", 0o700)] {
        let found = std::fs::metadata(lab.dir().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
}

#[test]
fn keys_that_do_not_belong_to_the_certificate_are_told() {
    let lab = Lab::new();
    std::fs::copy(lab.dir().join("1/root.key"), lab.dir().join("1/issuing.key")).unwrap();
    let refused = Ca::open(&lab.dir(), &domain(), lab.authority);
    assert!(matches!(refused, Err(Error::Unusable { .. })));
}

#[test]
fn what_a_retired_slot_issued_is_worth_nothing_even_under_the_same_root() {
    let mut lab = Lab::new();
    let (old, now) = (node(&lab.open(), DAY), now());
    lab.prepare(Scope::Issuing);
    let ca = lab.open();
    assert_eq!((ca.active(), ca.trust_bundle().issuers.len(), ca.trust_bundle().roots.len()), (1, 2, 1));
    lab.go(Move::Activate);
    let new = node(&lab.open(), DAY);
    assert_eq!(new.issuer, 2);
    for leaf in [&old, &new] {
        assert!(accepted(&leaf.chain_der, &lab.open().trust_bundle().issuers, now));
    }
    assert_eq!(lab.open().chain_for(&old.leaf_der, 1), old.chain_der);
    lab.go(Move::Retire);
    forget_keys(&lab.dir(), &lab.authority).unwrap();
    let issuers = lab.open().trust_bundle().issuers;
    assert!(!accepted(&old.chain_der, &issuers, now) && accepted(&new.chain_der, &issuers, now));
    assert!(!lab.dir().join("1/issuing.key").exists(), "its key is gone");
    assert!(lab.dir().join("1/root.key").exists(), "the root is still in use");
}

#[test]
fn going_back_needs_no_files_that_are_gone() {
    let mut lab = Lab::new();
    lab.prepare(Scope::Root);
    lab.go(Move::Activate);
    forget_keys(&lab.dir(), &lab.authority).unwrap();
    lab.go(Move::Rollback);
    assert_eq!(lab.open().active(), 1);
    lab.go(Move::Rollback);
    forget_keys(&lab.dir(), &lab.authority).unwrap();
    assert_eq!((lab.open().active(), lab.open().trust_bundle().version), (1, 3));
    assert!(!lab.dir().join("2/issuing.key").exists() && !lab.dir().join("2/root.key").exists());
    lab.rotate(Scope::Root);
    assert_eq!(lab.open().active(), 3);
}

#[test]
fn a_host_that_knows_only_the_first_root_believes_the_third() {
    let mut lab = Lab::new();
    let first_root = lab.open().trust_bundle().roots;
    let first_pin = lab.open().pin();
    lab.rotate(Scope::Root);
    lab.rotate(Scope::Issuing);
    lab.rotate(Scope::Root);
    let ca = lab.open();
    assert_ne!(ca.pin(), first_pin);
    assert!(ca.trust_bundle().roots != first_root);
    let server = ca.issue_server("a", &["localhost".to_owned()], &[], DAY, now()).unwrap();
    // As a sleeping host's verifier sees it: its old root, and what the server shows.
    for config in [
        tls::enrollment_client_config(first_pin).unwrap(),
        tls::recovery_client_config(tls::roots(&first_root).unwrap(), domain()).unwrap(),
    ] {
        assert!(shakes_hands(
            config,
            tls::server_config_without_client_certificates(server.long.clone()).unwrap()
        ));
    }
    let short = tls::server_config_without_client_certificates(server.short).unwrap();
    assert!(!shakes_hands(tls::enrollment_client_config(first_pin).unwrap(), short), "without the way back");
}

/// A handshake in memory.
fn shakes_hands(client: rustls::ClientConfig, server: rustls::ServerConfig) -> bool {
    let mut client =
        rustls::ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        if server.read_tls(&mut bytes.as_slice()).is_err() || server.process_new_packets().is_err() {
            return false;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            if client.read_tls(&mut rest).is_err() || client.process_new_packets().is_err() {
                return false;
            }
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return true;
        }
    }
    false
}

#[test]
fn an_authority_of_files_is_taken_if_it_can_issue_and_told_why_not() {
    let (ours, lab) = (Lab::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| ours.dir().join("1").join(name);
    let (chain, key) = (lab.path().join("chain.pem"), at("issuing.key"));
    let text = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    let dir = lab.path().join("ca");
    let take = |key: &Path| from_files(&dir, 1, &chain, key, now());
    let told = |result: Result<muster_domain::authority::Slot, Error>| match result {
        Err(Error::Unusable { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    std::fs::write(&chain, text("issuing.crt")).unwrap();
    assert!(told(take(&key)).contains("its root last"));
    std::fs::write(&chain, text("issuing.crt") + &text("root.crt")).unwrap();
    assert!(told(take(&at("root.key"))).contains("not the key"));
    assert!(!dir.join("1").exists(), "nothing is left of what was refused");
    let slot = take(&key).unwrap();
    assert!(slot.external);
    let ca = Ca::open(&dir, &domain(), Authority::first(slot.clone())).unwrap();
    let issued = node(&ca, DAY);
    assert!(accepted(&issued.chain_der, &ca.trust_bundle().roots, now()));
    // Another root under the same chain; and a leaf in the place of an authority.
    let stranger = Lab::new();
    let other_root = std::fs::read_to_string(stranger.dir().join("1/root.crt")).unwrap();
    std::fs::write(&chain, text("issuing.crt") + &other_root).unwrap();
    assert!(told(take(&key)).contains("would not be accepted"));
    // The root's key is elsewhere: we cannot make a slot under it.
    let refused = prepare(&dir, &domain(), &Authority::first(slot), Scope::Issuing, now());
    assert!(told(refused).contains("root's key is not here"));
}

#[test]
fn a_chain_with_something_in_between_is_taken_under_what_signed_the_issuer() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
    let lab = tempfile::tempdir().unwrap();
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    };
    let root = CertifiedIssuer::self_signed(params("root"), KeyPair::generate().unwrap()).unwrap();
    let policy = CertifiedIssuer::signed_by(params("policy"), KeyPair::generate().unwrap(), &root).unwrap();
    let issuing =
        CertifiedIssuer::signed_by(params("issuing"), KeyPair::generate().unwrap(), &policy).unwrap();
    let (chain, key, dir) = (lab.path().join("chain.pem"), lab.path().join("key.pem"), lab.path().join("ca"));
    std::fs::write(&key, issuing.key().serialize_pem()).unwrap();
    std::fs::write(&chain, issuing.pem() + &policy.pem() + &root.pem()).unwrap();
    let Err(Error::Unusable { what, .. }) = from_files(&dir, 1, &chain, &key, now()) else {
        panic!("what stands between would be sent to nobody")
    };
    assert!(what.contains("signed the first one last"), "{what}");
    std::fs::write(&chain, issuing.pem() + &policy.pem()).unwrap();
    let slot = from_files(&dir, 1, &chain, &key, now()).unwrap();
    let ca = Ca::open(&dir, &domain(), Authority::first(slot)).unwrap();
    assert!(accepted(&node(&ca, DAY).chain_der, &ca.trust_bundle().roots, now()));
}

#[test]
fn one_process_at_a_time_changes_the_authority() {
    let lab = Lab::new();
    let one = alone(&lab.dir()).unwrap();
    assert!(one.is_some() && alone(&lab.dir()).unwrap().is_none());
    drop(one);
    assert!(alone(&lab.dir()).unwrap().is_some());
}

#[test]
fn a_slot_that_cannot_sign_does_not_pass_for_one_that_can() {
    let lab = Lab::new();
    check_active(&lab.dir(), &lab.authority).unwrap();
    std::fs::remove_file(lab.dir().join("1/issuing.key")).unwrap();
    assert!(check_active(&lab.dir(), &lab.authority).is_err());
}
