//! The way of the README's "For real", command by command, as processes.

use std::process::{Command, Output};

use muster_common::{build_info::version, join::JoinString};
use muster_proto::admin::v1::Liveness;
use muster_tests::{
    agent::{Agent, OPEN},
    binaries::{self, repository},
    eventually::{LONG, eventually},
    plane::{Options, Plane},
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The README says this line; answers its words after the program's name.
fn from_readme(line: &str) -> Vec<&str> {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.lines().any(|found| found.starts_with(line)), "the README does not say {line:?}");
    line.split_whitespace().skip(1).collect()
}

/// Makes an installation with the README's own arguments, below a folder.
fn init_as_in_the_readme(folder: &std::path::Path) {
    let line = "muster-control-plane init --trust-domain fleet.example --server-name plane.fleet.example";
    let (state, config) = (folder.join("example"), folder.join("example.toml"));
    let run = |args: &[&str]| {
        let mut command = Command::new(binaries::path("muster-control-plane"));
        let done = command.args(args).arg("--config").arg(&config).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", text(&done.stderr));
        text(&done.stdout)
    };
    run(&[&from_readme(line)[..], &["--state-dir", state.to_str().unwrap()]].concat());
    let printed = run(&["config", "print"]);
    assert!(printed.contains("fleet.example") && printed.contains("plane.fleet.example"), "{printed}");
    assert!(state.join("operators/admin.crt").exists(), "the first operator has a certificate");
}

/// A line of deploy/grpcurl with an operator's files.
fn script(plane: &Plane, certs: &std::path::Path, name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(repository().join("deploy/grpcurl").join(name));
    command.args(args).env("GRPCURL", repository().join(".tools/bin/grpcurl")).env("MUSTER_MAX_TIME", "20");
    command.env("MUSTER_ADDRESS", plane.addresses().operators.to_string()).env("MUSTER_CERTS", certs);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{name}: {}{}", text(&done.stderr), text(&done.stdout));
    done
}

#[tokio::test]
async fn an_installation_is_made_served_joined_and_used_as_the_readme_says() {
    let folder = tempfile::tempdir().unwrap();
    init_as_in_the_readme(folder.path());
    let mut plane = Plane::init(folder.path(), &Options::default());
    let checked = plane.cli(&from_readme("muster-control-plane config check"));
    assert_eq!(checked.trim(), format!("{} can be used", plane.config().display()));
    from_readme("muster-control-plane serve");
    plane.serve(&[]).await;

    let made = plane.cli(&from_readme("muster-control-plane token create --uses 10 --label role=web"));
    made.trim().parse::<JoinString>().expect("it prints a join string and nothing else");
    let line = folder.path().join("join");
    std::fs::write(&line, &made).unwrap();
    let mut agent = Agent::host(folder.path(), "web-1", OPEN);
    let mut connect = from_readme("muster-node-agent connect --join-file FILE");
    *connect.last_mut().unwrap() = line.to_str().unwrap();
    let connected = agent.cli(&connect);
    assert!(connected.status.success(), "{}", text(&connected.stderr));
    agent.node = text(&connected.stdout).trim().to_owned();
    from_readme("muster-node-agent run --single-process");
    agent.run();
    let operator = plane.operator().await;
    let node = operator.until_liveness(&agent.node, Liveness::Online).await;
    assert_eq!(node.labels.get("role").map(String::as_str), Some("web"));
    let shown = text(&agent.cli(&from_readme("muster-node-agent show")).stdout);
    assert!(shown.contains(&agent.node), "{shown}");

    let certs = folder.path().join("certs");
    let out = certs.to_str().unwrap();
    let written = plane.cli(&["operator", "create", "operator", "--role", "admin", "--out", out]);
    assert_eq!(written.trim(), certs.join("operator.crt").to_str().unwrap());
    let mut asking = Command::new(repository().join("deploy/grpcurl/whoami.sh"));
    asking.env("GRPCURL", repository().join(".tools/bin/grpcurl")).env("MUSTER_CERTS", &certs);
    asking.env("MUSTER_ADDRESS", plane.addresses().operators.to_string());
    // Made by another process: the serving one learns of it within a second or so.
    eventually("the operator is known", LONG, || {
        std::future::ready(asking.output().unwrap().status.success().then_some(()))
    })
    .await;
    let listed = text(&script(&plane, &certs, "nodes-list.sh", &["role=web"]).stdout);
    assert!(listed.contains(&agent.node), "{listed}");
    let (local, target) = (folder.path().join("app.conf"), agent.file("app.conf"));
    std::fs::write(&local, "for real\n").unwrap();
    let bundle = ["app", target.to_str().unwrap(), local.to_str().unwrap()];
    script(&plane, &certs, "bundles-create.sh", &bundle);
    script(&plane, &certs, "assign-bundle.sh", &["app", "role=web", "app"]);
    eventually("the file is there", LONG, || async { agent.read("app.conf") }).await;
    assert_eq!(agent.read("app.conf").as_deref(), Some("for real\n"));
    script(&plane, &certs, "run-script.sh", &["role=web", "true"]);

    let operators = plane.cli(&["operator", "list"]);
    for name in ["operator/admin", "operator/operator"] {
        let is = |line: &str| line.starts_with(&format!("{name}\t")) && line.ends_with("\tadmin on *");
        assert!(operators.lines().any(is), "{name} in {operators}");
    }
    let verified = plane.cli(&["audit", "verify"]);
    for chain in ["a", "cli"] {
        let fits = format!("{chain}: every entry fits the one before");
        assert!(verified.lines().any(|line| line.starts_with(&fits)), "{verified}");
    }
}

#[tokio::test]
async fn tokens_are_listed_without_their_secrets_and_end_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let made: JoinString =
        plane.cli(&["token", "create", "--description", "for the lab"]).trim().parse().unwrap();
    let listed = plane.cli(&["token", "list"]);
    assert!(listed.contains("0/1") && listed.contains("for the lab"), "{listed}");
    assert!(!listed.contains(&made.secret), "a secret is shown once only");
    let id = listed.split('\t').next().unwrap();
    let _ = plane.cli(&["token", "revoke", id]);
    assert!(plane.cli(&["token", "list"]).contains("revoked"));
    let host = Agent::host(folder.path(), "late", OPEN);
    let refused = host.try_connect(&made);
    assert_eq!(refused.status.code(), Some(18));
    assert!(text(&refused.stderr).contains("TOKEN_REVOKED"), "{}", text(&refused.stderr));
    let unknown =
        plane.try_cli(&["token", "revoke", &muster_common::ids::JoinTokenId::generate().to_string()]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("does not exist"), "{}", text(&unknown.stderr));
}

#[test]
fn a_configuration_is_checked_and_what_is_printed_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::init(folder.path(), &Options::default());
    plane.configure("heartbeat-interval", "\"17s\"");
    let printed = plane.cli(&["config", "print"]);
    assert!(printed.lines().any(|line| line.trim() == "heartbeat-interval = \"17s\""), "{printed}");
    std::fs::write(plane.config(), &printed).unwrap();
    assert_eq!(plane.cli(&["config", "print"]), printed, "what is in effect is a configuration itself");
    plane.configure("heartbeat-interval", "\"never\"");
    let refused = plane.try_cli(&["config", "check"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("heartbeat-interval"), "{}", text(&refused.stderr));
}

#[test]
fn both_programs_say_which_version_they_are() {
    for program in ["muster-control-plane", "muster-node-agent"] {
        for word in ["version", "--version"] {
            let said = Command::new(binaries::path(program)).arg(word).output().unwrap();
            assert!(said.status.success(), "{program} {word}: {}", text(&said.stderr));
            let said = text(&said.stdout);
            assert!(said.starts_with(program) && said.contains(version()), "{program} {word}: {said}");
        }
    }
}
