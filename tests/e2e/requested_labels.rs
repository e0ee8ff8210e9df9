//! Labels that a host asks for when it comes.

use muster_proto::admin::v1 as pb;
use muster_tests::{
    agent::{Agent, OPEN},
    issuer::Issuer,
    operator::Operator,
    plane::{Options, Plane},
};

use crate::agent_cli::{fits, json};

async fn uses(operator: &Operator) -> Vec<i32> {
    let request = pb::ListJoinTokensRequest::default();
    let tokens = operator.join_tokens.clone().list_join_tokens(request).await.unwrap().into_inner();
    tokens.join_tokens.iter().map(|token| token.uses).collect()
}

#[tokio::test]
async fn a_host_asks_for_labels_and_gets_all_of_them_or_does_not_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let create = ["token", "create", "--label", "role=web", "--requestable-label", "rack"];
    let join = plane.cli(&[&create[..], &["--requestable-label", "env=prod", "--uses", "2"]].concat());
    let host = Agent::host(folder.path(), "host", OPEN);
    let connect = |labels: &str| host.cli(&["connect", "--json", join.trim(), "--labels", labels]);
    for wrong in ["rack", "rack=7,rack=8"] {
        assert_eq!(connect(wrong).status.code(), Some(2), "{wrong}");
    }
    let refused = connect("rack=7,env=dev");
    let error = json(&refused)["error"].clone();
    assert_eq!((refused.status.code(), error["reason"].as_str()), (Some(18), Some("LABEL_NOT_REQUESTABLE")));
    let cause = error["cause"].as_str().unwrap();
    assert!(cause.contains("env=dev") && cause.contains("rack, env=prod"), "{cause}");
    assert_eq!(
        connect("role=db").status.code(),
        Some(18),
        "what the token gives is not for the host to change"
    );
    assert_eq!((operator.select("").await, uses(&operator).await), (Vec::<String>::new(), vec![0]));
    let connected = fits(&connect("rack=7,env=prod"), "connect/1");
    let node = operator.node(connected["node-id"].as_str().unwrap()).await.unwrap();
    let labels: std::collections::BTreeMap<_, _> = node.labels.into_iter().collect();
    let expected = [("env", "prod"), ("rack", "7"), ("role", "web")];
    assert!(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected), "{labels:?}");
}

#[tokio::test]
async fn a_host_that_comes_with_an_issuers_token_asks_for_what_the_configuration_allows() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start();
    let more = "requestable-labels = [\"rack=r-*\"]\n";
    let plane = issuer.plane_with(folder.path(), "https://issuer.test", more).await;
    let operator = plane.operator().await;
    let join = plane.join(1, &[]).await;
    let (pin, file) = (join.ca_pin.to_string(), folder.path().join("token.jwt"));
    std::fs::write(&file, issuer.token("1", |_, _| {})).unwrap();
    let host = Agent::host(folder.path(), "host", OPEN);
    let connect = |labels: &str| {
        let token = ["--oidc-token-file", file.to_str().unwrap(), "--labels", labels];
        host.cli(
            &[&["connect", "--json", "--address", &join.addresses[0], "--ca-pin", &pin], &token[..]].concat(),
        )
    };
    let refused = connect("rack=s-1");
    assert_eq!(json(&refused)["error"]["reason"], "LABEL_NOT_REQUESTABLE");
    let connected = json(&connect("rack=r-1"));
    let node = operator.node(connected["node-id"].as_str().unwrap()).await.unwrap();
    assert_eq!((node.labels["rack"].as_str(), node.labels["role"].as_str()), ("r-1", "runner"));
}
