//! Attacks on identities: stolen, replayed, of the wrong kind, forged. Each has
//! its own refusal and its own number; docs/security.md has the table.

use std::{io, net::SocketAddr, sync::Arc};

use muster_common::{ids::NodeId, reason::Reason, tls::pem};
use muster_node_agent::{dial, identity::Identity};
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    agent::v1::{self as agent, identity_service_client::IdentityServiceClient, session_request::Kind},
};
use muster_tests::{
    eventually::{LONG, eventually},
    forge::Forge,
    operator::{Operator, reason},
    plane::{Options, Plane, TRUST_DOMAIN},
    raw::{RawNode, call_with_bytes, hello},
};
use prost::Message as _;
use rustls::{
    AlertDescription, ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Status, transport::Channel};
use zeroize::Zeroizing;

/// What raw nodes say of their machine when they enroll.
const ITS_MACHINE: [u8; 32] = [0; 32];

fn hello_from(machine: [u8; 32]) -> Kind {
    Kind::Hello(agent::Hello { machine_fingerprint: machine.to_vec().into(), ..hello() })
}

async fn quarantine(operator: &Operator, node: &Identity) -> pb::Quarantine {
    let node = operator.until_liveness(&node.node.to_string(), Liveness::Quarantined).await;
    node.quarantine.expect("it is said why")
}

async fn renew(identity: &Identity) -> Result<Identity, Status> {
    let tls = Arc::new(identity.client_config().unwrap());
    let channel = dial::channel(&identity.session_addresses[0], tls).await.expect("a connection");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = agent::RenewCertificateRequest {
        csr_der: params.serialize_request(&key).unwrap().der().to_vec().into(),
        certificate_generation: identity.certificate_generation,
        instance_id: hello().instance_id,
    };
    let answer = IdentityServiceClient::new(channel).renew_certificate(request).await?.into_inner();
    let chain = answer.certificate_chain_der.iter().map(|der| CertificateDer::from(der.to_vec()));
    Ok(Identity {
        certificate_generation: identity.certificate_generation + 1,
        chain_pem: pem::encode_certificates(&chain.collect::<Vec<_>>()),
        key_pem: Zeroizing::new(key.serialize_pem()),
        ..identity.clone()
    })
}

#[tokio::test]
async fn a_stolen_certificate_on_another_machine_locks_the_node_up_and_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let _first = node.open(hello_from(ITS_MACHINE)).await.expect("the node itself comes in");
    operator.until_liveness(&node.identity.node.to_string(), Liveness::Online).await;
    let _thief = node.open(hello_from([7; 32])).await.expect("the session opens, to be told");
    let found = quarantine(&operator, &node.identity).await;
    assert_eq!((found.reason.as_str(), found.seen.len()), ("OtherMachine", 2));
    assert_ne!(found.seen[0].machine_fingerprint, found.seen[1].machine_fingerprint);
    reached(&plane, "muster_nodes_quarantined_total{reason=\"OtherMachine\"}", 1).await;
    let refused = renew(&node.identity).await.expect_err("neither gets a new certificate");
    assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, Some(Reason::Quarantined)));
}

#[tokio::test]
async fn a_certificate_from_before_a_renewal_locks_the_node_up_and_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let stolen = node.identity.clone();
    node.identity = renew(&stolen).await.expect("a new certificate");
    // It counts from its first use on.
    let _session = node.session().await;
    operator.until_liveness(&node.identity.node.to_string(), Liveness::Online).await;
    node.identity = stolen;
    let refused = node.open(Kind::Hello(hello())).await.expect_err("the old one is over");
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::PermissionDenied, Some(Reason::CertificateRevoked)),
        "{refused}"
    );
    let found = quarantine(&operator, &node.identity).await;
    assert_eq!((found.reason.as_str(), found.seen.len()), ("ReplacedCertificate", 2), "{found:?}");
    assert!(found.seen.iter().all(|seen| seen.remote_address.starts_with("127.0.0.1")), "{found:?}");
    reached(&plane, "muster_nodes_quarantined_total{reason=\"ReplacedCertificate\"}", 1).await;
}

/// Every method of the packages whose names begin so.
fn methods(package: &str) -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(muster_proto::DESCRIPTORS).unwrap();
    let files = set.file.iter().filter(|file| file.package() == package);
    let services = files.flat_map(|file| file.service.iter().map(move |service| (file, service)));
    let methods = services.flat_map(|(file, service)| {
        let name = |method: &prost_types::MethodDescriptorProto| {
            format!("/{}.{}/{}", file.package(), service.name(), method.name())
        };
        service.method.iter().map(name).collect::<Vec<_>>()
    });
    methods.collect()
}

/// Calls each of them with an empty message; each is refused for who calls.
async fn all_refused(channel: &Channel, methods: &[String]) -> u64 {
    assert!(methods.len() >= 3, "{methods:?}");
    for method in methods {
        let call = call_with_bytes(channel.clone(), method, Vec::new());
        let refused = tokio::time::timeout(LONG, call).await.expect(method).expect_err(method);
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::PermissionDenied, Some(Reason::WrongKindOfCaller)),
            "{method}: {refused}"
        );
    }
    u64::try_from(methods.len()).unwrap()
}

#[tokio::test]
async fn a_node_calls_no_method_of_operators_and_an_operator_none_of_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let channel = async |address: SocketAddr, tls: ClientConfig| {
        dial::channel(&address.to_string(), Arc::new(tls)).await.expect("a connection")
    };
    let at = plane.addresses();
    let as_node = channel(at.operators, node.identity.client_config().unwrap()).await;
    let mut refused = all_refused(&as_node, &methods("muster.admin.v1")).await;
    let as_operator = channel(at.agents, plane.operator_tls()).await;
    refused += all_refused(&as_operator, &methods("muster.agent.v1")).await;
    let name = "muster_calls_refused_total{reason=\"WRONG_KIND_OF_CALLER\"}";
    assert_eq!(plane.metric(name).await, refused);
}

/// How a handshake ends: the first byte of the server, or its alert.
async fn shake_hands(address: SocketAddr, tls: ClientConfig) -> Result<u8, AlertDescription> {
    let stream = TcpStream::connect(address).await.unwrap();
    let shake = async {
        let name = ServerName::from(address.ip());
        tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, stream).await?.read_u8().await
    };
    let answer: io::Result<u8> = tokio::time::timeout(LONG, shake).await.expect("an answer");
    answer.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("{other:?}: {error}"),
    })
}

/// Waits until a door has counted so many handshakes that failed so.
async fn counted(plane: &Plane, door: &str, reason: &str, count: u64) {
    let name = format!("muster_handshakes_failed_total{{door=\"{door}\",reason=\"{reason}\"}}");
    reached(plane, &name, count).await;
}

/// Waits until a number is this: it may be counted after the caller was told.
async fn reached(plane: &Plane, name: &str, count: u64) {
    let what = format!("{name} is {count}");
    eventually(&what, LONG, || async move { (plane.metric(name).await == count).then_some(()) }).await;
}

fn doors(plane: &Plane) -> [(&'static str, SocketAddr); 2] {
    [("agents", plane.addresses().agents), ("operators", plane.addresses().operators)]
}

#[tokio::test]
async fn a_forged_certificate_that_is_none_of_ours_ends_the_handshake_with_its_alert() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let forge = Forge::new(&plane.state().join("ca/1"));
    let uri = &format!("spiffe://{TRUST_DOMAIN}/operator/admin");
    let day = std::time::Duration::from_secs(24 * 3600);
    let now = muster_common::clock::Clock::System.now();
    let forged = [
        (
            "expired",
            AlertDescription::CertificateExpired,
            forge.client(&[uri], |params| {
                params.not_before = (now - 2 * day).to_system_time().into();
                params.not_after = (now - day).to_system_time().into();
            }),
        ),
        (
            "not yet valid",
            AlertDescription::CertificateExpired,
            forge.client(&[uri], |params| {
                params.not_before = (now + day).to_system_time().into();
                params.not_after = (now + 2 * day).to_system_time().into();
            }),
        ),
        (
            "a server's",
            AlertDescription::UnsupportedCertificate,
            forge.client(&[uri], |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        ("of depth 10", AlertDescription::CertificateUnknown, forge.deep(uri, 10)),
    ];
    for (door, address) in doors(&plane) {
        let mut count = 0;
        let good = plane.tls_with(forge.client(&[uri], |_| {}));
        shake_hands(address, good).await.expect("what differs from the others is what is refused");
        for (what, alert, identity) in &forged {
            let answer = shake_hands(address, plane.tls_with(identity.clone())).await;
            assert_eq!(answer, Err(*alert), "{what} at {door}");
            count += 1;
            counted(&plane, door, "refused", count).await;
        }
    }
}

#[tokio::test]
async fn a_chain_of_more_than_64_kib_ends_the_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let forge = Forge::new(&plane.state().join("ca/1"));
    let uri = &format!("spiffe://{TRUST_DOMAIN}/operator/admin");
    let mut identity = forge.client(&[uri], |_| {});
    let one = identity.chain[1].clone();
    identity.chain.extend(std::iter::repeat_n(one.clone(), 64 * 1024 / one.len() + 1));
    for (door, address) in doors(&plane) {
        let stream = TcpStream::connect(address).await.unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(plane.tls_with(identity.clone())));
        // Cut while it still speaks, it may not hear the alert.
        let answer = async { tls.connect(ServerName::from(address.ip()), stream).await?.read_u8().await };
        let answer: io::Result<u8> = tokio::time::timeout(LONG, answer).await.expect("it is cut");
        assert!(answer.is_err(), "{door}: {answer:?}");
        counted(&plane, door, "refused", 1).await;
    }
}

#[tokio::test]
async fn two_names_and_a_wildcard_name_nobody_and_are_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let forge = Forge::new(&plane.state().join("ca/1"));
    let operator = format!("spiffe://{TRUST_DOMAIN}/operator/admin");
    let node = format!("spiffe://{TRUST_DOMAIN}/node/{}", NodeId::generate());
    let all = format!("spiffe://{TRUST_DOMAIN}/operator/*");
    for (door, address) in doors(&plane) {
        let mut count = 0;
        for uris in [vec![operator.as_str(), node.as_str()], vec![all.as_str()], vec![]] {
            let tls = plane.tls_with(forge.client(&uris, |_| {}));
            let channel = dial::channel(&address.to_string(), Arc::new(tls)).await.expect("a connection");
            let call = Operator::over(channel).system.get_system(pb::GetSystemRequest {}).await;
            let refused = call.expect_err("nobody");
            assert_eq!(
                (refused.code(), reason(&refused)),
                (Code::Unauthenticated, Some(Reason::Unauthenticated)),
                "{uris:?} at {door}: {refused}"
            );
            count += 1;
            counted(&plane, door, "UNAUTHENTICATED", count).await;
        }
    }
}

/// The first words of a client that knows TLS 1.2 and nothing newer.
fn old_hello() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0); // no session
    hello.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM, ECDSA and RSA
    hello.extend([1, 0]); // no compression
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let formats = [0, 11, 0, 2, 1, 0];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let extensions = [groups.as_slice(), &formats, &signatures].concat();
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let length = u32::try_from(hello.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &hello].concat();
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [[22, 3, 1].as_slice(), &length, &message].concat()
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_told_that_its_version_is_over() {
    const FATAL_PROTOCOL_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let [agents, operators] = doors(&plane);
    for (door, address) in [agents, operators, ("enrollment", plane.addresses().enrollment)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&old_hello()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
        read.expect("it is answered").unwrap();
        assert_eq!(answer, FATAL_PROTOCOL_VERSION, "{door}");
        counted(&plane, door, "refused", 1).await;
    }
}
