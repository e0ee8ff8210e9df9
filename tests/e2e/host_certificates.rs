//! Hosts that come with a certificate of another authority.

use std::{path::Path, process::Output, time::Duration};

use muster_common::{clock::Clock, digest::Sha256, ids::NodeId, proof, reason::Reason, tls};
use muster_node_agent::dial;
use muster_proto::{
    admin::v1::{self as admin, Liveness},
    agent::v1::{self as pb, enrollment_service_client::EnrollmentServiceClient},
};
use muster_tests::{
    agent::{Agent, OPEN},
    operator::reason,
    plane::{Options, Plane},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PublicKeyData as _, SigningKey as _,
};
use tonic::Code;

/// Another authority, and a control plane that trusts it.
struct Corp {
    issuer: CertifiedIssuer<'static, KeyPair>,
    plane: Plane,
    folder: tempfile::TempDir,
}

impl Corp {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.path().join("corp.pem");
        std::fs::write(&file, issuer.pem()).unwrap();
        let mut plane = Plane::init(folder.path(), &Options::default());
        let config = std::fs::read_to_string(plane.config()).unwrap();
        let section = format!(
            "\n[[enrollment.host-ca]]\nname = \"corp\"\nca-file = {file:?}\ndns = [\"*.prod.example\"]\n\
             name-label = \"host\"\nstatic-labels = {{ site = \"berlin\" }}\n"
        );
        std::fs::write(plane.config(), config + &section).unwrap();
        plane.serve(&[]).await;
        Self { issuer, plane, folder }
    }

    /// Certificate and key of a host, as PEM.
    fn host(&self, name: &str, key: &KeyPair) -> String {
        self.certificate(key, |params| {
            params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        })
        .pem()
    }

    fn certificate(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
        let mut params = CertificateParams::new(vec!["web-1.prod.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        params.signed_by(key, &self.issuer).unwrap()
    }

    /// `connect` with these files.
    async fn connect(&self, host: &Agent, certificate: &str, key: &KeyPair) -> Output {
        let files = ["host.pem", "host.key"].map(|name| self.folder.path().join(name));
        std::fs::write(&files[0], certificate).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        let join = self.plane.join(1, &[]).await;
        let (address, pin) = (join.addresses[0].clone(), join.ca_pin.to_string());
        let path = |file: &Path| file.to_str().unwrap().to_owned();
        let (certificate, key) = (path(&files[0]), path(&files[1]));
        host.cli(&[
            "connect",
            "--host-certificate",
            &certificate,
            "--host-key",
            &key,
            "--address",
            &address,
            "--ca-pin",
            &pin,
        ])
    }

    async fn client(&self) -> EnrollmentServiceClient<tonic::transport::Channel> {
        let join = self.plane.join(1, &[]).await;
        let tls = tls::enrollment_client_config(join.ca_pin).unwrap().into();
        EnrollmentServiceClient::new(dial::channel(&join.addresses[0], tls).await.unwrap())
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn node_of(output: &Output) -> String {
    assert!(output.status.success(), "{}", told(output));
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_host_with_a_certificate_becomes_a_node_and_comes_again_when_it_was_removed() {
    let corp = Corp::start().await;
    let operator = corp.plane.operator().await;
    let mut host = Agent::host(corp.folder.path(), "host", OPEN);
    let key = KeyPair::generate().unwrap();
    host.node = node_of(&corp.connect(&host, &corp.host("web-1.prod.example", &key), &key).await);
    let node = operator.node(&host.node).await.unwrap();
    let with = format!("host-ca/corp/{}", Sha256::of(&key.subject_public_key_info()));
    assert_eq!(node.enrolled_with, with);
    assert_eq!(
        (node.labels["host"].as_str(), node.labels["site"].as_str()),
        ("web-1.prod.example", "berlin")
    );
    host.run();
    operator.until_liveness(&host.node, Liveness::Online).await;

    // The same certificate, and one that was renewed with its key, on another host.
    let other = Agent::host(corp.folder.path(), "other", OPEN);
    for _ in 0..2 {
        let taken = corp.connect(&other, &corp.host("web-1.prod.example", &key), &key).await;
        let said = told(&taken);
        assert!(taken.status.code() == Some(18) && said.contains("HOST_CERTIFICATE_USED"), "{said}");
    }
    let second = KeyPair::generate().unwrap();
    node_of(&corp.connect(&other, &corp.host("web-2.prod.example", &second), &second).await);

    let request = admin::DeleteNodeRequest { id: host.node.clone(), ..Default::default() };
    operator.nodes.clone().delete_node(request).await.unwrap();
    let fresh = Agent::host(corp.folder.path(), "fresh", OPEN);
    let again = node_of(&corp.connect(&fresh, &corp.host("web-1.prod.example", &key), &key).await);
    assert_ne!(again, host.node);
}

#[tokio::test]
async fn every_bad_host_certificate_is_refused_for_its_reason_and_lets_nobody_in() {
    let corp = Corp::start().await;
    let host = Agent::host(corp.folder.path(), "host", OPEN);
    let key = KeyPair::generate().unwrap();
    let refused = async |certificate: String, reason: &str| {
        let refused = corp.connect(&host, &certificate, &key).await;
        let said = told(&refused);
        assert!(refused.status.code() == Some(18) && said.contains(reason), "{reason}: {said}");
    };
    let with = |change: fn(&mut CertificateParams)| corp.certificate(&key, change).pem();
    let invalid = "HOST_CERTIFICATE_INVALID: chain";
    let ago = |hours: u64| (Clock::System.now() - Duration::from_secs(hours * 3600)).to_system_time().into();
    let expired = corp.certificate(&key, |it| (it.not_before, it.not_after) = (ago(2), ago(1)));
    refused(expired.pem(), invalid).await;
    refused(with(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), invalid).await;
    refused(with(|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), invalid).await;
    refused(CertificateParams::default().self_signed(&key).unwrap().pem(), invalid).await;
    refused(corp.host("web-1.test.example", &key), "HOST_CERTIFICATE_INVALID: names").await;
    refused(corp.host("web-1.prod.example", &key).repeat(9), "HOST_CERTIFICATE_INVALID: size").await;
    // The agent itself sees that these do not belong together.
    let other = KeyPair::generate().unwrap();
    let foreign = corp.connect(&host, &corp.host("web-1.prod.example", &key), &other).await;
    assert_eq!(foreign.status.code(), Some(21), "{}", told(&foreign));
    assert_eq!(corp.plane.operator().await.select("").await, Vec::<String>::new());
    let counted = r#"muster_enrollments_refused_total{reason="HOST_CERTIFICATE_INVALID"}"#;
    assert_eq!(corp.plane.metric(counted).await, 6);
}

#[tokio::test]
async fn a_host_is_told_to_come_again_while_the_files_of_its_authority_cannot_be_read() {
    let corp = Corp::start().await;
    let host = Agent::host(corp.folder.path(), "host", OPEN);
    let (key, file) = (KeyPair::generate().unwrap(), corp.folder.path().join("corp.pem"));
    let certificate = corp.host("web-1.prod.example", &key);
    std::fs::remove_file(&file).unwrap();
    let later = corp.connect(&host, &certificate, &key).await;
    assert!(!later.status.success() && told(&later).contains("HOST_CA_UNAVAILABLE"), "{}", told(&later));
    std::fs::write(&file, corp.issuer.pem()).unwrap();
    node_of(&corp.connect(&host, &certificate, &key).await);
}

#[tokio::test]
async fn a_host_certificate_without_its_key_and_a_proof_that_was_overheard_let_nobody_in() {
    let corp = Corp::start().await;
    let mut client = corp.client().await;
    let (key, mallory) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = corp.certificate(&key, |_| {}).der().to_vec();
    let csr = |key: &KeyPair| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serialize_request(key).unwrap().der().to_vec()
    };
    let challenge =
        client.begin_enrollment(pb::BeginEnrollmentRequest {}).await.unwrap().into_inner().challenge;
    let signed = |signer: &KeyPair, challenge: &[u8], csr_der: &[u8]| {
        signer.sign(&proof::enrollment(challenge, Sha256::of(csr_der))).unwrap()
    };
    let request = |csr_der: &[u8], challenge: &[u8], signature: Vec<u8>| pb::EnrollRequest {
        csr_der: csr_der.to_vec().into(),
        host_certificate: Some(pb::HostCertificate {
            chain_der: vec![certificate.clone().into()],
            challenge: challenge.to_vec().into(),
            signature: signature.into(),
        }),
        ..Default::default()
    };
    let (hosts, mallorys) = (csr(&KeyPair::generate().unwrap()), csr(&mallory));
    let overheard = signed(&key, &challenge, &hosts);
    let nodes = NodeId::generate().to_string();
    let recovery = pb::BeginRecoveryRequest { node_id: nodes };
    let foreign = client.begin_recovery(recovery).await.unwrap().into_inner().challenge;
    for (what, bad) in [
        ("another key", request(&mallorys, &challenge, signed(&mallory, &challenge, &mallorys))),
        ("another request", request(&mallorys, &challenge, overheard.clone())),
        ("no challenge", request(&hosts, b"", signed(&key, b"", &hosts))),
        ("a challenge of nobody", request(&hosts, &[0; 40], signed(&key, &[0; 40], &hosts))),
        ("a challenge for a recovery", request(&hosts, &foreign, signed(&key, &foreign, &hosts))),
    ] {
        let refused = client.enroll(bad).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::Unauthenticated, Some(Reason::ProofInvalid)),
            "{what}"
        );
    }
    let both = pb::EnrollRequest { token: "x".to_owned(), ..request(&hosts, &challenge, overheard.clone()) };
    assert_eq!(reason(&client.enroll(both).await.unwrap_err()), Some(Reason::InvalidArgument));
    // The reply was lost: the same host is the same node.
    let good = request(&hosts, &challenge, overheard);
    let first = client.enroll(good.clone()).await.unwrap().into_inner();
    assert_eq!(client.enroll(good).await.unwrap().into_inner().node_id, first.node_id);
}
