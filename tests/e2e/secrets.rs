//! Protected contents of bundles: on their hosts, and in no other place.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{BundleContent, BundleFile, BundleMode, ItemOutcome},
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, file, sh},
    plane::{Options, Plane},
    search::{forms, with_text},
};
use prost::Message as _;

const ITEM: &str = "bundle/app";
const SECRET: &str = "correct horse battery staple 5d2c";

fn content(agent: &Agent, secret: &str) -> BundleContent {
    let key = BundleFile { protected: true, ..file(&agent.file("key"), secret) };
    let readable = |path: &Path| sh(&format!("test -s {}", path.display()));
    BundleContent {
        files: vec![key, file(&agent.file("app.conf"), "open\n")],
        validate: sh("find $MUSTER_STAGE -type f | xargs cat > /dev/null"),
        probe: readable(&agent.file("key")),
        mode: BundleMode::ApplyAndCorrect.into(),
        ..Default::default()
    }
}

async fn got(operator: &Operator, agent: &Agent, sha256: &[u8]) {
    let state = operator.until_attempted(&agent.node, ITEM, sha256).await;
    assert_eq!(state.outcome(), ItemOutcome::Applied, "{state:?}");
}

async fn bundle(operator: &Operator, version: u64) -> pb::Bundle {
    let request = pb::GetBundleRequest { name: "app".to_owned(), version };
    operator.bundles.clone().get_bundle(request).await.unwrap().into_inner().bundle.unwrap()
}

#[tokio::test]
async fn a_protected_content_is_on_its_host_and_in_no_other_place() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { log: "trace".to_owned(), ..Options::default() };
    let plane = Plane::start(folder.path(), &options).await;
    let operator = plane.operator().await;
    let mut agent = Agent::host(folder.path(), "host", muster_tests::agent::OPEN);
    agent.configure("[settings]\nlog-level = \"trace\"\n");
    agent.connect(&plane.join(1, &[("role", "web")]).await);
    agent.run();
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let (_, sha256) = operator.bundle("app", content(&agent, SECRET)).await;
    operator.assign("app", "role=web", "app").await;
    got(&operator, &agent, &sha256).await;
    assert_eq!(agent.read("key").as_deref(), Some(SECRET));
    assert_eq!(fs::metadata(agent.file("key")).unwrap().permissions().mode() & 0o777, 0o600);

    // Something else writes into it: it is put right, and what is told of it tells nothing.
    fs::write(agent.file("key"), "not the secret 77aa").unwrap();
    let node = operator
        .until("the drift is corrected", &agent.node, |node| {
            let state = muster_tests::operator::reported(node, ITEM);
            state.is_some_and(|state| state.drift.iter().any(|drift| drift.corrected))
        })
        .await;
    assert_eq!(agent.read("key").as_deref(), Some(SECRET));
    let shown = node.encode_to_vec();
    assert!(!shown.windows(15).any(|it| it == b"not the secret "), "drift shows no content");

    // Everything that anybody can read of it: API, databases, logs, journals, audit.
    let stored = bundle(&operator, 1).await;
    let key = &stored.content.as_ref().unwrap().files[0];
    assert!(key.protected && key.content.is_empty() && !key.protected_id.is_empty());
    let allowed = [agent.file("key"), agent.state().join("nodes").join(&agent.node).join("items/secrets")];
    let elsewhere: Vec<PathBuf> =
        forms(SECRET).iter().flat_map(|text| with_text(folder.path(), text)).collect();
    let elsewhere = elsewhere.iter().filter(|path| !allowed.iter().any(|allowed| path.starts_with(allowed)));
    assert_eq!(elsewhere.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    assert!(agent.log().contains("TRACE") || agent.log().contains("DEBUG"), "the agent logs what it can");
}

#[tokio::test]
async fn a_content_that_stays_is_kept_from_version_to_version_without_being_known() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[("role", "web")]).await);
    let (first, _) = operator.bundle("app", content(&agent, SECRET)).await;
    operator.assign("app", "role=web", "app").await;
    // What is read is edited and sent back, as everybody does.
    let mut edited = bundle(&operator, first).await.content.unwrap();
    edited.files[1].content = b"edited\n".to_vec().into();
    let (second, sha256) = operator.bundle("app", edited).await;
    assert_eq!(second, 2);
    operator.assign("app", "role=web", "app").await;
    got(&operator, &agent, &sha256).await;
    assert_eq!(
        (agent.read("key").as_deref(), agent.read("app.conf").as_deref()),
        (Some(SECRET), Some("edited\n"))
    );
}

#[tokio::test]
async fn keys_change_on_both_sides_and_contents_go_on_arriving() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::start(folder.path(), "host", &plane.join(1, &[("role", "web")]).await);
    let (_, sha256) = operator.bundle("app", content(&agent, SECRET)).await;
    operator.assign("app", "role=web", "app").await;
    got(&operator, &agent, &sha256).await;

    // A new key of the vault; the old one is taken away once nothing needs it.
    let key = plane.cli(&["secrets", "rotate"]);
    plane.kill();
    plane.serve(&[]).await;
    let keys = plane.cli(&["secrets", "keys"]);
    assert!(
        keys.lines().any(|line| line.starts_with(key.trim()) && line.contains("encrypts  1 protected")),
        "{keys}"
    );
    let file = plane.state().join("secrets.key");
    let text = fs::read_to_string(&file).unwrap();
    let newest: Vec<&str> =
        text.lines().filter(|line| line.starts_with('#') || line.starts_with(key.trim())).collect();
    fs::write(&file, newest.join("\n")).unwrap();
    plane.kill();
    plane.serve(&[]).await;

    // The host loses its own key, and takes another version all the same.
    agent.kill();
    let sealing_key = agent.state().join("nodes").join(&agent.node).join("items/sealing.key");
    fs::remove_file(&sealing_key).unwrap();
    agent.run();
    let operator = plane.operator().await;
    let (_, sha256) = operator.bundle("app", content(&agent, "another one")).await;
    operator.assign("app", "role=web", "app").await;
    got(&operator, &agent, &sha256).await;
    assert_eq!(agent.read("key").as_deref(), Some("another one"));
    assert!(sealing_key.exists());
}

#[tokio::test]
async fn without_its_key_a_content_is_withheld_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.bundle("app", content(&agent, SECRET)).await;
    plane.kill();
    fs::remove_file(plane.state().join("secrets.key")).unwrap();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    operator.assign("app", "*", "app").await;
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let explained = eventually("it is explained", LONG, || async {
        let request = pb::ExplainItemRequest { id: agent.node.clone(), item: ITEM.to_owned() };
        let answer = operator.nodes.clone().explain_item(request).await.unwrap().into_inner();
        (answer.verdict == "Withheld").then_some(answer)
    })
    .await;
    assert!(explained.reasons.iter().any(|reason| reason.about == "Protected"));
    assert!(plane.process().log().contains("not in"), "whoever starts it is told");
    let again = pb::CreateBundleRequest {
        name: "app".to_owned(),
        content: Some(content(&agent, "given anew")),
        validate_only: false,
    };
    let refused = operator.bundles.clone().create_bundle(again).await.unwrap_err();
    assert_eq!(muster_tests::operator::reason(&refused), Some(Reason::ProtectedUnreadable));
    // Who has lost the key for good makes another one.
    assert_eq!(plane.cli(&["secrets", "rotate"]).trim().len(), 16, "it names the key");
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let (_, sha256) = operator.bundle("app", content(&agent, "given anew")).await;
    operator.assign("app", "*", "app").await;
    got(&operator, &agent, &sha256).await;
}
