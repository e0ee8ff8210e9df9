//! The agent's command line where something went wrong before.

use std::{fs, io::Read as _};

use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    plane::{Options, Plane},
};
use serde_json::Value;

use crate::agent_cli::{fits, json, stderr};

#[tokio::test]
async fn connect_after_a_cut_before_the_first_session_goes_on_with_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(1, &[]).await;
    let mut host = Agent::host(folder.path(), "host", OPEN);
    host.connect(&join);
    plane.kill();
    host.run();
    eventually("the agent runs", LONG, || async {
        let shown = json(&host.cli(&["show", "--json", "agent-running"]));
        (shown["agent-running"] == true).then_some(())
    })
    .await;
    let connect = |limit: &str| host.cli(&["connect", "--json", "--time-limit", limit, &join.to_string()]);
    let cut = connect("2s");
    assert_eq!(cut.status.code(), Some(17), "there is no session yet: {}", stderr(&cut));
    plane.serve(&[]).await;
    let done = connect("60s");
    let connected = fits(&done, "connect/1");
    assert_eq!(
        (connected["session"].as_str(), &connected["node-id"]),
        (Some("connected"), &Value::from(&*host.node))
    );
    let outcomes: Vec<_> =
        connected["stages"].as_array().unwrap().iter().map(|it| it["outcome"].clone()).collect();
    assert_eq!(outcomes, ["passed", "skipped", "skipped", "skipped", "passed", "passed"]);
    assert_eq!(connect("5s").status.code(), Some(14), "nothing is missing any more");
}

#[tokio::test]
async fn logs_come_also_where_the_configuration_file_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    agent.configure("colour = \"hunter2hunter2\n[[[\n");
    assert_eq!(agent.cli(&["show"]).status.code(), Some(10));
    let path = folder.path().join("logs.tar.gz");
    let done = agent.cli(&["logs", "--json", "-o", path.to_str().unwrap()]);
    assert!(done.status.success(), "{}", stderr(&done));
    let told = fits(&done, "logs/1");
    let fault = told["configuration-error"].as_str().unwrap();
    assert!(fault.contains("not a valid configuration"), "{told}");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(&path).unwrap()));
    let mut shown = String::new();
    let is_shown = |entry: &tar::Entry<'_, _>| entry.path().unwrap().ends_with("about/show.json");
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    entries.find(is_shown).unwrap().read_to_string(&mut shown).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["node-id"], agent.node, "the state directory was found all the same");
    assert_eq!(shown["configuration-error"], fault);
}
