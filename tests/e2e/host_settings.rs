//! Settings of a host by its own command line: on the real binary, with the shapes that
//! programs read.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Output},
};

use muster_tests::agent::{Agent, OPEN};
use serde_json::Value;

fn host(folder: &Path) -> Agent {
    Agent::host(folder, "host", OPEN)
}

/// Runs a command that must succeed.
fn json(agent: &Agent, args: &[&str]) -> Value {
    let done = agent.cli(&[args, &["--json"]].concat());
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Runs a command that must fail; answers its exit status and what it says.
fn refused(agent: &Agent, args: &[&str]) -> (i32, Value) {
    let done = agent.cli(&[args, &["--json"]].concat());
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    (done.status.code().unwrap(), told["error"]["code"].clone())
}

fn text(done: &Output) -> String {
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Names of an object, in their order.
fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn file(folder: &Path) -> std::path::PathBuf {
    folder.join("host/node-agent.toml")
}

#[test]
fn settings_are_changed_together_told_with_their_origin_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let agent = host(folder.path());
    let before = fs::read_to_string(file(folder.path())).unwrap() + "# the end\n";
    fs::write(file(folder.path()), &before).unwrap();

    let list = json(&agent, &["config", "list"]);
    assert_eq!(names(&list), ["file", "notes", "schema", "settings"]);
    assert_eq!(list["schema"], "config-list/1");
    assert_eq!(names(&list["settings"][0]), ["configured", "desired", "key", "origin", "value"]);
    assert_eq!(list["settings"][0]["origin"], "default");

    let changed = json(&agent, &["config", "set", "log-level=debug", "facts-interval=1h"]);
    assert_eq!(names(&changed), ["changes", "file", "notes", "restored", "schema"]);
    assert_eq!(changed["schema"], "config-change/1");
    let change = changed["changes"].as_array().unwrap().iter().find(|it| it["key"] == "log-level").unwrap();
    assert_eq!(names(change), ["after", "before", "in-force", "key"]);
    assert_eq!((&change["before"], &change["after"]), (&Value::Null, &Value::from("debug")));
    assert_eq!(change["in-force"]["origin"], "configuration");
    assert_eq!(text(&agent.cli(&["config", "get", "log-level"])), "debug\n");
    assert!(fs::read_to_string(file(folder.path())).unwrap().starts_with(before.lines().next().unwrap()));
    assert!(fs::read_to_string(file(folder.path())).unwrap().contains("# the end"));

    // One fault, and nothing is written; every fault is told.
    let held = fs::read_to_string(file(folder.path())).unwrap();
    let wrong = ["config", "set", "log-level=warn", "facts-interval=1ms", "colour=red"];
    assert_eq!(refused(&agent, &wrong), (36, "SETTING_INVALID".into()));
    let told = String::from_utf8_lossy(&agent.cli(&wrong).stderr).into_owned();
    assert!(told.contains("facts-interval") && told.contains("colour"), "{told}");
    assert_eq!(fs::read_to_string(file(folder.path())).unwrap(), held);
    assert_eq!(refused(&agent, &["config", "get", "colour"]), (36, "SETTING_INVALID".into()));

    json(&agent, &["config", "clear", "facts-interval"]);
    json(&agent, &["config", "set", "log-level", "warn"]);
    let level = |expected: &str| {
        assert_eq!(text(&agent.cli(&["config", "get", "log-level"])), format!("{expected}\n"));
    };
    level("warn");
    json(&agent, &["config", "undo"]);
    level("debug");
    json(&agent, &["config", "undo"]);
    assert_eq!(text(&agent.cli(&["config", "get", "facts-interval"])), "1h\n");
    json(&agent, &["config", "undo"]);
    level("info");
    assert_eq!(refused(&agent, &["config", "undo"]), (37, "NOTHING_TO_UNDO".into()));

    let history = json(&agent, &["config", "history"]);
    assert_eq!(
        (names(&history), &history["schema"]),
        (vec!["changes", "schema"], &"config-history/1".into())
    );
    let changes = history["changes"].as_array().unwrap();
    let actions: Vec<&str> = changes.iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["set", "clear", "set", "undo", "undo", "undo"]);
    assert_eq!((&changes[3]["undoes"], &changes[5]["undoes"]), (&3.into(), &1.into()));
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(changes[0]["by"]["uid"], uid);
}

#[test]
fn each_setting_says_what_it_can_be_and_the_lock_file_has_the_last_word_aloud() {
    let folder = tempfile::tempdir().unwrap();
    let agent = host(folder.path());
    let info = json(&agent, &["config", "info", "facts-interval"]);
    assert_eq!(info["schema"], "config-info/1");
    let interval = &info["settings"][0];
    let expected = [
        "applies",
        "configured",
        "default",
        "description",
        "desired",
        "host-only",
        "key",
        "maximum",
        "minimum",
        "origin",
        "since",
        "type",
        "unit",
        "value",
        "words",
    ];
    assert_eq!(names(interval), expected);
    assert_eq!((&interval["minimum"], &interval["applies"]), (&"10s".into(), &"live".into()));
    let all = text(&agent.cli(&["config", "info"]));
    assert!(all.contains("one of error, warn, info, debug, trace") && all.contains("10s to 24h"), "{all}");

    agent.rules("[settings]\nlog-level = \"error\"\n");
    let changed = json(&agent, &["config", "set", "log-level=debug"]);
    assert_eq!(changed["changes"][0]["in-force"], serde_json::json!({ "value": "error", "origin": "lock" }));
    assert!(changed["notes"][0].as_str().unwrap().contains("the lock file fixes it"), "{changed}");
    assert_eq!(text(&agent.cli(&["config", "get", "log-level"])), "error\n");
}

#[test]
fn lists_grow_and_shrink_and_no_credential_is_shown_or_kept_in_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let agent = host(folder.path());
    json(&agent, &["config", "set", "--add", "proxy.bypass=10.0.0.0/8"]);
    json(&agent, &["config", "set", "--add", "proxy.bypass=Session"]);
    assert_eq!(text(&agent.cli(&["config", "get", "proxy.bypass"])), "10.0.0.0/8,Session\n");
    json(&agent, &["config", "set", "--remove", "proxy.bypass=session"]);
    assert_eq!(text(&agent.cli(&["config", "get", "proxy.bypass"])), "10.0.0.0/8\n");
    assert_eq!(
        refused(&agent, &["config", "set", "--add", "log-level=debug"]),
        (36, "SETTING_INVALID".into())
    );

    let mode = fs::metadata(file(folder.path())).unwrap().mode();
    let mut said = Vec::new();
    for url in ["http://agent:hunter2@proxy:3128", "http://agent:hunter3@proxy:3128"] {
        said.push(agent.cli(&["config", "set", &format!("proxy.url={url}")]));
    }
    let mut command = Command::new("sh");
    let program = muster_tests::binaries::path("muster-node-agent");
    let line = "echo http://agent:hunter4@proxy:3128 | \"$0\" --config \"$1\" config set proxy.url -";
    said.push(command.args(["-c", line]).arg(program).arg(file(folder.path())).output().unwrap());
    for command in ["list", "info", "history", "undo"] {
        said.push(agent.cli(&["config", command]));
        said.push(agent.cli(&["config", command, "--json"]));
    }
    for done in said {
        let all = [done.stdout, done.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains("hunter"), "{}", String::from_utf8_lossy(&all));
    }
    // The value before had one, and is not kept: it does not come back from here.
    assert_eq!(refused(&agent, &["config", "undo"]), (37, "NOTHING_TO_UNDO".into()));
    let history = fs::read_to_string(folder.path().join("host/node-agent.toml.history")).unwrap();
    assert!(!history.contains("hunter") && history.contains("proxy.url"), "{history}");
    assert!(fs::read_to_string(file(folder.path())).unwrap().contains("hunter4"));
    assert_eq!(fs::metadata(file(folder.path())).unwrap().mode(), mode);
}

#[test]
fn a_file_that_was_broken_by_hand_is_told_and_its_last_good_state_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let agent = host(folder.path());
    json(&agent, &["config", "set", "log-level=debug"]);
    json(&agent, &["config", "set", "log-level=warn"]);
    fs::write(file(folder.path()), "log-format = \n").unwrap();
    assert_eq!(refused(&agent, &["config", "set", "log-level=info"]), (10, "CONFIG_INVALID".into()));
    let restored = json(&agent, &["config", "undo"]);
    assert_eq!(restored["restored"], true);
    assert_eq!(text(&agent.cli(&["config", "get", "log-level"])), "debug\n");
    let broken = folder.path().join("host/node-agent.toml.broken");
    assert_eq!(fs::read_to_string(broken).unwrap(), "log-format = \n");
}

#[test]
fn who_may_not_write_is_told_so_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    let agent = host(folder.path());
    json(&agent, &["config", "set", "log-level=debug"]);
    fs::create_dir(agent.state()).unwrap();
    fs::set_permissions(agent.state(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let program = folder.path().join("muster-node-agent");
    fs::copy(muster_tests::binaries::path("muster-node-agent"), &program).unwrap();
    let nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command.arg("--config").arg(file(folder.path())).args(args).output().unwrap()
    };
    let done = nobody(&["config", "set", "log-level=warn", "--json"]);
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.status.code(), &told["error"]["code"]), (Some(38), &"FILE_NOT_WRITABLE".into()));
    // Looking is for everybody, and says what this user cannot know.
    let done = nobody(&["config", "get", "log-level"]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "debug\n");
    assert!(String::from_utf8_lossy(&done.stderr).contains("not known"), "{done:?}");
    assert_eq!(json(&agent, &["config", "history"])["changes"].as_array().unwrap().len(), 1);
}

#[test]
fn a_lock_file_is_told_rule_by_rule_and_checked_before_it_is_put_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let agent = host(folder.path());
    let lock = folder.path().join("host/locks.toml");
    fs::write(&lock, "profile = \"monitor\"\n[hooks]\nallow = true\n[extensions]\nblock = [\"acme/log\"]\n")
        .unwrap();
    let shown = json(&agent, &["locks", "show"]);
    assert_eq!(
        (names(&shown), &shown["profile"]),
        (vec!["file", "notes", "profile", "rules", "schema"], &"monitor".into())
    );
    let rules = shown["rules"].as_array().unwrap();
    let hooks = rules.iter().find(|rule| rule["key"] == "hooks.allow").unwrap();
    assert_eq!(names(hooks), ["key", "line", "origin", "overruled", "value"]);
    assert_eq!(
        (&hooks["line"], &hooks["overruled"], &hooks["origin"]),
        (&3.into(), &true.into(), &"file".into())
    );

    let candidate = folder.path().join("new.toml");
    fs::write(&candidate, "profile = \"open\"\n").unwrap();
    let candidate = candidate.to_str().unwrap();
    assert_eq!(refused(&agent, &["locks", "check", candidate]), (35, "LOCKS_INVALID".into()));
    fs::write(candidate, "profile = \"full\"\n").unwrap();
    let checked = json(&agent, &["locks", "check", candidate]);
    assert!(checked["notes"].to_string().contains("can also change this file"), "{checked}");
    assert_eq!(json(&agent, &["locks", "show"])["profile"], "monitor", "a check changes nothing");
}
