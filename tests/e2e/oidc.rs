//! Hosts that come with a token of an issuer.

use std::{path::Path, process::Output};

use muster_common::clock::Clock;
use muster_proto::admin::v1::Liveness;
use muster_tests::{
    agent::{Agent, OPEN},
    issuer::Issuer,
    plane::Plane,
};
use serde_json::{Value, json};

async fn connect(plane: &Plane, host: &Agent, folder: &Path, token: &str) -> Output {
    let join = plane.join(1, &[]).await;
    let file = folder.join("token.jwt");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let (address, pin) = (join.addresses[0].clone(), join.ca_pin.to_string());
    host.cli(&[
        "connect",
        "--oidc-token-file",
        file.to_str().unwrap(),
        "--address",
        &address,
        "--ca-pin",
        &pin,
    ])
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_host_with_an_issuers_token_becomes_a_node_with_the_labels_of_its_claims() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start();
    let plane = issuer.plane(folder.path()).await;
    let operator = plane.operator().await;
    let mut host = Agent::host(folder.path(), "host", OPEN);
    let token = issuer.token("1", |_, _| {});
    let connected = connect(&plane, &host, folder.path(), &token).await;
    assert!(connected.status.success(), "{}", told(&connected));
    host.node = String::from_utf8(connected.stdout).unwrap().trim().to_owned();
    let node = operator.node(&host.node).await.unwrap();
    assert_eq!(node.enrolled_with, "oidc/ci");
    assert_eq!((node.labels["repo"].as_str(), node.labels["role"].as_str()), ("app", "runner"));
    host.run();
    operator.until_liveness(&host.node, Liveness::Online).await;

    let other = Agent::host(folder.path(), "other", OPEN);
    let replayed = connect(&plane, &other, folder.path(), &token).await;
    let said = told(&replayed);
    assert!(replayed.status.code() == Some(18) && said.contains("OIDC_TOKEN_INVALID: jti"), "{said}");
    let fresh = connect(&plane, &other, folder.path(), &issuer.token("2", |_, _| {})).await;
    assert!(fresh.status.success(), "{}", told(&fresh));
    assert_eq!(issuer.asked(), 1, "keys are kept");
}

#[tokio::test]
async fn every_bad_token_is_refused_for_its_reason_and_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start();
    let plane = issuer.plane(folder.path()).await;
    let host = Agent::host(folder.path(), "host", OPEN);
    let refused = async |token: &str, reason: &str| {
        let refused = connect(&plane, &host, folder.path(), token).await;
        let said = told(&refused);
        assert!(refused.status.code() == Some(18) && said.contains(reason), "{reason}: {said}");
    };
    let now = Clock::System.now().0 / 1000;
    let with = |name: &'static str, value: Value| issuer.token("1", move |_, claims| claims[name] = value);
    refused(&with("aud", json!("other")), "OIDC_TOKEN_INVALID: aud").await;
    refused(&with("exp", json!(now - 61)), "OIDC_TOKEN_INVALID: exp").await;
    refused(&with("nbf", json!(now + 120)), "OIDC_TOKEN_INVALID: nbf").await;
    refused(&with("ref", json!("next")), "OIDC_TOKEN_INVALID: claims").await;
    refused(&with("iss", json!("https://issuer.evil")), "OIDC_ISSUER_UNKNOWN").await;
    refused(&with("pad", json!("x".repeat(16 * 1024))), "OIDC_TOKEN_INVALID: size").await;
    let header = |name: &'static str, value: &'static str| {
        issuer.token("1", move |header, _| header[name] = json!(value))
    };
    refused(&header("alg", "none"), "OIDC_TOKEN_INVALID: alg").await;
    refused(&header("alg", "HS256"), "OIDC_TOKEN_INVALID: alg").await;
    for _ in 0..5 {
        refused(&header("kid", "unknown"), "OIDC_TOKEN_INVALID: kid").await;
    }
    let mut forged = issuer.token("1", |_, _| {});
    let changed = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(changed);
    refused(&forged, "OIDC_TOKEN_INVALID").await;
    assert_eq!(issuer.asked(), 1, "an unknown key costs the issuer one question a minute");
    assert_eq!(plane.operator().await.select("").await, Vec::<String>::new());
    let counted = r#"muster_enrollments_refused_total{reason="OIDC_TOKEN_INVALID"}"#;
    assert!(plane.metric(counted).await >= 12);
}

#[tokio::test]
async fn an_issuer_that_redirects_says_too_much_or_is_away_lets_nobody_in_until_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start();
    let host = Agent::host(folder.path(), "host", OPEN);
    for (status, body) in
        [("302 Found", issuer.keys()), ("200 OK", "x".repeat(300 * 1024)), ("200 OK", "[]".to_owned())]
    {
        issuer.says(status, &body);
        let folder = tempfile::tempdir().unwrap();
        let plane = issuer.plane(folder.path()).await;
        let before = issuer.asked();
        let away = connect(&plane, &host, folder.path(), &issuer.token("1", |_, _| {})).await;
        assert!(told(&away).contains("OIDC_UNAVAILABLE"), "{status}: {}", told(&away));
        assert_eq!(issuer.asked(), before + 1, "{status}");
    }
    issuer.says("200 OK", &issuer.keys());
    let plane = issuer.plane(folder.path()).await;
    let come = connect(&plane, &host, folder.path(), &issuer.token("1", |_, _| {})).await;
    assert!(come.status.success(), "{}", told(&come));
}
