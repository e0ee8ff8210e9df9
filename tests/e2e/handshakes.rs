//! Peers without a certificate, with a foreign one, or with one that names nobody
//! who may call.

use std::{io, net::SocketAddr, sync::Arc};

use muster_common::reason::Reason;
use muster_node_agent::dial;
use muster_proto::{
    admin::v1 as pb,
    agent::v1::{self as agent, session_request::Kind, session_service_client::SessionServiceClient},
};
use muster_tests::{
    eventually::{LONG, eventually},
    operator::{Operator, reason},
    plane::{Options, Plane, TRUST_DOMAIN},
    raw::{RawNode, hello},
};
use rustls::{AlertDescription, ClientConfig, pki_types::ServerName};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tonic::Code;

/// The first byte that the server sends after the handshake, or its refusal: in
/// TLS 1.3 a client learns of that with the first answer only.
async fn first_byte(address: SocketAddr, tls: ClientConfig) -> io::Result<u8> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, stream).await?.read_u8().await
}

/// The alert with which a handshake was refused.
fn alert(answer: io::Result<u8>) -> AlertDescription {
    let error = answer.expect_err("the handshake is refused");
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("{other:?}: {error}"),
    }
}

/// Waits until so many handshakes were refused at a door: the peer may know before we have counted.
async fn counted(plane: &Plane, door: &str, count: u64) {
    let name = format!("muster_handshakes_failed_total{{door=\"{door}\",reason=\"refused\"}}");
    let name = &name;
    eventually("refused handshakes are counted", LONG, || async move {
        let found = plane.metric(name).await;
        assert!(found <= count, "{door}: {found} were counted, {count} were refused");
        (found == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_certificate_of_this_fleet_the_handshake_is_refused_and_counted() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plane = Plane::start(ours.path(), &Options::default()).await;
    let other = Plane::start(theirs.path(), &Options::default()).await;
    let join = plane.join(1, &[]).await;
    let node = RawNode::enroll(&join).await;
    let stranger = RawNode::enroll(&other.join(1, &[]).await).await;
    // The stranger trusts our control plane, but it was enrolled elsewhere.
    let stranger = muster_node_agent::identity::Identity {
        roots_pem: node.identity.roots_pem.clone(),
        issuers_pem: node.identity.issuers_pem.clone(),
        ..stranger.identity.clone()
    };
    let doors = [
        ("agents", plane.addresses().agents, node.identity.client_config().unwrap()),
        ("operators", plane.addresses().operators, plane.operator_tls()),
    ];
    for (door, address, good) in doors {
        assert_eq!(
            alert(first_byte(address, plane.nobody_tls()).await),
            AlertDescription::CertificateRequired,
            "{door}"
        );
        counted(&plane, door, 1).await;
        let foreign = stranger.client_config().unwrap();
        // Both fleets have the same names, so the issuer is found and its signature is wrong.
        assert_eq!(alert(first_byte(address, foreign).await), AlertDescription::DecryptError, "{door}");
        counted(&plane, door, 2).await;
        first_byte(address, good).await.expect("with the right certificate the server speaks");
        counted(&plane, door, 2).await;
    }
}

#[tokio::test]
async fn who_is_certified_and_may_not_call_is_told_why_and_then_cut() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let node = muster_common::ids::NodeId::generate();
    let foreign = (Code::Unauthenticated, Some(Reason::WrongTrustDomain));
    let strangers = [
        (format!("spiffe://other.test/node/{node}"), foreign),
        ("spiffe://other.test/operator/admin".to_owned(), foreign),
        (
            format!("spiffe://{TRUST_DOMAIN}/control-plane/a"),
            (Code::PermissionDenied, Some(Reason::WrongKindOfCaller)),
        ),
        (format!("spiffe://{TRUST_DOMAIN}/king/a"), (Code::Unauthenticated, Some(Reason::Unauthenticated))),
    ];
    let mut open = Vec::new();
    for (uri, expected) in &strangers {
        for address in [plane.addresses().agents, plane.addresses().operators] {
            let tls = Arc::new(plane.tls_named(uri));
            let channel = dial::channel(&address.to_string(), tls).await.unwrap();
            let first = tokio_stream::once(agent::SessionRequest { kind: Some(Kind::Hello(hello())) });
            let session = SessionServiceClient::new(channel.clone()).session(first).await.unwrap_err();
            assert_eq!((session.code(), reason(&session)), *expected, "{uri} at {address}");
            let operator = Operator::over(channel);
            let call = operator.system.clone().get_system(pb::GetSystemRequest {}).await.unwrap_err();
            assert_eq!((call.code(), reason(&call)), *expected, "{uri} at {address}");
            open.push(operator);
        }
    }
    for operator in open {
        eventually("the connection is closed", LONG, || async {
            let call = operator.system.clone().get_system(pb::GetSystemRequest {}).await.unwrap_err();
            reason(&call).is_none().then_some(())
        })
        .await;
    }
    let seen = plane.operator().await.select("").await;
    assert!(seen.is_empty(), "nobody came in: {seen:?}");
}
