//! Identities for programs, as the control plane gives them to nodes.

use std::{process::Command, sync::Arc, time::Duration};

use muster_common::{
    clock::Clock,
    reason::Reason,
    tls::{self, workload::WorkloadId},
};
use muster_node_agent::dial;
use muster_proto::{
    admin::v1 as pb,
    agent::v1::{
        self as agent, workload_identity_service_client::WorkloadIdentityServiceClient as Workloads,
    },
};
use muster_tests::{
    binaries::repository,
    eventually::{LONG, eventually},
    forge::Forge,
    operator::{Operator, reason},
    plane::{Options, Plane, TRUST_DOMAIN, http_get},
    raw::{RawNode, hello},
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tonic::{Status, transport::Channel};

async fn service(node: &RawNode) -> Workloads<Channel> {
    let tls = Arc::new(node.identity.client_config().unwrap());
    Workloads::new(dial::channel(&node.identity.session_addresses[0], tls).await.unwrap())
}

/// A certificate for a program of a node, and who signed it.
async fn issue(node: &RawNode, name: &str) -> Result<(tls::Identity, agent::WorkloadBundles), Status> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr_der = params.serialize_request(&key).unwrap().der().to_vec().into();
    let orders = vec![agent::X509SvidOrder { name: name.to_owned(), csr_der }];
    let request = agent::IssueX509SvidsRequest { orders, instance_id: hello().instance_id };
    let answer = service(node).await.issue_x509_svids(request).await?.into_inner();
    let chain = answer.svids[0].certificate_chain_der.iter().map(|der| CertificateDer::from(der.to_vec()));
    let identity =
        tls::Identity { chain: chain.collect(), key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) };
    Ok((identity, answer.bundles.unwrap()))
}

async fn token(node: &RawNode, name: &str, audience: &str) -> Result<String, Status> {
    let orders = vec![agent::JwtSvidOrder { name: name.to_owned(), audiences: vec![audience.to_owned()] }];
    let request = agent::IssueJwtSvidsRequest { orders, instance_id: hello().instance_id };
    let answer = service(node).await.issue_jwt_svids(request).await?.into_inner();
    Ok(answer.svids.into_iter().next().unwrap().token)
}

fn is_trusted(identity: &tls::Identity, roots: &[impl AsRef<[u8]>]) -> bool {
    let roots: Vec<_> = roots.iter().map(|der| CertificateDer::from(der.as_ref().to_vec())).collect();
    let verifier = tls::client_verifier(tls::roots(&roots).unwrap()).unwrap();
    let now = Duration::from_millis(u64::try_from(Clock::System.now().0).unwrap());
    let now = UnixTime::since_unix_epoch(now);
    verifier.verify_client_cert(&identity.chain[0], &identity.chain[1..], now).is_ok()
}

/// Whether somebody with this identity gets an answer other than a refusal at any port.
async fn opens_something(plane: &Plane, identity: &tls::Identity) -> bool {
    let tls = Arc::new(plane.tls_with(identity.clone()));
    let addresses = plane.addresses();
    let mut opened = false;
    if let Ok(channel) = dial::channel(&addresses.agents.to_string(), Arc::clone(&tls)).await {
        let asked = agent::GetWorkloadBundlesRequest::default();
        opened |= Workloads::new(channel).get_workload_bundles(asked).await.is_ok();
    }
    if let Ok(channel) = dial::channel(&addresses.operators.to_string(), tls).await {
        let operator = Operator::over(channel);
        opened |= operator.system.clone().get_caller(pb::GetCallerRequest {}).await.is_ok();
    }
    opened
}

#[tokio::test]
async fn a_programs_certificate_opens_no_port_and_neither_does_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let (identity, bundles) = issue(&node, "web").await.unwrap();
    assert!(is_trusted(&identity, &bundles.x509_authorities_der), "programs trust it");
    assert!(!opens_something(&plane, &identity).await, "the first wall: who signed it");

    // With the authority's own certificates behind it, which a program can have seen.
    let ca = plane.state().join("ca/1");
    let ours = muster_common::tls::pem::certificates(&ca.join("issuing.crt")).unwrap();
    let mut dressed = identity.clone();
    dressed.chain.extend(ours);
    assert!(!opens_something(&plane, &dressed).await);

    // The second wall: signed by the authority of nodes itself, its name is nobody's.
    let trust_domain = TRUST_DOMAIN.parse().unwrap();
    let id = WorkloadId { trust_domain, node: node.identity.node, name: "web".to_owned() };
    let forged = Forge::new(&ca).client(&[&id.to_string()], |_| {});
    assert!(!opens_something(&plane, &forged).await, "no port reads a name of a program");
    let file = |name: &str| plane.state().join("operators").join(name);
    let chain = muster_common::tls::pem::certificates(&file("admin.crt")).unwrap();
    let real =
        tls::Identity { chain, key: muster_common::tls::pem::private_key(&file("admin.key")).unwrap() };
    assert!(opens_something(&plane, &real).await, "an operator comes in by the same way");
}

#[tokio::test]
async fn a_node_that_is_locked_up_or_denied_gets_no_identities_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let (operator, node) = (plane.operator().await, RawNode::enroll(&plane.join(1, &[]).await).await);
    let id = node.identity.node.to_string();
    token(&node, "web", "db").await.unwrap();
    let request = pb::QuarantineNodeRequest { id: id.clone(), reason: "looked at".to_owned() };
    operator.nodes.clone().quarantine_node(request).await.unwrap();
    for refused in [issue(&node, "web").await.map(drop), token(&node, "web", "db").await.map(drop)] {
        assert_eq!(reason(&refused.unwrap_err()), Some(Reason::Quarantined));
    }
    let request = pb::ReleaseQuarantineRequest { id: id.clone(), ..Default::default() };
    operator.nodes.clone().release_quarantine(request).await.unwrap();
    token(&node, "web", "db").await.unwrap();

    // An open connection counts as little as a new one.
    let mut open = service(&node).await;
    let asked = agent::GetWorkloadBundlesRequest { instance_id: hello().instance_id };
    open.get_workload_bundles(asked.clone()).await.unwrap();
    let request = pb::RevokeRequest { subject: format!("node/{id}"), reason: "stolen".to_owned() };
    operator.identity.clone().revoke(request).await.unwrap();
    let within = Duration::from_secs(2);
    eventually("nothing is issued", within, || async {
        let tls = Arc::new(node.identity.client_config().unwrap());
        let Ok(channel) = dial::channel(&node.identity.session_addresses[0], tls).await else {
            return Some(());
        };
        Workloads::new(channel).get_workload_bundles(asked.clone()).await.err().map(drop)
    })
    .await;
    open.get_workload_bundles(asked).await.unwrap_err();
}

#[tokio::test]
async fn names_audiences_and_orders_are_checked_and_nobody_gets_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    for name in ["", "..", "a/b", "../operator/admin", &"x".repeat(65)] {
        let refused = issue(&node, name).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::InvalidArgument), "{name}");
        assert!(refused.message().contains("orders[0].name"), "{refused}");
    }
    assert_eq!(reason(&token(&node, "web", "").await.unwrap_err()), Some(Reason::InvalidArgument));
    let none = agent::IssueJwtSvidsRequest::default();
    let refused = service(&node).await.issue_jwt_svids(none).await.unwrap_err();
    assert!(refused.message().contains("there are 0; there must be 1 to 64"), "{refused}");
    let order = agent::X509SvidOrder { name: "web".to_owned(), csr_der: vec![1, 2].into() };
    let request = agent::IssueX509SvidsRequest { orders: vec![order], ..Default::default() };
    let refused = service(&node).await.issue_x509_svids(request).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CsrInvalid));
    let (identity, _) = issue(&node, "web").await.unwrap();
    let names = name_in(&identity);
    assert_eq!(names, format!("spiffe://{TRUST_DOMAIN}/workload/{}/web", node.identity.node));
}

/// The name in a certificate, read by openssl.
fn name_in(identity: &tls::Identity) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leaf.pem");
    std::fs::write(&path, tls::pem::encode_certificates([&identity.chain[0]])).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]).arg(path);
    let said = String::from_utf8(openssl.output().expect("there is an openssl").stdout).unwrap();
    let name = said.split("URI:").nth(1).unwrap_or_else(|| panic!("{said}"));
    name.trim().to_owned()
}

#[tokio::test]
async fn issuers_take_turns_and_a_stolen_key_is_trusted_no_more_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    for (key, value) in [("bundle-refresh", "\"1s\""), ("publish-for", "\"1s\"")] {
        plane.configure(key, value);
    }
    plane.serve(&[]).await;
    let (operator, node) = (plane.operator().await, RawNode::enroll(&plane.join(1, &[]).await).await);
    let (old, before) = issue(&node, "web").await.unwrap();
    let issuers = rotate(&operator, false).await;
    assert_eq!(standings(&issuers), ["1 Active", "2 Next"]);
    let turned = eventually("the next one issues", LONG, || async {
        let request = pb::GetWorkloadIssuersRequest {};
        let told = operator.workloads.clone().get_workload_issuers(request).await.unwrap().into_inner();
        (standings(&told.issuers) == ["1 Previous", "2 Active"]).then_some(told)
    })
    .await;
    let (new, after) = issue(&node, "web").await.unwrap();
    assert!(is_trusted(&old, &after.x509_authorities_der) && is_trusted(&new, &after.x509_authorities_der));
    assert!(!is_trusted(&new, &before.x509_authorities_der));
    assert_eq!(turned.jwks_json, after.jwks_json);
    assert!(!plane.state().join("ca/workload/1").exists(), "the former one's keys are gone");

    let issuers = rotate(&operator, true).await;
    assert_eq!(standings(&issuers), ["3 Active"]);
    let (newest, now) = issue(&node, "web").await.unwrap();
    assert!(is_trusted(&newest, &now.x509_authorities_der));
    assert!(!is_trusted(&new, &now.x509_authorities_der), "what the stolen key signed is worth nothing");

    // It is the same after a restart, and all of it is in the audit.
    plane.kill();
    plane.serve(&[]).await;
    let (_, again) = issue(&node, "web").await.unwrap();
    assert_eq!(again.x509_authorities_der, now.x509_authorities_der);
    let request = pb::ListAuditEntriesRequest { page_size: 200, ..Default::default() };
    let audit = plane.operator().await.audit;
    let entries = audit.clone().list_audit_entries(request).await.unwrap().into_inner().entries;
    let count = |action: &str| entries.iter().filter(|entry| entry.action == action).count();
    assert_eq!(count("workload.create-issuer"), 1);
    assert_eq!(count("workload.rotate-issuer"), 2);
    assert_eq!(count("workload.turn-issuers"), 1);
    assert_eq!(count("workload.issue-x509"), 4);
}

fn standings(issuers: &[pb::WorkloadIssuer]) -> Vec<String> {
    issuers.iter().map(|issuer| format!("{} {:?}", issuer.number, issuer.standing())).collect()
}

async fn rotate(operator: &Operator, at_once: bool) -> Vec<pb::WorkloadIssuer> {
    let request = pb::RotateWorkloadIssuerRequest { at_once };
    operator.workloads.clone().rotate_workload_issuer(request).await.unwrap().into_inner().issuers
}

#[tokio::test]
async fn others_check_tokens_with_the_published_keys() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let (operator, node) = (plane.operator().await, RawNode::enroll(&plane.join(1, &[]).await).await);
    let token = token(&node, "web", "https://db.example").await.unwrap();
    let answer = http_get(plane.addresses().console, "/.well-known/jwks.json").await.unwrap();
    assert!(answer.to_lowercase().contains("cache-control: public, max-age=300"), "{answer}");
    let (_, jwks) = answer.split_once("\r\n\r\n").unwrap();
    let told = operator.workloads.clone().get_workload_issuers(pb::GetWorkloadIssuersRequest {}).await;
    assert_eq!(told.unwrap().into_inner().jwks_json, jwks, "both say the same");
    let page = std::fs::read_to_string(repository().join("docs/workload-identity.md")).unwrap();
    let lines = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let check = |audience: &str| {
        let mut python = Command::new(repository().join(".tools/venv/bin/python"));
        python.args(["-c", lines, jwks, &token, audience]).output().unwrap()
    };
    let good = check("https://db.example");
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{said}{}", String::from_utf8_lossy(&good.stderr));
    assert_eq!(said.trim(), format!("spiffe://{TRUST_DOMAIN}/workload/{}/web", node.identity.node));
    assert!(!check("https://other.example").status.success());
    assert_eq!(plane.metric("muster_workload_svids_total{kind=\"jwt\"}").await, 1);
}

#[tokio::test]
async fn a_control_plane_that_issues_none_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    let config = std::fs::read_to_string(plane.config()).unwrap();
    let (before, section) = config.split_once("[workload]\n").unwrap();
    let section = section.replacen("enabled = true", "enabled = false", 1);
    std::fs::write(plane.config(), format!("{before}[workload]\n{section}")).unwrap();
    plane.serve(&[]).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let refused = issue(&node, "web").await.map(drop).unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::WorkloadDisabled));
    let answer = http_get(plane.addresses().console, "/.well-known/jwks.json").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
