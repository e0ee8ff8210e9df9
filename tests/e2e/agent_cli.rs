//! The agent's command line as people and programs use it, on the real binary.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use muster_common::join::JoinString;
use muster_tests::{
    agent::{Agent, OPEN},
    binaries,
    eventually::{LONG, eventually},
    operator::file,
    plane::{Options, Plane},
    versions,
};
use serde_json::Value;
use tokio::net::TcpListener;

/// All that people see.
const COMMANDS: [&str; 22] = [
    "connect",
    "run",
    "show",
    "check",
    "explain",
    "status",
    "metrics",
    "extension",
    "pause",
    "resume",
    "log-level",
    "config",
    "locks",
    "rename",
    "disconnect",
    "logs",
    "proxy",
    "upgrade",
    "workload",
    "version",
    "completions",
    "executor",
];

/// Where shapes stand.
const PAGES: [&str; 5] = ["cli.md", "cli/config.md", "proxy.md", "locks.md", "workload-identity.md"];

pub(crate) fn json(done: &Output) -> Value {
    let text = String::from_utf8_lossy(&done.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}, {}", stderr(done)))
}

pub(crate) fn stderr(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// The shapes of the pages by their `schema`.
fn shapes() -> Vec<(String, Value)> {
    let text = |page| fs::read_to_string(binaries::repository().join("docs").join(page)).unwrap();
    let page = PAGES.map(text).join("\n");
    let blocks = page.split("```json shape\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let shape = |block: &str| {
        let shape: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        (shape["schema"].as_str().unwrap().trim_start_matches('=').to_owned(), shape)
    };
    blocks.map(shape).collect()
}

/// What about a value is not as the shape says.
fn misfit(shape: &Value, value: &Value, at: &str) -> Option<String> {
    let wrong = || Some(format!("{at} is {value}, not {shape}"));
    match (shape, value) {
        (Value::String(kinds), value) => {
            let fits = kinds.split(" or ").any(|kind| match kind {
                "any" => true,
                "text" => value.is_string(),
                "number" => value.is_number(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                exactly => value.as_str().is_some_and(|text| exactly.strip_prefix('=') == Some(text)),
            });
            if fits { None } else { wrong() }
        }
        (Value::Array(shape), Value::Array(values)) => {
            values.iter().find_map(|value| misfit(&shape[0], value, &format!("{at}[]")))
        }
        (Value::Object(shape), Value::Object(values)) => {
            if let Some(each) = shape.get("*") {
                return values.iter().find_map(|(key, value)| misfit(each, value, &format!("{at}.{key}")));
            }
            let unknown = values
                .keys()
                .find(|key| !shape.contains_key(*key) && !shape.contains_key(&format!("{key}?")));
            if let Some(key) = unknown {
                return Some(format!("{at}.{key} is not in the shape"));
            }
            shape.iter().find_map(|(key, shape)| {
                match (values.get(key.trim_end_matches('?')), key.ends_with('?')) {
                    (Some(value), _) => misfit(shape, value, &format!("{at}.{key}")),
                    (None, true) => None,
                    (None, false) => Some(format!("{at}.{key} is missing")),
                }
            })
        }
        _ => wrong(),
    }
}

/// The answer is as docs/cli.md says.
#[track_caller]
pub(crate) fn fits(done: &Output, schema: &str) -> Value {
    let answer = json(done);
    let shapes = shapes();
    let shape = shapes.iter().find(|(name, _)| name == schema).unwrap_or_else(|| panic!("no shape {schema}"));
    if let Some(wrong) = misfit(&shape.1, &answer, schema) {
        panic!("{wrong}");
    }
    answer
}

#[tokio::test]
async fn every_answer_has_the_shape_that_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::host(folder.path(), "host", OPEN);
    let nowhere = fits(&agent.cli(&["show", "--json"]), "show/1");
    assert_eq!((nowhere["connected"].as_bool(), nowhere["node-id"].is_null()), (Some(false), true));
    fits(&agent.cli(&["version", "--json"]), "version/1");
    fits(&agent.cli(&["completions", "zsh", "--json"]), "completions/1");
    fits(&agent.cli(&["explain", "--json"]), "error/1");

    // The agent that runs finds the identity by itself, and `connect` waits for that.
    agent.run();
    let join = plane.join(1, &[]).await;
    let connected = agent.cli(&["connect", "--json", &join.to_string()]);
    let connected = fits(&connected, "connect/1");
    assert_eq!(connected["session"], "connected", "{connected}");
    let stages: Vec<&str> =
        connected["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(stages, ["configuration", "network", "trust", "enroll", "identity", "session"]);
    agent.node = connected["node-id"].as_str().unwrap().to_owned();

    let none = fits(&agent.cli(&["extension", "list", "--json"]), "extension-list/1");
    assert_eq!(none["extensions"], serde_json::json!([]));
    fits(&agent.cli(&["extension", "remove", "--all", "--json"]), "extension-remove/1");
    let unknown = agent.cli(&["extension", "remove", "none", "--json"]);
    assert_eq!(
        (unknown.status.code(), &fits(&unknown, "error/1")["error"]["code"]),
        (Some(45), &"EXTENSION_UNKNOWN".into())
    );

    let path = agent.file("hello");
    let content =
        muster_proto::types::v1::BundleContent { files: vec![file(&path, "x\n")], ..Default::default() };
    let (_, sha256) = operator.bundle("hello", content).await;
    operator.assign("hello", "*", "hello").await;
    operator.until_attempted(&agent.node, "bundle/hello", &sha256).await;
    let shown = fits(&agent.cli(&["show", "--json"]), "show/1");
    assert_eq!(shown["items"]["bundle/hello"]["verdict"], "InSync", "{shown}");
    assert_eq!((shown["session"].as_str(), shown["session-remedy"].as_str()), (Some("connected"), Some("")));
    assert_eq!(shown["epoch"], 1);
    fits(&agent.cli(&["explain", "--json"]), "explain/1");
    assert_eq!(shown["configuration-error"], "");
    let told: [(&[&str], &str); 9] = [
        (&["config", "list"], "config-list/1"),
        (&["config", "get", "log-level"], "config-list/1"),
        (&["config", "info"], "config-info/1"),
        (&["config", "set", "facts-interval=1h"], "config-change/1"),
        (&["config", "undo"], "config-change/1"),
        (&["config", "history"], "config-history/1"),
        (&["locks", "show"], "locks/1"),
        (&["rename", "web 1"], "rename/1"),
        (&["proxy", "show"], "proxy-show/1"),
    ];
    for (words, shape) in told {
        fits(&agent.cli(&[words, &["--json"]].concat()), shape);
    }
    fits(&agent.cli(&["check", "--json", "--hold", "0s", "--throughput", "0"]), "check/1");
    let archive = folder.path().join("logs.tar.gz");
    fits(&agent.cli(&["logs", "--json", "-o", archive.to_str().unwrap()]), "logs/1");
    let left = fits(&agent.cli(&["disconnect", "--json"]), "disconnect/1");
    assert!(
        left["left-on-host"].as_array().unwrap().contains(&Value::from("files of bundle/hello")),
        "{left}"
    );
    assert_eq!(agent.read("hello").as_deref(), Some("x\n"), "what a bundle brought stays");
}

#[tokio::test]
async fn a_join_string_comes_from_the_environment_standard_input_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(3, &[]).await.to_string();
    let kept = folder.path().join("join");
    fs::write(&kept, format!("{join}\n")).unwrap();
    let kept = kept.to_str().unwrap();
    let ways: [(&str, &[&str], bool, &str); 3] = [
        ("env", &["connect"], true, ""),
        ("stdin", &["connect", "-"], false, &join),
        ("file", &["connect", "--join-file", kept], false, ""),
    ];
    for (name, args, in_environment, fed) in ways {
        let host = Agent::host(folder.path(), name, OPEN);
        let mut command = host.command(args);
        if in_environment {
            command.env("MUSTER_JOIN", &join);
        }
        let done = feed(command, fed);
        assert!(done.status.success(), "{name}: {}", stderr(&done));
        let node = String::from_utf8_lossy(&done.stdout).into_owned();
        let told = stderr(&done);
        assert!(told.contains("enroll") && told.contains("no agent runs here"), "{name}: {told}");
        let again = host.cli(&["connect", &join]);
        assert_eq!(again.status.code(), Some(14));
        assert!(stderr(&again).contains(node.trim()), "it is told which node it is: {}", stderr(&again));
    }
    let none = Agent::host(folder.path(), "none", OPEN);
    let done = none.cli(&["connect", "--json"]);
    assert_eq!((done.status.code(), json(&done)["error"]["number"].as_u64()), (Some(2), Some(2)));
}

fn feed(mut command: Command, text: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn every_exit_code_is_reached_and_told_with_cause_remedy_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(10, &[]).await;
    let page = fs::read_to_string(binaries::repository().join("docs/errors/agent-exit-codes.md")).unwrap();
    let told = |done: &Output, number: i32| {
        assert_eq!(done.status.code(), Some(number), "{}", String::from_utf8_lossy(&done.stdout));
        let error = json(done)["error"].clone();
        assert_eq!(error["number"], number, "{error}");
        assert!(
            !error["cause"].as_str().unwrap().is_empty() && !error["remedy"].as_str().unwrap().is_empty()
        );
        assert!(page.contains(&format!("\n## {}\n", error["code"].as_str().unwrap())), "{error}");
    };
    let host = |name: &str| Agent::host(folder.path(), name, OPEN);
    let stranger = host("stranger");
    told(&stranger.cli(&["shwo", "--json"]), 2);
    let odd = host("odd");
    odd.configure("colour = 1\n");
    told(&odd.cli(&["show", "--json"]), 10);
    let filed = host("filed");
    fs::write(filed.state(), "").unwrap();
    told(&filed.cli(&["connect", "--json", &join.to_string()]), 11);
    let mut running = host("running");
    running.connect(&join);
    running.run();
    let is_running =
        || std::future::ready(json(&running.cli(&["show", "--json", "session"]))["session"] == "connected");
    eventually("it runs, and has had a session", LONG, || async { is_running().await.then_some(()) }).await;
    told(&running.cli(&["run", "--single-process", "--json"]), 12);
    told(&stranger.cli(&["disconnect", "--json"]), 13);
    told(&running.cli(&["connect", "--json", &join.to_string()]), 14);
    told(&stranger.cli(&["connect", "--json", "muster1.x"]), 15);
    let ca_pin = muster_common::digest::Sha256::of(b"another");
    let other = JoinString { ca_pin, ..join.clone() };
    told(&stranger.cli(&["connect", "--json", &other.to_string()]), 16);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let nobody = JoinString { addresses: vec![closed], ..join.clone() };
    told(&stranger.cli(&["connect", "--json", &nobody.to_string()]), 17);
    let unknown = JoinString { secret: "x".repeat(43), ..join.clone() };
    let refused = stranger.cli(&["connect", "--json", &unknown.to_string()]);
    told(&refused, 18);
    fits(&refused, "connect/1");
    assert_eq!(json(&refused)["error"]["reason"], "TOKEN_UNKNOWN");
    assert_eq!(json(&refused)["stages"].as_array().unwrap().len(), 4, "what was done is told, too");
    told(&stranger.cli(&["show", "--json", "colour"]), 19);
    let certificate = ["connect", "--json", "--host-certificate", "/none", "--host-key", "/none"];
    let pin = join.ca_pin.to_string();
    let address = ["--address", &join.addresses[0], "--ca-pin", &pin];
    told(&stranger.cli(&[&certificate[..], &address].concat()), 21);
    told(&running.cli(&["explain", "--json", "bundle/none"]), 22);
    told(&stranger.cli(&["check", "--json", &nobody.to_string()]), 23);
    // Somebody takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = JoinString { addresses: vec![silent.local_addr().unwrap().to_string()], ..join.clone() };
    told(&stranger.cli(&["connect", "--json", "--time-limit", "200ms", &mute.to_string()]), 24);
    let there = folder.path().join("there");
    fs::write(&there, "mine").unwrap();
    told(&stranger.cli(&["logs", "--json", "-o", there.to_str().unwrap()]), 25);
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine", "what is there is not written over");
}

#[tokio::test]
async fn logs_have_what_helps_and_neither_keys_nor_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    agent.configure("# password = hunter2hunter2\n");
    let path = folder.path().join("logs.tar.gz");
    let done = agent.cli(&["logs", "-o", path.to_str().unwrap()]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(&path).unwrap()));
    let mut members = Vec::new();
    let mut whole = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        members.push(entry.path().unwrap().to_str().unwrap().to_owned());
        entry.read_to_string(&mut whole).unwrap();
    }
    for member in [
        "version.txt",
        "show.json",
        "status.json",
        "contact.json",
        "node-agent.toml",
        "locks.toml",
        "explain.json",
        "files.txt",
    ] {
        assert!(members.contains(&format!("about/{member}")), "{members:?}");
    }
    assert!(whole.contains(&agent.node) && whole.contains("identity/current.json"), "{whole}");
    assert!(whole.contains("state-dir = ") && !whole.contains("hunter2"), "{whole}");
    let identity = fs::read_to_string(agent.state().join("identity/current.json")).unwrap();
    let identity: Value = serde_json::from_str(&identity).unwrap();
    for pem in ["key_pem", "chain_pem"] {
        let line = identity[pem].as_str().unwrap().lines().nth(1).unwrap();
        assert!(!whole.contains(line), "{pem} is in the archive");
    }
}

#[test]
fn help_manual_and_completions_say_the_same_commands() {
    let folder = tempfile::tempdir().unwrap();
    let host = Agent::host(folder.path(), "host", OPEN);
    let text = |args: &[&str]| {
        let done = host.cli(args);
        assert!(done.status.success(), "{args:?}: {}", stderr(&done));
        String::from_utf8(done.stdout).unwrap()
    };
    let help = text(&["--help"]);
    assert!(help.contains("25  OUTPUT_UNUSABLE"), "{help}");
    let pages = folder.path().join("man");
    fs::create_dir(&pages).unwrap();
    text(&["man", "--out", pages.to_str().unwrap()]);
    let scripts = ["bash", "zsh", "fish"].map(|shell| text(&["completions", shell]));
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in the help");
        let own = text(&[command, "--help"]);
        for word in ["Usage: muster-node-agent", "--json", "--config <FILE>", "Common options:"] {
            assert!(own.contains(word), "{command} --help has no {word}: {own}");
        }
        assert!(own.lines().next().unwrap().len() > 20, "{command} says what it does: {own}");
        let page = fs::read_to_string(pages.join(format!("muster-node-agent-{command}.1"))).unwrap();
        assert!(page.contains(".TH"), "{page}");
        assert!(scripts.iter().all(|script| script.contains(command)), "{command} is not completed");
    }
    assert!(!help.contains("become-script") && !help.contains("supervise"), "{help}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let host = Agent::host(folder.path(), "host", OPEN);
    for args in [&["show"][..], &["show", "--json"], &["completions", "bash"], &["--help"]] {
        let mut child = host.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{args:?}: {}", stderr(&done));
    }
}

/// Every line of a `sh` block of docs/cli.md that calls the agent.
#[tokio::test]
async fn every_example_of_the_page_works() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let mut agent = Agent::host(folder.path(), "host", OPEN);
    agent.run();
    let wrapper = folder.path().join("muster-node-agent");
    let program = binaries::path("muster-node-agent");
    let config = agent.config();
    let script = format!("#!/bin/sh\nexec {program:?} --config {config:?} \"$@\"\n");
    versions::write_program(script.as_bytes(), &wrapper);
    let page = fs::read_to_string(binaries::repository().join("docs/cli.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(lines.len() > 8, "{lines:?}");
    let join = plane.join(1, &[]).await.to_string();
    for line in lines {
        let mut shell = Command::new("sh");
        shell.args(["-euc", line]).env("JOIN", &join).env("FILE", folder.path().join("logs.tar.gz"));
        shell
            .env("FOLDER", folder.path().join("host"))
            .env("ENROLLMENT", plane.addresses().enrollment.to_string());
        let path = std::env::var("PATH").unwrap();
        let done = shell.env("PATH", format!("{}:{path}", folder.path().display())).output().unwrap();
        assert!(done.status.success(), "{line}: {}", stderr(&done));
    }
}
