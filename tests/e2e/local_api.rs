//! What an agent tells and does for programs of its own host, by who they are.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{BundleContent, CommandState, ConditionStatus, ErrorReason},
};
use muster_tests::{
    agent::{Agent, OPEN},
    binaries::repository,
    eventually::{LONG, eventually},
    operator::{Operator, file, script},
    plane::{Options, Plane},
    process::Process,
};
use serde_json::{Value, json};

use crate::agent_cli::fits;

/// A user that owns nothing on this machine.
const STRANGER: &str = "54321";

/// A host whose socket every user of the machine can reach.
struct Open {
    agent: Agent,
    folder: tempfile::TempDir,
}

impl Open {
    fn new(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mut agent = Agent::host(folder.path(), "host", rules);
        agent.configure(&format!("socket = {:?}\n", folder.path().join("run/agent.sock")));
        fs::copy(repository().join(".tools/bin/grpcurl"), folder.path().join("grpcurl")).unwrap();
        agent.install();
        Self { agent, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/agent.sock")
    }

    /// A program, run as root or as somebody else.
    fn program(&self, stranger: bool, program: &Path) -> Command {
        if !stranger {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"]).arg(program);
        command
    }

    /// Calls a method; answers its answer, or its code.
    fn call(&self, stranger: bool, method: &str, body: &Value) -> Result<Value, String> {
        let mut grpcurl = self.program(stranger, &self.folder.path().join("grpcurl"));
        grpcurl.args([
            "-plaintext",
            "-unix",
            "-authority",
            "localhost",
            "-emit-defaults",
            "-d",
            &body.to_string(),
        ]);
        let done = grpcurl.arg(self.socket()).arg(format!("muster.local.v1.AgentService/{method}")).output();
        let done = done.unwrap();
        if done.status.success() {
            return Ok(serde_json::from_slice(&done.stdout).unwrap());
        }
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        let code = err.lines().find_map(|line| line.trim().strip_prefix("Code: "));
        Err(code.map_or(err.clone(), str::to_owned))
    }

    /// Runs a command of the agent's command line.
    fn cli(&self, stranger: bool, args: &[&str]) -> Output {
        let mut command = self.program(stranger, &self.folder.path().join("host/muster-node-agent"));
        command.arg("--config").arg(self.folder.path().join("host/node-agent.toml")).args(args);
        command.output().unwrap()
    }

    /// How `status` ends, and what it says.
    fn status(&self, args: &[&str]) -> (i32, Value) {
        status_of(&self.cli(false, &[&["status", "--json"], args].concat()))
    }

    async fn until_status(&self, what: &str, is: impl Fn(i32, &Value) -> bool) -> Value {
        let is = &is;
        eventually(what, LONG, || async move {
            let (code, status) = self.status(&[]);
            is(code, &status).then_some(status)
        })
        .await
    }
}

fn status_of(done: &Output) -> (i32, Value) {
    let said = serde_json::from_slice(&done.stdout);
    (done.status.code().unwrap(), said.unwrap_or_else(|_| panic!("status says {done:?}")))
}

async fn fleet(folder: &Path) -> (Plane, Operator) {
    let options = Options { heartbeat: Duration::from_millis(300), ..Options::default() };
    let plane = Plane::start(folder, &options).await;
    let operator = plane.operator().await;
    (plane, operator)
}

/// A host that is in a fleet and has a session.
async fn online(rules: &str) -> (Plane, Operator, Open) {
    let mut host = Open::new(rules);
    let (plane, operator) = fleet(host.folder.path()).await;
    host.agent.connect(&plane.join(1, &[]).await);
    host.agent.run();
    operator.until_liveness(&host.agent.node, Liveness::Online).await;
    host.until_status("it is healthy", |code, _| code == 0).await;
    (plane, operator, host)
}

/// Calls of which the last four are for root and the agent's user alone.
fn calls() -> [(&'static str, Value); 7] {
    [
        ("GetStatus", json!({})),
        ("GetFacts", json!({})),
        ("GetSettings", json!({})),
        ("ExplainItem", json!({})),
        ("SetLogLevel", json!({ "level": "info", "duration": "60s" })),
        ("Pause", json!({ "reason": "a test" })),
        ("Resume", json!({})),
    ]
}

#[tokio::test]
async fn everybody_on_the_host_may_read_and_only_its_owner_may_change() {
    let (_plane, _operator, host) = online(OPEN).await;
    for (n, (method, body)) in calls().iter().enumerate() {
        let answer = host.call(false, method, body);
        assert!(answer.is_ok(), "{method} as root: {answer:?}");
        let code = host.call(true, method, body).err();
        assert_eq!(code.as_deref(), (n > 2).then_some("PermissionDenied"), "{method} as a stranger");
    }
    let wrong = |method: &str, body: Value| host.call(false, method, &body).unwrap_err();
    assert_eq!(wrong("Pause", json!({ "reason": "" })), "InvalidArgument");
    assert_eq!(wrong("Pause", json!({ "reason": "a\nb" })), "InvalidArgument");
    assert_eq!(wrong("Pause", json!({ "reason": "a", "duration": "2592001s" })), "InvalidArgument");
    assert_eq!(wrong("SetLogLevel", json!({ "level": "loud" })), "InvalidArgument");
    assert_eq!(wrong("ExplainItem", json!({ "item": "bundle/none" })), "NotFound");
    assert_eq!(wrong("Pause", json!({ "reason": "x".repeat(70_000) })), "OutOfRange");
    // From outside there is no way to the socket at all: it is a file of this host.
    let done = host.cli(true, &["pause", "--reason", "why not", "--json"]);
    assert_eq!(done.status.code(), Some(44), "{done:?}");
    eventually("a stranger reads that it is healthy", LONG, || async {
        let (code, said) = status_of(&host.cli(true, &["status", "--json"]));
        (code == 0 && said["node"]["id"] == json!(host.agent.node)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_in_no_fleet_is_served_and_says_so() {
    let mut host = Open::new(OPEN);
    assert_eq!(host.status(&[]).0, 40, "no agent runs");
    host.agent.run();
    let status = host.until_status("it answers", |code, _| code == 13).await;
    assert_eq!(status["health"], "not-in-a-fleet");
    assert_eq!(status["error"]["code"], "NOT_CONNECTED");
    assert_eq!(host.call(false, "GetFacts", &json!({})).unwrap_err(), "FailedPrecondition");
    assert_eq!(host.call(false, "GetSettings", &json!({})).map(|_| ()), Ok(()));
}

#[tokio::test]
async fn health_checkers_are_told_by_the_exit_status() {
    let (mut plane, _operator, mut host) = online(OPEN).await;
    // Without rights, and without the socket.
    eventually("a stranger reads it in the file", LONG, || async {
        let (code, said) = status_of(&host.cli(true, &["status", "--file", "--json"]));
        (code == 0 && said["health"] == "healthy").then_some(())
    })
    .await;
    assert!(host.cli(false, &["pause", "--reason", "a restore"]).status.success());
    let status = host.until_status("it is paused", |code, _| code == 43).await;
    assert_eq!(status["pause"]["reason"], "a restore");
    eventually("the file says so", LONG, || async { (host.status(&["--file"]).0 == 43).then_some(()) }).await;
    assert!(host.cli(false, &["resume"]).status.success());
    host.until_status("it is healthy again", |code, _| code == 0).await;
    host.agent.rules("[paths\n");
    let status = host.until_status("it is degraded", |code, _| code == 42).await;
    assert_eq!(status["problems"][0]["code"], "EverythingLocked");
    host.agent.rules(OPEN);
    plane.kill();
    let status = host.until_status("it is cut off", |code, _| code == 41).await;
    assert_eq!(status["session"]["last-contact"].as_i64().map(|at| at > 0), Some(true));
    assert!(host.agent.process().stop().await.success());
    assert_eq!((host.status(&[]).0, host.status(&["--file"]).0), (40, 40));
    assert!(!host.socket().exists(), "it leaves no socket");
}

#[tokio::test]
async fn a_user_with_a_thousand_connections_does_not_shut_root_out() {
    let (_plane, _operator, mut host) = online(OPEN).await;
    let before = host.agent.process().rss_kib();
    // Opens a thousand, and tells of how many the agent has not closed, once that does not fall.
    let flood = "use IO::Socket::UNIX; use IO::Handle; $| = 1;\
        my @held = grep { defined } map { IO::Socket::UNIX->new(Peer => $ARGV[0]) } 1..1000;\
        $_->blocking(0) for @held; my $opened = @held; my $last = -1;\
        while (@held != $last) { $last = @held; select(undef, undef, undef, 0.5);\
            @held = grep { my $n = sysread($_, my $b, 4096); !defined($n) || $n > 0 } @held; }\
        print \"$opened $last\\n\"; <STDIN>;";
    let mut command = host.program(true, Path::new("/usr/bin/perl"));
    command.args(["-e", flood]).arg(host.socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut process, stdin, stdout) = Process::piped(command).unwrap();
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let counts: Vec<u32> = line.split_whitespace().map(|count| count.parse().unwrap()).collect();
    assert!(counts[0] > 500 && counts[1] <= 16, "opened and kept: {counts:?}");
    assert_eq!(host.status(&[]).0, 0, "root is served");
    let grown = host.agent.process().rss_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for connections that were refused");
    drop(stdin);
    process.ended().await;
    eventually("its place is free again", LONG, || async {
        host.call(true, "GetStatus", &json!({})).ok().map(drop)
    })
    .await;
}

#[tokio::test]
async fn its_commands_answer_as_the_page_says() {
    let (_plane, _operator, host) = online(OPEN).await;
    fits(&host.cli(false, &["status", "--json"]), "status/1");
    let paused = fits(&host.cli(false, &["pause", "--reason", "a test", "--for", "1h", "--json"]), "pause/1");
    assert_eq!((&paused["pause"]["reason"], &paused["pause"]["uid"]), (&json!("a test"), &json!(0)));
    host.until_status("it is paused", |code, _| code == 43).await;
    fits(&host.cli(false, &["status", "--json"]), "status/1");
    let numbers = fits(&host.cli(false, &["metrics", "--json"]), "metrics/1");
    for line in [
        "muster_agent_up 1",
        "muster_agent_connected 1",
        "muster_agent_paused 1",
        "muster_agent_health{health=\"paused\"} 1",
    ] {
        let text = numbers["text"].as_str().unwrap();
        assert!(text.lines().any(|it| it == line), "{line} is missing in {text}");
    }
    let explained = fits(&host.cli(false, &["explain", "--json"]), "explain/1");
    assert_eq!(explained["pause"]["reason"], "a test");
    let resumed = |done: &Output| fits(done, "resume/1")["was-paused"].as_bool();
    assert_eq!(resumed(&host.cli(false, &["resume", "--json"])), Some(true));
    assert_eq!(resumed(&host.cli(false, &["resume", "--json"])), Some(false));
    let log = fits(&host.cli(false, &["log-level", "warn", "--json"]), "log-level/1");
    assert_eq!((&log["log"]["level"], &log["log"]["overridden"]), (&json!("warn"), &json!(true)));
    let refused = fits(&host.cli(false, &["log-level", "loud", "--json"]), "error/1");
    assert_eq!(
        (&refused["error"]["number"], &refused["error"]["reason"]),
        (&json!(44), &json!("INVALID_ARGUMENT"))
    );
}

/// A file for the host, and an order for it.
async fn ask(operator: &Operator, host: &Open) -> String {
    let content =
        BundleContent { files: vec![file(&host.agent.file("held"), "here")], ..BundleContent::default() };
    operator.bundle("held", content).await;
    operator.assign("held", "*", "held").await;
    operator.start("*", script("echo ran")).await
}

fn paused(node: &pb::Node) -> Option<(ConditionStatus, String)> {
    let found = node.conditions.iter().find(|condition| condition.r#type == "Paused")?;
    Some((found.status(), found.message.clone()))
}

#[tokio::test]
async fn a_pause_holds_everything_survives_a_kill_and_is_seen_by_operators() {
    let (_plane, operator, mut host) = online(OPEN).await;
    let id = host.agent.node.clone();
    assert!(host.cli(false, &["pause", "--reason", "a restore"]).status.success());
    let is_paused = |node: &pb::Node| paused(node) == Some((ConditionStatus::True, "a restore".to_owned()));
    let node = operator.until("it is told", &id, is_paused).await;
    let session = node.connection.unwrap().session_id;
    let operation = ask(&operator, &host).await;
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script("echo late")),
        deliver_within: Some(prost_types::Duration { seconds: 3, nanos: 0 }),
        ..Default::default()
    };
    let late = operator.start_as(request).await;
    let waits = |_, status: &Value| {
        let commands = status["commands"].as_array().unwrap();
        commands.iter().any(|command| command["state"] == "delivered")
    };
    host.until_status("the order waits", waits).await;
    // Only the one whose time is over ends in the pause.
    let ended = operator.ended(&late, LONG).await;
    let command = &ended[&id];
    assert_eq!((command.state(), command.reason()), (CommandState::Expired, ErrorReason::DeliverByPassed));
    assert!(command.message.contains("a restore"), "{}", command.message);
    let node = operator.node(&id).await.unwrap();
    assert_eq!(node.connection.unwrap().session_id, session, "the session stays");

    host.agent.kill();
    host.agent.run();
    let process = host.agent.process().id();
    let is_new = |code, status: &Value| code == 43 && status["pid"] == process && waits(code, status);
    let status = host.until_status("the new agent is paused", is_new).await;
    let now = status["session"]["id"].as_str().unwrap().to_owned();
    let is_back =
        |node: &pb::Node| is_paused(node) && node.connection.as_ref().is_some_and(|it| it.session_id == now);
    operator.until("it is back, and paused", &id, is_back).await;
    assert_eq!(host.agent.read("held"), None);
    assert_eq!(operator.operation(&operation).await.state(), pb::OperationState::Running);

    assert!(host.cli(false, &["resume"]).status.success());
    assert_eq!(operator.ended(&operation, LONG).await[&id].state(), CommandState::Succeeded);
    eventually("the file comes", LONG, || async { host.agent.read("held") }).await;
    operator.until("its end is told", &id, |node| paused(node).unwrap().0 == ConditionStatus::False).await;
}

#[tokio::test]
async fn a_pause_with_an_end_ends_by_itself() {
    let (_plane, operator, host) = online(OPEN).await;
    assert!(host.cli(false, &["pause", "--reason", "a moment", "--for", "4s"]).status.success());
    host.until_status("it is paused", |code, _| code == 43).await;
    let operation = ask(&operator, &host).await;
    let ended = operator.ended(&operation, LONG).await;
    assert_eq!(ended[&host.agent.node].state(), CommandState::Succeeded);
    eventually("the file comes", LONG, || async { host.agent.read("held") }).await;
    host.until_status("it is healthy", |code, status| code == 0 && status["pause"].is_null()).await;
    let is_told = || host.agent.log().contains("the pause is over");
    eventually("its end is logged", LONG, || async { is_told().then_some(()) }).await;
}

#[tokio::test]
async fn the_log_level_changes_at_run_time_and_goes_back() {
    let (_plane, _operator, host) = online(OPEN).await;
    assert!(!host.agent.log().contains("DEBUG"));
    assert!(host.cli(false, &["log-level", "debug", "--for", "2s"]).status.success());
    eventually("more is logged", LONG, || async { host.agent.log().contains("DEBUG").then_some(()) }).await;
    let is_back =
        |_, status: &Value| status["log"] == json!({ "level": "info", "until": null, "overridden": false });
    host.until_status("it goes back by itself", is_back).await;
    let is_told = || host.agent.log().contains("the log level is info again");
    eventually("that is logged", LONG, || async { is_told().then_some(()) }).await;
    assert!(host.cli(false, &["log-level", "trace"]).status.success());
    host.until_status("it is another", |_, status| status["log"]["level"] == "trace").await;
    assert!(host.cli(false, &["log-level", "--reset"]).status.success());
    host.until_status("it is what the options say", is_back).await;
}

#[tokio::test]
async fn an_environment_that_decides_what_is_logged_is_not_overruled() {
    let mut host = Open::new(OPEN);
    host.agent.run_with(&[("MUSTER_LOG", "info")]);
    host.until_status("it answers", |code, _| code == 13).await;
    assert_eq!(
        host.call(false, "SetLogLevel", &json!({ "level": "debug" })).unwrap_err(),
        "FailedPrecondition"
    );
}

#[tokio::test]
async fn the_socket_of_a_dead_agent_is_replaced_and_of_a_living_one_is_not() {
    let (_plane, _operator, mut host) = online(OPEN).await;
    host.agent.kill();
    assert!(host.socket().exists(), "a kill leaves it");
    assert_eq!(host.status(&[]).0, 40);
    host.agent.run();
    let process = host.agent.process().id();
    let is_new = |code, status: &Value| code == 0 && status["pid"] == process;
    let first = host.until_status("the new agent is healthy", is_new).await;

    let mut other = Agent::host(host.folder.path(), "other", OPEN);
    other.configure(&format!("socket = {:?}\n", host.socket()));
    other.run();
    eventually("it is told", LONG, || async {
        other.log().contains("another process listens").then_some(())
    })
    .await;
    assert_eq!(host.status(&[]).1["pid"], first["pid"]);
    assert!(other.process().is_running(), "it looks after its host without a socket");
}

#[tokio::test]
async fn log_lines_for_machines_are_whole_and_name_node_and_session() {
    let mut host = Open::new(OPEN);
    let (plane, operator) = fleet(host.folder.path()).await;
    host.agent.configure("log-format = \"json\"\n");
    host.agent.connect(&plane.join(1, &[]).await);
    host.agent.run();
    operator.until_liveness(&host.agent.node, Liveness::Online).await;
    let opened = eventually("the session is logged", LONG, || async {
        let log = host.agent.log();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("one object a line"));
        let mut lines =
            lines.filter(|line| line["fields"]["message"].as_str().is_some_and(|it| it.ends_with("is open")));
        lines.next()
    })
    .await;
    assert_eq!(opened["fields"]["node"], json!(host.agent.node));
    let node = operator.node(&host.agent.node).await.unwrap();
    assert_eq!(opened["fields"]["session"], json!(node.connection.unwrap().session_id));
    // What others bring to a line stays within it.
    assert_eq!(host.call(false, "Pause", &json!({ "reason": "a \"b\" \\ {\u{2028}c" })).map(|_| ()), Ok(()));
    eventually("it is logged", LONG, || async {
        let log = host.agent.log();
        let mut lines =
            log.lines().map(|line| serde_json::from_str::<Value>(line).expect("one object a line"));
        lines.any(|line| line["fields"]["reason"] == json!("a \"b\" \\ {\u{2028}c")).then_some(())
    })
    .await;
}
