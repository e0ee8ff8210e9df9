//! Profiles of the lock file against real orders, and limits that a host sets.

use std::{collections::HashMap, fs, path::Path};

use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand},
    types::v1::{
        self as types, BundleContent, BundleMode, CommandState, ErrorReason, ItemOutcome, RunScript,
        command_spec::Kind,
    },
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    host::Host,
    netns::Network,
    operator::{Operator, file, reported, script},
    plane::{Options, Plane},
};

use crate::kinds::{run, spec};

async fn host(folder: &Path) -> (Plane, Operator, Agent) {
    let plane = Plane::start(folder, &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder, "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    (plane, operator, agent)
}

/// Puts one line on top of the lock file.
fn profile(folder: &Path, line: &str) {
    let path = folder.join("host/locks.toml");
    let text = fs::read_to_string(&path).unwrap();
    let rules = text.lines().filter(|line| !line.starts_with("profile"));
    let text: String = std::iter::once(line).chain(rules).map(|line| format!("{line}\n")).collect();
    fs::write(path, text).unwrap();
}

async fn order(
    operator: &Operator,
    agent: &Agent,
    spec: types::CommandSpec,
) -> (CommandState, ErrorReason, String) {
    let command = run(operator, &agent.node, spec).await;
    (command.state(), command.reason(), command.message)
}

#[tokio::test]
async fn under_monitor_a_host_is_looked_at_and_nothing_on_it_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    fs::write(agent.file("app.conf"), "theirs\n").unwrap();
    profile(folder.path(), "profile = \"monitor\"");
    let bundle = async |name: &str, mode| {
        let mut content =
            BundleContent { files: vec![file(&agent.file("app.conf"), "ours\n")], ..Default::default() };
        content.set_mode(mode);
        let (_, sha256) = operator.bundle(name, content).await;
        operator.assign(name, "*", name).await;
        operator.until_attempted(&agent.node, &format!("bundle/{name}"), &sha256).await
    };
    let looked = bundle("look", BundleMode::Audit).await;
    assert_eq!((looked.outcome(), looked.drift.len()), (ItemOutcome::Unchanged, 1), "it may look");
    let denied = bundle("write", BundleMode::ApplyAndCorrect).await;
    let error = denied.error.clone().unwrap();
    assert_eq!(error.reason(), ErrorReason::PathNotAllowed);
    assert!(error.message.ends_with("(denied-by-local-lock: profile monitor, line 1)"), "{}", error.message);
    assert_eq!(agent.read("app.conf").as_deref(), Some("theirs\n"));

    let (state, reason, told) = order(&operator, &agent, script("echo yes")).await;
    assert_eq!((state, reason), (CommandState::Denied, ErrorReason::LocalLock));
    assert!(told.ends_with("(denied-by-local-lock: profile monitor, line 1)"), "{told}");
    let (state, _, told) = order(&operator, &agent, spec(Kind::RefreshFacts(types::RefreshFacts {}))).await;
    assert_eq!(state, CommandState::Succeeded, "{told}");
    let explained = agent.cli(&["explain", "extension/acme/log"]);
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("DeniedByLocalLock") && explained.contains("profile monitor"), "{explained}");

    // Without that line everything is as it was before; the host takes what it had refused.
    profile(folder.path(), "");
    let has = |node: &pb::Node| {
        reported(node, "bundle/write").is_some_and(|state| state.outcome() == ItemOutcome::Applied)
    };
    operator.until("the host takes it by itself", &agent.node, has).await;
    assert_eq!(agent.read("app.conf").as_deref(), Some("ours\n"));
}

#[tokio::test]
async fn under_locked_a_host_keeps_its_session_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator, agent) = host(folder.path()).await;
    profile(folder.path(), "profile = \"locked\"");
    for spec in [script("echo yes"), spec(Kind::RefreshFacts(types::RefreshFacts {}))] {
        let (state, reason, told) = order(&operator, &agent, spec).await;
        assert_eq!((state, reason), (CommandState::Denied, ErrorReason::LocalLock));
        assert!(told.ends_with("(denied-by-local-lock: profile locked, line 1)"), "{told}");
    }
    operator.profile("calm", &[("facts-interval", "1h")]).await;
    operator.assign_profile("*", "calm", 0).await;
    let keeps = |node: &pb::Node| {
        let settings = node.facts.iter().flat_map(|facts| &facts.settings);
        settings
            .filter(|one| one.key == "facts-interval")
            .any(|one| one.value == "10m" && one.desired == "1h")
    };
    operator.until("the option is not in force", &agent.node, keeps).await;
    operator.until_liveness(&agent.node, Liveness::Online).await;
}

#[tokio::test]
async fn a_script_gets_no_more_than_the_host_gives_whatever_its_order_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::create();
    let plane = Plane::in_network(folder.path(), &network).await;
    let mut host = Host::boot(folder.path(), "host", &network).await;
    host.install_agent(
        "[commands]\nrun-script = true\n[limits]\nmemory = \"64MiB\"\ncpu = \"50%\"\ntasks = 30\n",
    );
    host.connect(&plane.join(1, &[]).await);
    let operator = plane.operator().await;
    operator.until_liveness(&host.node, Liveness::Online).await;
    let show = "systemctl show --property=MemoryMax --property=CPUQuotaPerSecUSec --property=TasksMax \
                muster-command-$MUSTER_COMMAND_ID | sort";
    let asks = |memory_bytes, cpu_percent| {
        let limits = types::ScriptLimits { memory_bytes, cpu_percent, tasks: 0 };
        spec(Kind::RunScript(RunScript {
            script: show.to_owned(),
            limits: Some(limits),
            ..Default::default()
        }))
    };
    let said = |command: &NodeCommand| {
        assert_eq!(command.state(), CommandState::Succeeded, "{}", command.message);
        String::from_utf8_lossy(&command.stdout).into_owned()
    };
    let nothing = run(&operator, &host.node, asks(0, 0)).await;
    assert_eq!(said(&nothing), "CPUQuotaPerSecUSec=500ms\nMemoryMax=67108864\nTasksMax=31\n");
    let less = run(&operator, &host.node, asks(32 << 20, 20)).await;
    assert_eq!(said(&less), "CPUQuotaPerSecUSec=200ms\nMemoryMax=33554432\nTasksMax=31\n");
    let more = run(&operator, &host.node, asks(128 << 20, 0)).await;
    assert_eq!((more.state(), more.reason()), (CommandState::Denied, ErrorReason::LocalLock));
    assert!(
        more.message.contains("67108864 bytes") && more.message.contains("limits.memory, line 4"),
        "{}",
        more.message
    );
    let hog = RunScript { script: "tail /dev/zero".to_owned(), ..Default::default() };
    let hog = run(&operator, &host.node, spec(Kind::RunScript(hog))).await;
    assert_eq!(
        (hog.state(), hog.reason()),
        (CommandState::Failed, ErrorReason::OutOfMemory),
        "{}",
        hog.message
    );
}

#[tokio::test]
async fn a_host_gives_its_node_another_name_and_everything_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut plane, operator, agent) = host(folder.path()).await;
    let long =
        operator.start("*", script("echo begun; while [ ! -e gate ]; do sleep 0.1; done; echo on")).await;
    let running = |commands: &HashMap<String, NodeCommand>| {
        String::from_utf8_lossy(&commands[&agent.node].stdout).contains("begun")
    };
    eventually("the script runs", LONG, || async { running(&operator.commands(&long).await).then_some(()) })
        .await;
    let before = operator.node(&agent.node).await.unwrap();
    let session = before.connection.unwrap().session_id;
    let named = |name: &'static str| move |node: &pb::Node| node.display_name == name;

    let done = agent.cli(&["rename", "web 1", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&told["display-name"], &told["schema"]), (&"web 1".into(), &"rename/1".into()));
    let node = operator.until("it has the name", &agent.node, named("web 1")).await;
    assert_eq!(node.connection.unwrap().session_id, session, "its session was not opened anew");
    // An operator does the same, and the host hears of it in the session that it has.
    let request = pb::UpdateNodeRequest {
        node: Some(pb::Node {
            id: agent.node.clone(),
            display_name: "web 2".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    operator.nodes.clone().update_node(request).await.unwrap();
    eventually("the host knows", LONG, || async {
        let shown = agent.cli(&["show", "display-name"]);
        (String::from_utf8_lossy(&shown.stdout).trim() == "web 2").then_some(())
    })
    .await;
    let node = operator.node(&agent.node).await.unwrap();
    assert_eq!(node.connection.unwrap().session_id, session);
    assert!(running(&operator.commands(&long).await), "the command goes on");

    let audit =
        pb::ListAuditEntriesRequest { action_prefix: "nodes.rename".to_owned(), ..Default::default() };
    let entries = operator.audit.clone().list_audit_entries(audit).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].actor, format!("node/{}", agent.node));
    assert!(entries[0].after.contains("web 1"), "{}", entries[0].after);

    let refused = |args: &[&str]| {
        let done = agent.cli(args);
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (code, told) = refused(&["rename", " "]);
    assert!(code == Some(18) && told.contains("1 to 128 characters"), "{told}");
    plane.configure("hosts-may-rename", "false");
    plane.kill();
    plane.serve(&[]).await;
    let (code, told) = refused(&["rename", "web 3"]);
    assert!(code == Some(18) && told.contains(Reason::RenameDisabled.as_str()), "{told}");
}
