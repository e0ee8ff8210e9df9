use std::time::Duration;

use muster_common::{digest::Sha256, join::JoinString};

use super::*;

pub(super) fn identity() -> Identity {
    Identity {
        node: NodeId::generate(),
        trust_domain: "fleet.example".parse().unwrap(),
        certificate_generation: 1,
        trust_bundle_version: 1,
        enrollment_addresses: Vec::new(),
        issuers_pem: String::new(),
        session_addresses: vec!["127.0.0.1:8443".to_owned()],
        not_before: UnixMillis(0),
        not_after: UnixMillis(10_000),
        chain_pem: String::new(),
        key_pem: "secret-key".to_owned().into(),
        roots_pem: String::new(),
    }
}

#[test]
fn the_identity_is_kept_for_its_user_alone_and_forgotten_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    assert_eq!(store.load().unwrap(), None);
    let identity = identity();
    store.save_first(&identity).unwrap();
    assert_eq!(store.load().unwrap(), Some(identity.clone()));
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("identity"), mode("identity/current.json")), (0o700, 0o600));
    store.forget(identity.node).unwrap();
    store.forget(identity.node).unwrap();
    assert_eq!(store.load().unwrap(), None);
}

#[test]
fn the_key_is_not_in_what_is_logged() {
    assert!(!format!("{:?}", identity()).contains("secret-key"));
}

#[test]
fn renewal_comes_at_half_life_and_is_spread() {
    let at = |part| renew_at(UnixMillis(1_000), UnixMillis(11_000), part);
    assert_eq!((at(0.0), at(1.0)), (UnixMillis(6_000), UnixMillis(7_000)));
    assert!(at(0.5) + Duration::from_secs(1) < UnixMillis(11_000));
}

#[tokio::test]
async fn an_enrolled_host_does_not_enroll_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    store.save_first(&identity()).unwrap();
    let join = JoinString {
        addresses: vec!["127.0.0.1:1".to_owned()],
        ca_pin: Sha256::ZERO,
        secret: "x".to_owned(),
    };
    let wish = Wish {
        display_name: String::new(),
        hostname: "h".to_owned(),
        machine_fingerprint: Sha256::ZERO,
        labels: std::collections::BTreeMap::new(),
    };
    let refused = enroll(&store, &join.into(), &wish).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::AlreadyExists));
}

#[tokio::test]
async fn an_address_without_listener_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let join = JoinString { addresses: vec![address.clone()], ca_pin: Sha256::ZERO, secret: "x".to_owned() };
    let wish = Wish {
        display_name: String::new(),
        hostname: "h".to_owned(),
        machine_fingerprint: Sha256::ZERO,
        labels: std::collections::BTreeMap::new(),
    };
    let error = enroll(&Store::new(folder.path()), &join.into(), &wish).await.unwrap_err();
    let told = muster_common::error_chain::Chain(&error).to_string();
    assert!(told.contains(&address), "{told}");
}

#[test]
fn what_was_forgotten_is_not_brought_back_and_a_new_identity_is_not_wiped() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let (old, new) = (identity(), identity());
    let renew = |held: &Identity| Ok(Some(Identity { certificate_generation: 2, ..held.clone() }));
    store.save_first(&old).unwrap();
    let mut told = None;
    store.update(old.node, renew, |changed| told = Some(changed)).unwrap();
    assert_eq!(told.map(|changed| changed.certificate_generation), Some(2));
    store.forget(old.node).unwrap();
    let late = store.update(old.node, renew, |_| panic!("nothing changed"));
    assert!(matches!(late, Err(Error::Gone(_))));
    assert_eq!(store.load().unwrap(), None);
    store.save_first(&new).unwrap();
    assert!(matches!(store.update(old.node, renew, |_| ()), Err(Error::Gone(_))));
    store.forget(old.node).unwrap();
    assert_eq!(store.load().unwrap(), Some(new.clone()));
    assert!(matches!(store.save_first(&old), Err(Error::Enrolled(node)) if node == new.node));
}

/// A root, and a control plane that it vouches for.
struct Authority {
    root: CertificateDer<'static>,
    server: Vec<CertificateDer<'static>>,
    member: Identity,
}

fn authority() -> Authority {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let issue = |name: String| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        (params.signed_by(&key, &issuer).unwrap().der().clone(), key)
    };
    let held = identity();
    let id = NodeId::generate();
    let (server, _) = issue(format!("spiffe://fleet.example/control-plane/{id}"));
    let (leaf, key) = issue(format!("spiffe://fleet.example/node/{id}"));
    let member = Identity {
        chain_pem: tls::pem::encode_certificates(&[leaf]),
        key_pem: key.serialize_pem().into(),
        roots_pem: tls::pem::encode_certificates(&[root.der().clone()]),
        ..held
    };
    Authority { root: root.der().clone(), server: vec![server], member }
}

#[test]
fn roots_that_are_older_empty_or_would_shut_the_control_plane_out_are_refused() {
    let (ours, theirs) = (authority(), authority());
    let now = muster_common::clock::Clock::System.now();
    let (root, foreign) = (ours.root.to_vec(), theirs.root.to_vec());
    let with = |member: &Identity, version, roots: &[Vec<u8>], server: &[CertificateDer<'_>]| {
        member.with_trust(version, &Roots::of(roots, &[])?, server, now)
    };
    let try_roots = |version, roots: &[Vec<u8>]| with(&ours.member, version, roots, &ours.server);
    let newer = try_roots(2, &[root.clone(), foreign.clone()]).unwrap().unwrap();
    assert_eq!(newer.trust_bundle_version, 2);
    assert_eq!(with(&newer, 2, &[foreign.clone(), root.clone()], &ours.server).unwrap(), None);
    assert!(matches!(with(&newer, 1, std::slice::from_ref(&root), &ours.server), Err(Error::Roots { .. })));
    assert!(matches!(try_roots(1, std::slice::from_ref(&foreign)), Err(Error::Roots { version: 1, .. })));
    assert!(matches!(try_roots(2, &[]), Err(Error::Answer(_))));
    assert!(matches!(try_roots(2, &[foreign]), Err(Error::Tls(tls::Error::Server(_)))));
    assert!(try_roots(2, &[b"no certificate".to_vec()]).is_err());
    assert!(with(&ours.member, 2, &[root], &[]).is_err(), "nobody was seen");
}
