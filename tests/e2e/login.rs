//! A person signs in for a host with a code, at a real issuer on this machine.

use std::{path::Path, process::Output, time::Duration};

use muster_tests::{
    agent::{Agent, OPEN},
    issuer::Issuer,
    plane::{Options, Plane},
};
use serde_json::{Value, json};

use crate::agent_cli::{fits, json as answered, stderr};

/// The client is the audience, as issuers make ID tokens.
const LOGIN: &str = "device-login = { client-id = \"muster\", scopes = [\"openid\", \"profile\"] }\n";

async fn plane(issuer: &Issuer, folder: &Path) -> Plane {
    issuer.plane_with(folder, &issuer.url(), LOGIN).await
}

async fn connect(plane: &Plane, host: &Agent, more: &[&str]) -> Output {
    let join = plane.join(1, &[]).await;
    let (address, pin) = (join.addresses[0].clone(), join.ca_pin.to_string());
    host.cli(&[&["connect", "--json", "--login", "--address", &address, "--ca-pin", &pin], more].concat())
}

fn pending(word: &str) -> (&'static str, Value) {
    ("400 Bad Request", json!({ "error": word }))
}

/// The answer that lets a host in, or one with another audience does not.
fn signed_in(issuer: &Issuer, audience: &str) -> (&'static str, Value) {
    let (url, audience) = (issuer.url(), audience.to_owned());
    let token =
        issuer.token("1", move |_, claims| (claims["iss"], claims["aud"]) = (url.into(), audience.into()));
    ("200 OK", json!({ "access_token": "x", "id_token": token }))
}

#[tokio::test]
async fn a_person_signs_in_for_a_host_which_asks_no_oftener_than_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start();
    let plane = plane(&issuer, folder.path()).await;
    let host = Agent::host(folder.path(), "host", OPEN);
    let waits = [pending("authorization_pending"), pending("slow_down"), signed_in(&issuer, "muster")];
    issuer.will_answer(waits);
    let done = connect(&plane, &host, &[]).await;
    assert!(done.status.success(), "{}", stderr(&done));
    let connected = fits(&done, "connect/1");
    let names: Vec<_> = connected["stages"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["configuration", "network", "trust", "login", "enroll", "identity", "session"]);

    let told = stderr(&done);
    let event = told.lines().find(|line| line.starts_with('{')).expect("an event");
    let event: Value = serde_json::from_str(event).unwrap();
    let url = issuer.url();
    let expected = json!({
        "schema": "login/1", "url": format!("{url}/enter"), "whole-url": format!("{url}/enter?code=WDJB-MJHT"),
        "code": "WDJB-MJHT", "good-for-s": 60,
    });
    assert_eq!(event, expected);
    let questions = issuer.questions();
    assert_eq!(questions.len(), 3);
    assert!(questions[1].0 >= Duration::from_secs(1), "{questions:?}");
    assert!(questions[2].0 >= Duration::from_secs(6), "it was told to slow down: {questions:?}");
    let form = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=device+%26+code\
                &client_id=muster";
    assert_eq!(questions[0].1, form);

    let operator = plane.operator().await;
    let node = operator.node(connected["node-id"].as_str().unwrap()).await.unwrap();
    assert_eq!((node.enrolled_with.as_str(), node.labels["repo"].as_str()), ("oidc/ci", "app"));
}

#[tokio::test]
async fn a_sign_in_that_comes_to_nothing_lets_nobody_in_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start();
    let plane = plane(&issuer, folder.path()).await;
    let host = Agent::host(folder.path(), "host", OPEN);
    let cases = [
        (26, "refused", pending("access_denied")),
        (27, "nobody signed in", pending("expired_token")),
        (28, "openid", ("200 OK", json!({ "access_token": "x" }))),
        (
            28,
            "invalid_client: no such",
            ("401 Unauthorized", json!({ "error": "invalid_client", "error_description": "no such" })),
        ),
        (18, "aud", signed_in(&issuer, "another")),
    ];
    for (code, word, answer) in cases {
        issuer.will_answer([answer]);
        let done = connect(&plane, &host, &[]).await;
        let cause = answered(&done)["error"]["cause"].as_str().unwrap().to_owned();
        assert_eq!(done.status.code(), Some(code), "{cause}");
        assert!(cause.contains(word), "{code}: {cause}");
        fits(&done, "connect/1");
    }
    issuer.will_answer([]);
    let late = connect(&plane, &host, &["--time-limit", "3s"]).await;
    assert_eq!(late.status.code(), Some(24), "an issuer that says nothing may come back: {}", stderr(&late));
    assert_eq!(plane.operator().await.select("").await, Vec::<String>::new());
    let other = connect(&plane, &host, &["--issuer", "corp"]).await;
    let cause = answered(&other)["error"]["cause"].clone();
    assert!(other.status.code() == Some(28) && cause.as_str().unwrap().contains("it names ci"), "{cause}");
}

#[tokio::test]
async fn an_issuer_that_is_not_named_or_not_there_is_told_before_a_code_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let host = Agent::host(folder.path(), "host", OPEN);
    let told = |done: &Output, word: &str| {
        let cause = answered(done)["error"]["cause"].as_str().unwrap().to_owned();
        assert!(done.status.code() == Some(28) && cause.contains(word), "{cause}");
        assert!(!stderr(done).contains("login/1"));
    };
    let none = Plane::start(&folder.path().join("none"), &Options::default()).await;
    told(&connect(&none, &host, &[]).await, "names no issuer");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let issuer = Issuer::start();
    let gone = issuer.plane_with(&folder.path().join("gone"), &format!("http://{closed}"), LOGIN).await;
    told(&connect(&gone, &host, &[]).await, "cannot reach the issuer");
    let another =
        issuer.plane_with(&folder.path().join("another"), &format!("{}/", issuer.url()), LOGIN).await;
    told(&connect(&another, &host, &[]).await, "another issuer");
}
