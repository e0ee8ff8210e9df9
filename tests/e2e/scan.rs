//! What a scanner finds at the three ports: nothing that is not in
//! `tls_findings.toml` with its reason.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use muster_tests::{
    binaries::repository,
    plane::{Options, Plane},
    raw::RawNode,
};
use serde_json::Value;

/// Everything that sslyze can look for.
const SCANS: &[&str] = &[
    "--certinfo",
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--elliptic_curves",
    "--reneg",
    "--early_data",
    "--resum",
    "--robot",
    "--heartbleed",
    "--compression",
    "--openssl_ccs",
    "--fallback",
    "--ems",
];
/// A scan takes two seconds on a quiet machine.
const WITHIN: Duration = Duration::from_secs(120);
const SUITES: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const CURVES: &[&str] = &["X25519", "secp256r1", "secp384r1"];
/// Yes and no of the scanner, each as it should be.
const ANSWERS: &[(&str, &str, bool)] = &[
    ("tls_compression", "supports_compression", false),
    ("tls_1_3_early_data", "supports_early_data", false),
    ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", false),
    ("tls_fallback_scsv", "supports_fallback_scsv", true),
    ("heartbleed", "is_vulnerable_to_heartbleed", false),
    ("session_renegotiation", "supports_secure_renegotiation", true),
    ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", false),
    ("tls_extended_master_secret", "supports_ems_extension", true),
    ("elliptic_curves", "supports_ecdh_key_exchange", true),
];

#[tokio::test]
async fn a_scanner_finds_nothing_that_is_not_accepted_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await.identity;
    let (chain, key) = (folder.path().join("node.crt"), folder.path().join("node.key"));
    std::fs::write(&chain, &node.chain_pem).unwrap();
    std::fs::write(&key, node.key_pem.as_bytes()).unwrap();
    let operators = plane.state().join("operators");
    let roots = operators.join("ca.crt");
    let operator = (operators.join("admin.crt"), operators.join("admin.key"));
    let at = plane.addresses();
    let mut found = BTreeSet::new();
    for (door, address, shown) in [
        ("agents", at.agents, Some((chain, key))),
        ("enrollment", at.enrollment, None),
        ("operators", at.operators, Some(operator)),
    ] {
        let result = folder.path().join(format!("{door}.json"));
        scan(address, &roots, shown.as_ref().map(|(chain, key)| (chain.as_path(), key.as_path())), &result)
            .await;
        let told: Value = serde_json::from_slice(&std::fs::read(&result).unwrap()).unwrap();
        let told = &told["server_scan_results"][0];
        assert_eq!(told["scan_status"], "COMPLETED", "{door}: {told}");
        found.extend(findings(&told["scan_result"]));
    }
    let accepted = accepted();
    let new: Vec<_> = found.difference(&accepted).collect();
    let gone: Vec<_> = accepted.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "found and not accepted: {new:#?}\nfound no more: {gone:#?}");
}

async fn scan(address: SocketAddr, roots: &Path, shown: Option<(&Path, &Path)>, result: &Path) {
    let mut command = tokio::process::Command::new(repository().join(".tools/venv/bin/python"));
    command.args(["-W", "ignore", "-m", "sslyze", "--mozilla_config", "disable", "--quiet"]).args(SCANS);
    command.arg("--certinfo_ca_file").arg(roots).arg("--json_out").arg(result);
    if let Some((chain, key)) = shown {
        command.arg("--cert").arg(chain).arg("--key").arg(key);
    }
    command.arg(address.to_string()).stdin(Stdio::null()).kill_on_drop(true);
    let done = tokio::time::timeout(WITHIN, command.output()).await.expect("the scan ends").unwrap();
    assert!(result.exists(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Each as one line.
fn findings(scans: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, scan) in scans.as_object().unwrap() {
        let status = scan["status"].as_str().unwrap();
        if !["COMPLETED", "NOT_SCHEDULED"].contains(&status) {
            found.push(format!("{name} was not scanned: {}", scan["error_reason"].as_str().unwrap()));
        }
        let accepts = scan["result"]["is_tls_version_supported"].as_bool();
        if accepts.is_some_and(|accepts| accepts != (name == "tls_1_3_cipher_suites")) {
            found.push(format!("{name}: the version is accepted: {accepts:?}"));
        }
    }
    for (scan, question, right) in ANSWERS {
        if scans[scan]["result"][question].as_bool() != Some(*right) {
            found.push(format!("{scan}: {question} is not {right}"));
        }
    }
    let suites = &scans["tls_1_3_cipher_suites"]["result"]["accepted_cipher_suites"];
    let suites = names(suites, |suite| suite["cipher_suite"]["name"].as_str());
    found.extend(suites.iter().filter(|name| !SUITES.contains(name)).map(|name| format!("suite: {name}")));
    let curves =
        names(&scans["elliptic_curves"]["result"]["supported_curves"], |curve| curve["name"].as_str());
    found.extend(curves.iter().filter(|name| !CURVES.contains(name)).map(|name| format!("curve: {name}")));
    assert!(!suites.is_empty() && !curves.is_empty(), "the scanner came in: {scans}");
    let robot = scans["robot"]["result"]["robot_result"].as_str().unwrap_or("not told");
    if !robot.starts_with("NOT_VULNERABLE") {
        found.push(format!("robot: {robot}"));
    }
    let resumption = &scans["session_resumption"]["result"];
    for way in ["session_id_resumption_result", "tls_ticket_resumption_result"] {
        let told = resumption[way].as_str().unwrap_or("not told");
        if told != "NOT_SUPPORTED" {
            found.push(format!("session_resumption: {told}"));
        }
    }
    let deployments = scans["certificate_info"]["result"]["certificate_deployments"].as_array().unwrap();
    assert!(!deployments.is_empty());
    found.extend(deployments.iter().flat_map(certificate));
    found
}

fn names<'a>(list: &'a Value, name: impl Fn(&'a Value) -> Option<&'a str>) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| name(one).expect("a name")).collect()
}

fn certificate(deployment: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut holds = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("certificate: {what}"));
        }
    };
    let is = |question: &str| deployment[question].as_bool() == Some(true);
    holds(is("received_chain_has_valid_order"), "the chain is out of order");
    holds(!is("received_chain_contains_anchor_certificate"), "the chain holds its root");
    holds(!is("verified_chain_has_sha1_signature"), "a signature uses SHA-1");
    holds(!is("verified_chain_has_legacy_symantec_anchor"), "an anchor of Symantec");
    holds(!deployment["ocsp_response"].is_null(), "no OCSP response");
    let stamps = deployment["leaf_certificate_signed_certificate_timestamps_count"].as_u64();
    holds(stamps > Some(0), "no transparency timestamps");
    let results = deployment["path_validation_results"].as_array().unwrap();
    let failed = results.iter().filter(|result| result["was_validation_successful"].as_bool() != Some(true));
    let failed: Vec<&str> = failed.filter_map(|result| result["trust_store"]["name"].as_str()).collect();
    holds(failed.is_empty(), &format!("not trusted by {}", failed.join(", ")));
    found
}

/// Findings with a reason.
fn accepted() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository().join("tests/e2e/tls_findings.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let accepted = table["accepted"].as_array().unwrap().iter().map(|one| {
        assert!(one["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{one} needs a reason");
        one["finding"].as_str().unwrap().to_owned()
    });
    accepted.collect()
}
