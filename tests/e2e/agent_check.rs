//! `check`: what it finds on the way to a control plane, and that it disturbs nobody.

use muster_common::join::JoinString;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::Operator,
    plane::{Options, Plane},
};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::agent_cli::{fits, json, stderr};

/// The steps of the only target of this port, by name.
fn step<'a>(answer: &'a Value, port: &str, name: &str) -> &'a Value {
    let target = answer["targets"].as_array().unwrap().iter().find(|target| target["port"] == port).unwrap();
    let mut steps = target["steps"].as_array().unwrap().iter();
    steps.find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name} in {target}"))
}

fn names(answer: &Value, port: &str) -> Vec<String> {
    let target = answer["targets"].as_array().unwrap().iter().find(|target| target["port"] == port).unwrap();
    let name = |step: &Value| step["name"].as_str().unwrap().to_owned();
    target["steps"].as_array().unwrap().iter().map(name).collect()
}

async fn session(operator: &Operator, node: &str) -> String {
    operator.until_liveness(node, pb::Liveness::Online).await.connection.unwrap().session_id
}

#[tokio::test]
async fn a_check_finds_all_in_order_and_leaves_the_session_alone() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    let before = session(&operator, &agent.node).await;
    let done = agent.cli(&["check", "--json", "--hold", "1s", "--throughput", "1"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let answer = fits(&done, "check/1");
    let expected = ["dns", "tcp", "tls", "h2", "authentication", "clock", "stream", "throughput"];
    assert_eq!(names(&answer, "session"), expected);
    assert_eq!(names(&answer, "recovery"), ["dns", "tcp", "tls", "h2", "enrollment", "clock"]);
    for (port, target) in [("session", &expected[..]), ("host", &["certificate"])] {
        for name in target {
            assert_eq!(step(&answer, port, name)["outcome"], "passed", "{answer}");
        }
    }
    let tls = &step(&answer, "session", "tls")["details"];
    assert_eq!(
        (tls["version"].as_str(), tls["key-exchange"].as_str()),
        (Some("TLSv1_3"), Some("X25519MLKEM768"))
    );
    assert!(tls["chain"][0]["names"][0].as_str().unwrap().contains("/control-plane/"), "{tls}");
    assert_eq!(step(&answer, "session", "authentication")["details"]["node"], agent.node.as_str());
    assert_eq!(step(&answer, "session", "throughput")["details"]["bytes"], 1024 * 1024);
    assert!(step(&answer, "session", "stream")["took-ms"].as_u64().unwrap() >= 1000);
    assert_eq!(session(&operator, &agent.node).await, before, "the session is the same");
    let told = agent.cli(&["check", "--hold", "0s", "--throughput", "0"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success() && text.contains("everything that the agent needs works"), "{text}");
    assert!(!text.contains('\x1b'), "no colour where no terminal is: {text:?}");
}

#[tokio::test]
async fn before_a_host_is_connected_a_join_string_says_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(1, &[]).await;
    let host = Agent::host(folder.path(), "host", OPEN);
    let check = |join: &JoinString| host.cli(&["check", "--json", &join.to_string()]);
    let answer = fits(&check(&join), "check/1");
    assert_eq!(names(&answer, "enrollment"), ["dns", "tcp", "tls", "h2", "enrollment", "clock"]);
    assert_eq!(step(&answer, "enrollment", "clock")["outcome"], "passed", "{answer}");

    let ca_pin = muster_common::digest::Sha256::of(b"another");
    let other = check(&JoinString { ca_pin, ..join.clone() });
    let (answer, tls) = (json(&other), step(&json(&other), "enrollment", "tls").clone());
    assert_eq!((other.status.code(), tls["outcome"].as_str()), (Some(23), Some("failed")), "{answer}");
    assert!(tls["remedy"].as_str().unwrap().contains("TLS inspection"), "{tls}");
    assert!(tls["details"]["chain"][0]["not-after"].is_string(), "who answers is told: {tls}");
    assert_eq!(answer["error"]["code"], "CHECK_FAILED");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let both = JoinString { addresses: vec![closed.clone(), join.addresses[0].clone()], ..join.clone() };
    assert!(check(&both).status.success(), "one address that works is enough");
    let nobody = check(&JoinString { addresses: vec![closed], ..join.clone() });
    let tcp = step(&json(&nobody), "enrollment", "tcp").clone();
    assert_eq!((nobody.status.code(), tcp["outcome"].as_str()), (Some(23), Some("failed")));
    assert!(tcp["remedy"].as_str().unwrap().contains("nobody listens"), "{tcp}");
    let nameless = JoinString { addresses: vec!["no-such-host.invalid:1".to_owned()], ..join.clone() };
    assert_eq!(step(&json(&check(&nameless)), "enrollment", "dns")["outcome"], "failed");

    let seen = host.cli(&["check", "--address", &join.addresses[0]]);
    let text = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(seen.status.success() && text.contains("it shows spiffe://"), "{text}{}", stderr(&seen));
}

#[tokio::test]
async fn a_host_that_is_revoked_is_told_so_by_the_step_that_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut host = Agent::host(folder.path(), "host", OPEN);
    host.connect(&plane.join(1, &[]).await);
    let check = || host.cli(&["check", "--json", "--hold", "0s", "--throughput", "0"]);
    assert!(check().status.success());
    let request = pb::RevokeRequest { subject: format!("node/{}", host.node), reason: "lost".to_owned() };
    operator.identity.clone().revoke(request).await.unwrap();
    eventually("the revocation counts", LONG, || {
        std::future::ready((check().status.code() == Some(23)).then_some(()))
    })
    .await;
    let answer = json(&check());
    let target =
        answer["targets"].as_array().unwrap().iter().find(|target| target["port"] == "session").unwrap();
    let failed = target["steps"].as_array().unwrap().iter().find(|step| step["outcome"] == "failed").unwrap();
    assert!(["h2", "authentication"].contains(&failed["name"].as_str().unwrap()), "{failed}");
    assert!(failed["remedy"].as_str().unwrap().contains("disconnect"), "{failed}");
}

#[tokio::test]
async fn a_stream_that_is_cut_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let mut host = Agent::host(folder.path(), "host", OPEN);
    host.connect(&plane.join(1, &[]).await);
    let mut command = host.command(&["check", "--hold", "5m"]);
    let mut checking = muster_tests::process::Process::start(
        {
            command.arg("--json");
            command
        },
        &folder.path().join("checking"),
    );
    let held = || std::future::ready(checking_log(folder.path()).contains("stream …").then_some(()));
    eventually("the stream is held", LONG, held).await;
    plane.kill();
    assert_eq!(checking.ended().await.code(), Some(23));
    let log = checking_log(folder.path());
    assert!(log.contains("\"name\":\"stream\",\"outcome\":\"failed\""), "{log}");
}

fn checking_log(folder: &std::path::Path) -> String {
    std::fs::read_to_string(folder.join("checking")).unwrap_or_default()
}
