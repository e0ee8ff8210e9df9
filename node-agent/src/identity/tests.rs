use std::time::Duration;

use muster_common::{digest::Sha256, join::JoinString};

use super::*;

fn identity() -> Identity {
    Identity {
        node: NodeId::generate(),
        trust_domain: "fleet.example".parse().unwrap(),
        certificate_generation: 1,
        trust_bundle_version: 1,
        session_addresses: vec!["127.0.0.1:8443".to_owned()],
        not_before: UnixMillis(0),
        not_after: UnixMillis(10_000),
        chain_pem: String::new(),
        key_pem: "secret-key".to_owned(),
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
    store.save(&identity).unwrap();
    assert_eq!(store.load().unwrap(), Some(identity));
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("identity"), mode("identity/current.json")), (0o700, 0o600));
    store.forget().unwrap();
    store.forget().unwrap();
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
    store.save(&identity()).unwrap();
    let join = JoinString {
        addresses: vec!["127.0.0.1:1".to_owned()],
        ca_pin: Sha256::ZERO,
        secret: "x".to_owned(),
    };
    let wish =
        Wish { display_name: String::new(), hostname: "h".to_owned(), machine_fingerprint: Sha256::ZERO };
    let refused = enroll(&store, &join, &wish).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::AlreadyExists));
}

#[tokio::test]
async fn an_address_without_listener_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let join = JoinString { addresses: vec![address.clone()], ca_pin: Sha256::ZERO, secret: "x".to_owned() };
    let wish =
        Wish { display_name: String::new(), hostname: "h".to_owned(), machine_fingerprint: Sha256::ZERO };
    let error = enroll(&Store::new(folder.path()), &join, &wish).await.unwrap_err();
    let told = muster_common::error_chain::Chain(&error).to_string();
    assert!(told.contains(&address), "{told}");
}
