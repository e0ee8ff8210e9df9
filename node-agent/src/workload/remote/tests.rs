use muster_common::ids::NodeId;
use muster_proto::agent::v1 as pb;
use rcgen::CertificateParams;
use tokio::net::TcpListener;

use super::*;

/// One that asks at this address.
pub(in crate::workload) fn remote(address: &str) -> Remote {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    let identity = Identity {
        node: NodeId::generate(),
        trust_domain: "fleet.example".parse().unwrap(),
        certificate_generation: 1,
        trust_bundle_version: 1,
        enrollment_addresses: Vec::new(),
        issuers_pem: String::new(),
        session_addresses: vec![address.to_owned()],
        not_before: UnixMillis(0),
        not_after: UnixMillis(10_000),
        chain_pem: certificate.clone(),
        key_pem: key.serialize_pem().into(),
        roots_pem: certificate,
    };
    Remote::new(watch::Sender::new(identity).subscribe(), InstanceId::generate(), Dialer::default())
}

#[tokio::test]
async fn one_call_at_a_time_goes_to_the_control_plane() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = remote(&listener.local_addr().unwrap().to_string());
    let calls = futures_util::future::join_all((0..3).map(|_| remote.bundles()));
    let serve = async {
        for _ in 0..3 {
            let held = listener.accept().await.unwrap();
            let another = timeout(Duration::from_millis(50), listener.accept()).await;
            assert!(another.is_err(), "a second connection while the first is open");
            drop(held);
        }
    };
    let (ended, ()) = tokio::join!(calls, serve);
    assert!(ended.iter().all(|end| end.as_ref().is_err_and(|trouble| !trouble.is_refusal)));
}

#[test]
fn who_stands_on_the_way_cannot_say_no_for_the_control_plane() {
    let alert = || {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::AccessDenied);
        std::io::Error::other(alert)
    };
    let address = || "cp:8443".to_owned();
    let untrusted = dial::Error::Untrusted { address: address(), source: alert() };
    let broken_off = dial::Error::Handshake { address: address(), source: alert() };
    assert!(!is_refusal(&untrusted.into()) && !is_refusal(&broken_off.into()));
    let said =
        |reason, alert| dial::Refusal { reason, message: String::new(), retry_after: None, alert }.into();
    assert!(is_refusal(&said(Some(Reason::Quarantined), false)));
    assert!(is_refusal(&said(None, true)), "told in the connection, after the handshake");
    assert!(!is_refusal(&said(Some(Reason::Overloaded), false)) && !is_refusal(&said(None, false)));
}

#[test]
fn bundles_that_nobody_can_check_with_are_trouble() {
    let remote = remote("127.0.0.1:1");
    let identity = remote.identity.borrow().clone();
    assert!(bundles(&identity, None).is_err());
    assert!(bundles(&identity, Some(pb::WorkloadBundles::default())).is_err());
}
