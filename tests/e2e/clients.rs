//! Clients that are not ours: grpcurl, and Python's gRPC.

#[path = "clients_alerts.rs"]
mod alerts;
#[path = "clients_catalogue.rs"]
mod catalogue;
#[path = "clients_events.rs"]
mod events;

use std::{
    path::Path,
    process::{Command, Output},
};

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::CommandState,
};
use muster_tests::{
    agent::Agent,
    binaries::repository,
    eventually::{LONG, eventually},
    operator::Operator,
    plane::{Options, Plane},
    process::Process,
    raw::RawNode,
    repository::Repository,
};
use serde_json::Value;

/// grpcurl with a folder of certificates.
struct Grpcurl {
    address: String,
    certs: std::path::PathBuf,
}

impl Grpcurl {
    fn new(plane: &Plane, certs: &Path) -> Self {
        std::fs::create_dir_all(certs).unwrap();
        for (from, to) in [("ca.crt", "ca.crt"), ("admin.crt", "operator.crt"), ("admin.key", "operator.key")]
        {
            std::fs::copy(plane.state().join("operators").join(from), certs.join(to)).unwrap();
        }
        Self { address: plane.addresses().operators.to_string(), certs: certs.to_owned() }
    }

    fn try_script(&self, name: &str, args: &[&str]) -> Output {
        let grpcurl = repository().join(".tools/bin/grpcurl");
        assert!(grpcurl.exists(), "tools/install.sh puts grpcurl into .tools/bin");
        let mut command = Command::new(repository().join("deploy/grpcurl").join(name));
        command.args(args).env("GRPCURL", grpcurl).env("MUSTER_MAX_TIME", "20");
        command.env("MUSTER_ADDRESS", &self.address).env("MUSTER_CERTS", &self.certs).output().unwrap()
    }

    /// Runs a script that must succeed; answers the first JSON object it prints.
    fn script(&self, name: &str, args: &[&str]) -> Value {
        self.all(name, args).into_iter().next().unwrap_or(Value::Null)
    }

    /// Runs a script that must succeed; answers all JSON objects it prints.
    fn all(&self, name: &str, args: &[&str]) -> Vec<Value> {
        let done = self.try_script(name, args);
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{name} {args:?}: {err}{out}");
        serde_json::Deserializer::from_str(&out).into_iter().collect::<Result<_, _>>().expect(name)
    }

    /// Runs a script that must be refused; answers the code.
    fn refusal(&self, name: &str, args: &[&str]) -> String {
        let done = self.try_script(name, args);
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success(), "{name} {args:?} was not refused");
        let code = err.lines().find_map(|line| line.trim().strip_prefix("Code: "));
        code.unwrap_or_else(|| panic!("{name} {args:?}: {err}")).to_owned()
    }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} in {value}"))
}

#[tokio::test]
async fn grpcurl_lists_describes_and_calls_every_method() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    let repository = Repository::new();
    let root = repository.path().join("metadata/1.root.json");
    plane.configure("root", &format!("{root:?}"));
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let grpc = Grpcurl::new(&plane, &folder.path().join("certs"));

    let listed = grpc.try_script("list-services.sh", &[]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    for service in
        ["grpc.health.v1.Health", "muster.admin.v1.NodesService", "grpc.reflection.v1.ServerReflection"]
    {
        assert!(listed.lines().any(|line| line == service), "{listed}");
    }
    for service in listed.lines() {
        assert!(grpc.try_script("describe.sh", &[service]).status.success(), "{service}");
    }
    assert_eq!(text(&grpc.script("health.sh", &[]), "/status"), "SERVING");
    assert_eq!(text(&grpc.script("whoami.sh", &[]), "/principal"), "operator/admin");
    assert_eq!(text(&grpc.script("system.sh", &[]), "/store"), "sqlite");
    assert_eq!(grpc.script("traces-sample.sh", &["0.5"]).pointer("/traces/ratio"), Some(&0.5.into()));
    assert!(grpc.script("traces-sample.sh", &[]).pointer("/traces/isSet").is_none());

    let made = grpc.script("tokens-create.sh", &["a \"quoted\" word", "1", "600", "role=web"]);
    let token = text(&made, "/joinToken/id").to_owned();
    let agent = Agent::start(folder.path(), "web-1", &text(&made, "/joinString").parse().unwrap());
    assert_eq!(text(&grpc.script("tokens-get.sh", &[&token]), "/joinToken/description"), "a \"quoted\" word");
    assert_eq!(text(&grpc.script("tokens-list.sh", &[]), "/joinTokens/0/id"), token);
    assert!(grpc.script("tokens-revoke.sh", &[&token]).pointer("/joinToken/revokeTime").is_some());
    operator.until_liveness(&agent.node, Liveness::Online).await;
    alerts::all(&grpc, folder.path());
    events::all(&grpc, &agent.node);
    join_requests(&grpc).await;

    let node = agent.node.as_str();
    nodes(&grpc, node);
    bundles_and_assignments(&grpc, &operator, &agent, folder.path()).await;
    whole_content(&grpc, &operator, &agent, folder.path()).await;
    bundle_of_blob(&grpc, &operator, &agent, folder.path()).await;
    blobs(&grpc, folder.path());
    settings(&grpc);
    catalogue::all(&grpc, &repository, folder.path());
    rollouts(&grpc);
    grpc.script("assignments-delete.sh", &["app"]);
    assert_eq!(grpc.refusal("assignments-get.sh", &["app"]), "NotFound");
    grpc.script("bundles-delete.sh", &["app", "0"]);
    assert_eq!(grpc.refusal("bundles-get.sh", &["app"]), "NotFound");
    operations(&grpc, &operator, node).await;
    schedules(&grpc);
    assert!(grpc.script("audit-list.sh", &["", "operator/admin"]).pointer("/entries/0/action").is_some());
    grpcurl_reads_the_audit(&grpc, node);
    identity(&grpc, node);
    workloads(&grpc);
    access(&grpc, node);
    grpc.script("nodes-delete.sh", &[node, "the test is over"]);
    assert!(operator.node(node).await.is_none());
    authority(&grpc);
}

#[tokio::test]
async fn grpcurl_asks_an_agent_on_its_own_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::host(folder.path(), "host", "");
    agent.run();
    let socket = agent.state().join("agent.sock");
    eventually("the agent listens", LONG, || async { socket.exists().then_some(()) }).await;
    let socket = socket.to_str().unwrap();
    // Neither an address nor certificates: the socket is enough.
    let grpc = Grpcurl { address: String::new(), certs: folder.path().to_owned() };
    let health = |status: &Value| text(status, "/status/health").to_owned();
    assert_eq!(health(&grpc.script("local-status.sh", &[socket])), "HEALTH_NOT_IN_A_FLEET");
    let paused = grpc.script("local-pause.sh", &["a \"quoted\" word", "60", socket]);
    assert_eq!(text(&paused, "/pause/reason"), "a \"quoted\" word");
    let watched = grpc.try_script("local-watch.sh", &[socket]); // until its time is over
    let mut watched = serde_json::Deserializer::from_slice(&watched.stdout).into_iter::<Value>();
    let first = watched.next().unwrap().unwrap();
    assert_eq!(text(&first, "/status/pause/reason"), "a \"quoted\" word", "who asked sees it at once");
    assert_eq!(grpc.script("local-pause.sh", &["-", "", socket])["wasPaused"], Value::Bool(true));
    assert_eq!(grpc.refusal("local-pause.sh", &["", "", socket]), "InvalidArgument");
    let mut grpcurl = Command::new(repository().join(".tools/bin/grpcurl"));
    let listed =
        grpcurl.args(["-plaintext", "-unix", "-authority", "localhost", socket, "list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let services: Vec<&str> = listed.lines().filter(|line| line.starts_with("muster.")).collect();
    assert_eq!(services, ["muster.local.v1.AgentService"], "and nothing of other ports: {listed}");
}

async fn join_requests(grpc: &Grpcurl) {
    let made = grpc.script("tokens-create.sh", &["", "2", "600", "", "true", "dc=eu-*"]);
    assert_eq!(text(&made, "/joinToken/requestableLabels/0"), "dc=eu-*");
    let join = text(&made, "/joinString").parse().unwrap();
    for script in ["join-requests-approve.sh", "join-requests-deny.sh"] {
        crate::approval::ask(&join).await;
        let listed = grpc.script("join-requests-list.sh", &[]);
        let waiting = listed.pointer("/joinRequests").and_then(Value::as_array).unwrap();
        let waiting = waiting.iter().find(|request| text(request, "/state").ends_with("PENDING")).unwrap();
        let decided = grpc.script(script, &[text(waiting, "/id")]);
        assert_eq!(text(&decided, "/joinRequest/decidedBy"), "operator/admin");
    }
}

fn nodes(grpc: &Grpcurl, node: &str) {
    assert_eq!(text(&grpc.script("nodes-list.sh", &["role=web"]), "/nodes/0/id"), node);
    assert_eq!(text(&grpc.script("nodes-get.sh", &[node]), "/node/displayName"), "web-1");
    assert_eq!(text(&grpc.script("nodes-rename.sh", &[node, "web 1"]), "/node/displayName"), "web 1");
    assert_eq!(
        text(&grpc.script("nodes-label.sh", &[node, "role=web", "env=test"]), "/node/labels/env"),
        "test"
    );
    let watched = grpc.watch("nodes-watch.sh", &["role=web"]);
    assert_eq!(text(&watched, "/upserted/id"), node);
}

async fn bundles_and_assignments(grpc: &Grpcurl, operator: &Operator, agent: &Agent, folder: &Path) {
    let node = agent.node.as_str();
    let local = folder.join("app.conf");
    std::fs::write(&local, "from grpcurl\n").unwrap();
    let (path, local) = (agent.file("app.conf"), local.to_str().unwrap());
    let hooks = ["test -d \"$MUSTER_STAGE\"", "true", "true"];
    let args = [&["app", path.to_str().unwrap(), local][..], &hooks[..]].concat();
    assert_eq!(text(&grpc.script("bundles-create.sh", &args), "/bundle/version"), "1");
    assert_eq!(text(&grpc.script("bundles-get.sh", &["app"]), "/bundle/name"), "app");
    assert_eq!(text(&grpc.script("bundles-list.sh", &[]), "/bundles/0/name"), "app");
    let preview = grpc.script("assignments-preview.sh", &["role=web", "app"]);
    assert_eq!(text(&preview, "/assignment/matchedNodes"), "1");
    assert_eq!(
        preview.pointer("/preview/items/0/gainedBy/count").and_then(Value::as_i64),
        Some(1),
        "{preview}"
    );
    let diff = text(&preview, "/preview/items/0/differences/0/files/0/diff");
    assert!(diff.contains("+from grpcurl"), "{diff}");
    assert!(text(&preview, "/preview/time/toldWithin").ends_with('s'));
    grpc.script("assign-bundle.sh", &["app", "role=web", "app", "1", "0", "env=lab"]);
    let applied = |node: &muster_proto::admin::v1::Node| {
        node.items.iter().any(|item| item.item == "bundle/app" && item.in_sync)
    };
    operator.until("the bundle is applied", node, applied).await;
    assert_eq!(agent.read("app.conf").as_deref(), Some("from grpcurl\n"));
    assert_eq!(text(&grpc.script("nodes-explain.sh", &[node, "bundle/app"]), "/verdict"), "InSync");
    let assigned = grpc.script("assignments-get.sh", &["app"]);
    assert_eq!(text(&assigned, "/assignment/selector"), "role=web");
    assert_eq!(text(&assigned, "/assignment/bundle/version"), "1");
    let listed = grpc.script("assignments-list.sh", &[]);
    assert_eq!(listed.pointer("/assignments/0"), assigned.pointer("/assignment"), "{listed}");
    assert_eq!(assigned.pointer("/assignment/exclusions/0").and_then(Value::as_str), Some("env=lab"));
    let gone = grpc.script("assignments-preview.sh", &["delete", "app"]);
    assert_eq!(gone.pointer("/preview/items/0/lostBy/count").and_then(Value::as_i64), Some(1), "{gone}");
    groups(grpc);
    let updated = grpc.script("assignments-update.sh", &["app", "role=web,env=test", "app", "1", "5"]);
    assert!(updated.pointer("/assignment/exclusions").is_none(), "they are replaced: {updated}");
    assert_eq!(text(&updated, "/assignment/selector"), "role=web,env=test");
    assert_eq!(updated.pointer("/assignment/priority").and_then(Value::as_i64), Some(5));
    assert_ne!(text(&updated, "/assignment/etag"), text(&assigned, "/assignment/etag"));
}

/// A group that the assignment names for a while.
fn groups(grpc: &Grpcurl) {
    let made = grpc.script("groups-create.sh", &["first", "role=web", "they \"try\" first"]);
    assert_eq!(text(&made, "/group/matchedNodes"), "1");
    assert_eq!(text(&made, "/group/description"), "they \"try\" first");
    assert_eq!(grpc.script("groups-list.sh", &[]).pointer("/groups/0"), made.pointer("/group"));
    let args = ["app", "@first", "app", "1", "0", "env=lab", "!@first"];
    let named = grpc.script("assignments-update.sh", &args);
    assert_eq!(named.pointer("/assignment/exclusions/1").and_then(Value::as_str), Some("!@first"));
    let used = grpc.script("groups-get.sh", &["first"]);
    assert_eq!(text(&used, "/group/usedBy/0"), "assignment/app");
    assert_eq!(grpc.refusal("groups-delete.sh", &["first"]), "FailedPrecondition");
    let told = grpc.script("groups-update.sh", &["first", "role=db", "", "preview"]);
    assert_eq!(told.pointer("/preview/leaving/count").and_then(Value::as_i64), Some(1), "{told}");
    let updated = grpc.script("groups-update.sh", &["first", "role in (web,db)"]);
    assert_eq!(text(&updated, "/group/selector"), "role in (web,db)");
    assert!(updated.pointer("/preview").is_none());
    grpc.script("assignments-update.sh", &["app", "role=web", "app", "1"]);
    grpc.script("groups-delete.sh", &["first"]);
    assert_eq!(grpc.refusal("groups-get.sh", &["first"]), "NotFound");
}

/// The second version cannot be written on this host: it is refused, and goes back.
fn rollouts(grpc: &Grpcurl) {
    let local = grpc.certs.join("second");
    std::fs::write(&local, "second\n").unwrap();
    let args = ["app", "/tmp/nobody/app.conf", local.to_str().unwrap()];
    assert_eq!(text(&grpc.script("bundles-create.sh", &args), "/bundle/version"), "2");
    let preview = grpc.script("rollouts-preview.sh", &["app", "app", "0", "careful"]);
    assert_eq!(preview.pointer("/rollout/plan/steps").and_then(Value::as_array).map(Vec::len), Some(5));
    assert_eq!(
        preview.pointer("/preview/items/0/changedOn/count").and_then(Value::as_i64),
        Some(1),
        "{preview}"
    );
    assert_eq!(text(&preview, "/preview/time/atLeast"), "4500s");
    assert!(grpc.script("rollouts-list.sh", &["app"]).pointer("/rollouts").is_none(), "nothing was begun");
    let begin = |script: &str, more: &[&str]| {
        let made = grpc.script(script, &[&["app", "app"], more].concat());
        text(&made, "/rollout/id").to_owned()
    };
    assert_eq!(grpc.refusal("rollouts-create.sh", &["app", "nothing"]), "NotFound");
    let id = begin("rollouts-create.sh", &["0", "emergency"]);
    let waits = grpc.script("rollouts-get.sh", &[&id]);
    assert_eq!(text(&waits, "/rollout/phase"), "ROLLOUT_PHASE_RUNNING");
    let phase = |script: &str| text(&grpc.script(script, &[&id, "a reason"]), "/rollout/phase").to_owned();
    assert_eq!(phase("rollouts-pause.sh"), "ROLLOUT_PHASE_PAUSED");
    assert_eq!(phase("rollouts-resume.sh"), "ROLLOUT_PHASE_RUNNING");
    assert_eq!(phase("rollouts-approve.sh"), "ROLLOUT_PHASE_RUNNING");
    let first = grpc.script("rollouts-approve.sh", &[&id, "the first one", "1"]);
    assert_eq!(first.pointer("/rollout/approvedSteps").and_then(Value::as_i64), Some(1), "a repeat: {first}");
    assert_eq!(grpc.refusal("rollouts-approve.sh", &[&id, "", "2"]), "FailedPrecondition");
    assert!(grpc.script("rollouts-brake.sh", &[]).pointer("/brake").is_none());
    assert_eq!(
        text(&grpc.script("rollouts-brake.sh", &["pull", "an incident"]), "/brake/reason"),
        "an incident"
    );
    assert!(grpc.script("rollouts-brake.sh", &["release"]).pointer("/brake").is_none());
    assert_eq!(phase("rollouts-abort.sh"), "ROLLOUT_PHASE_ABORTED");
    let back = phase("rollouts-roll-back.sh");
    assert!(["ROLLOUT_PHASE_ROLLING_BACK", "ROLLOUT_PHASE_ROLLED_BACK"].contains(&back.as_str()), "{back}");
    let watched = grpc.all("rollouts-watch.sh", &[&id]);
    assert_eq!(text(watched.last().unwrap(), "/rollout/phase"), "ROLLOUT_PHASE_ROLLED_BACK");
    let nodes = grpc.script("rollouts-nodes.sh", &[&id]);
    assert_eq!(text(&nodes, "/nodes/0/standing"), "ROLLOUT_STANDING_UNTOUCHED");
    let planned = begin("rollouts-plan.sh", &["rack"]);
    assert_eq!(text(&grpc.script("rollouts-list.sh", &[]), "/rollouts/0/id"), planned);
    grpc.script("rollouts-abort.sh", &[&planned]);
    let held = grpc.script("assign-held.sh", &["later", "role=later", "app"]);
    assert_eq!(held.pointer("/assignment/held").and_then(Value::as_bool), Some(true));
    grpc.script("assignments-delete.sh", &["later"]);
}

/// Every field that a content has, on a host: the example of the documentation, with its paths.
async fn whole_content(grpc: &Grpcurl, operator: &Operator, agent: &Agent, folder: &Path) {
    let example = std::fs::read_to_string(repository().join("deploy/grpcurl/bundle.json")).unwrap();
    let content = example.replace("/etc/app", agent.file("app").to_str().unwrap());
    let local = folder.join("bundle.json");
    std::fs::write(&local, content).unwrap();
    grpc.script("bundles-put.sh", &["whole", local.to_str().unwrap()]);
    grpc.script("assign-bundle.sh", &["whole", "role=web", "whole"]);
    let applied = |node: &muster_proto::admin::v1::Node| {
        node.items.iter().any(|item| item.item == "bundle/whole" && item.in_sync)
    };
    operator.until("the whole content is applied", &agent.node, applied).await;
    assert_eq!(agent.read("app/app.conf").as_deref(), Some("listen = 80\n"));
    grpc.script("assignments-delete.sh", &["whole"]);
    grpc.script("bundles-delete.sh", &["whole", "0"]);
}

/// A file that is too large for a bundle itself, from one line to the host.
async fn bundle_of_blob(grpc: &Grpcurl, operator: &Operator, agent: &Agent, folder: &Path) {
    let local = folder.join("large file");
    let content = muster_tests::blobs::bytes(300_000, 5);
    std::fs::write(&local, &content).unwrap();
    let (on_host, local) = (agent.file("large"), local.to_str().unwrap());
    let put = || grpc.all("bundles-put-blob.sh", &["large", on_host.to_str().unwrap(), local]);
    let [entry, made] = &put()[..] else { panic!("the entry, and what was made of it") };
    assert_eq!(entry.pointer("/blob/size_bytes").and_then(Value::as_u64), Some(300_000));
    assert_eq!(put()[1], *made, "the same file is the same version");
    let digest = muster_common::digest::Sha256::of(&content).to_string();
    assert_eq!(text(&grpc.script("blobs-get.sh", &[&digest]), "/blob/referrers/0"), "bundle/large/1");
    assert_eq!(grpc.refusal("blobs-delete.sh", &[&digest]), "FailedPrecondition");
    grpc.script("assign-bundle.sh", &["large", "role=web", "large"]);
    let applied = |node: &muster_proto::admin::v1::Node| {
        node.items.iter().any(|item| item.item == "bundle/large" && item.in_sync)
    };
    operator.until("the large file is there", &agent.node, applied).await;
    assert!(std::fs::read(&on_host).unwrap() == content);
    grpc.script("assignments-delete.sh", &["large"]);
    grpc.script("bundles-delete.sh", &["large", "0"]);
    grpc.script("blobs-delete.sh", &[&digest]);
}

fn blobs(grpc: &Grpcurl, folder: &Path) {
    let file = folder.join("a blob");
    // Two chunks, with every byte.
    let content: Vec<u8> = (0..70_000).map(|at| u8::try_from(at % 256).unwrap()).collect();
    std::fs::write(&file, &content).unwrap();
    let path = file.to_str().unwrap();
    let uploaded = grpc.script("blobs-upload.sh", &[path]);
    assert_eq!(text(&uploaded, "/blob/sizeBytes"), "70000");
    assert_eq!(grpc.refusal("uploads-get.sh", &[path]), "NotFound");
    assert_eq!(grpc.refusal("uploads-get.sh", &["01890000-0000-7000-8000-000000000000"]), "NotFound");
    let digest = muster_common::digest::Sha256::of(&content).to_string();
    let got = grpc.script("blobs-get.sh", &[&digest]);
    assert_eq!(got, uploaded);
    assert_eq!(grpc.script("blobs-list.sh", &[]).pointer("/blobs/0"), got.pointer("/blob"));
    for offset in [0, 69_000] {
        let chunks = grpc.all("blobs-download.sh", &[&digest, &offset.to_string()]);
        let bytes: Vec<u8> =
            chunks.iter().flat_map(|message| base64_bytes(text(message, "/chunk"))).collect();
        assert!(bytes == content[offset..], "from {offset}");
    }
    grpc.script("blobs-delete.sh", &[&digest]);
    assert_eq!(grpc.refusal("blobs-get.sh", &[&digest]), "NotFound");
}

fn settings(grpc: &Grpcurl) {
    let schema = grpc.script("settings-schema.sh", &[]);
    let all = schema.pointer("/settings").and_then(Value::as_array).unwrap();
    let level = all.iter().find(|setting| text(setting, "/key") == "log-level").unwrap();
    assert_eq!(text(level, "/words/0"), "error");
    let put = grpc.script("settings-put.sh", &["calm", "facts-interval=30m"]);
    assert_eq!(text(&put, "/profile/values/facts-interval"), "30m");
    let got = grpc.script("settings-get.sh", &["calm"]);
    assert_eq!(got, put);
    assert_eq!(grpc.script("settings-list.sh", &[]).pointer("/profiles/0"), got.pointer("/profile"));
    let assigned = grpc.script("assign-settings.sh", &["calm", "role=web", "calm"]);
    assert_eq!(text(&assigned, "/assignment/settings/profile"), "calm");
    assert_eq!(text(&assigned, "/assignment/settings/version"), "1");
    let second = grpc.script("settings-put.sh", &["calm", "facts-interval=1h", "log-level=warn"]);
    assert_eq!(text(&second, "/profile/version"), "2");
    assert_eq!(grpc.script("settings-get.sh", &["calm", "1"]), got);
    assert_eq!(text(&grpc.script("settings-list.sh", &["calm"]), "/profiles/0/version"), "2");
    let rollout = |more: &[&str]| grpc.script("rollouts-settings.sh", &[&["calm", "calm"], more].concat());
    assert_eq!(text(&rollout(&["0", "careful", "preview"]), "/rollout/to/settings/version"), "2");
    let id = text(&rollout(&["2", "emergency"]), "/rollout/id").to_owned();
    grpc.script("rollouts-roll-back.sh", &[&id, "no"]);
    let watched = grpc.all("rollouts-watch.sh", &[&id]);
    assert_eq!(text(watched.last().unwrap(), "/rollout/phase"), "ROLLOUT_PHASE_ROLLED_BACK");
    let moved = grpc.script("assignments-update-settings.sh", &["calm", "role=web", "calm"]);
    assert_eq!(text(&moved, "/assignment/settings/version"), "2");
    grpc.script("settings-delete.sh", &["calm", "1"]);
    assert_eq!(grpc.refusal("settings-delete.sh", &["calm", "0"]), "FailedPrecondition");
    let held = grpc.script("assign-settings.sh", &["later", "role=later", "calm", "2", "0", "held"]);
    assert_eq!(held.pointer("/assignment/held").and_then(Value::as_bool), Some(true));
    for name in ["calm", "later"] {
        grpc.script("assignments-delete.sh", &[name]);
    }
    grpc.script("settings-delete.sh", &["calm", "0"]);
    assert_eq!(grpc.refusal("settings-get.sh", &["calm"]), "NotFound");
}

async fn operations(grpc: &Grpcurl, operator: &Operator, node: &str) {
    let started = grpc.script("run-script.sh", &["role=web", "echo \"from $MUSTER_COMMAND_ID\"", "line 1"]);
    let operation = text(&started, "/operation/id");
    let ended = operator.ended(operation, LONG).await;
    assert!(ended[node].stdout.starts_with(b"from "));
    let got = grpc.script("operations-get.sh", &[operation]);
    assert_eq!(text(&got, "/operation/state"), "OPERATION_STATE_ENDED");
    assert_eq!(got.pointer("/operation/counts/succeeded").and_then(Value::as_i64), Some(1), "{got}");
    let watched = grpc.all("operations-watch.sh", &[operation]);
    let of = |path: &str| watched.iter().filter_map(|message| message.pointer(path)).collect::<Vec<_>>();
    assert_eq!(of("/operation/id").first().and_then(|id| id.as_str()), Some(operation), "{watched:?}");
    assert_eq!(of("/command/state"), ["COMMAND_STATE_SUCCEEDED"], "{watched:?}");
    assert_eq!(of("/output/nodeId").first().and_then(|id| id.as_str()), Some(node), "{watched:?}");
    assert_eq!(text(&grpc.script("operations-list.sh", &[]), "/operations/0/id"), operation);
    let commands = grpc.script("operations-commands.sh", &[operation]);
    assert_eq!(text(&commands, "/commands/0/nodeId"), node);
    let page = grpc.script("operations-output.sh", &[text(&commands, "/commands/0/id"), "5"]);
    assert_eq!((text(&page, "/offset"), page.pointer("/ended")), ("5", Some(&Value::Bool(true))), "{page}");
    assert_eq!(text(&page, "/nextOffset"), ended[node].stdout.len().to_string());
    let spec = grpc.certs.join("script.json");
    std::fs::write(&spec, r#"{"script": "echo \"$1\"", "arguments": ["from a file"]}"#).unwrap();
    let started = grpc.script("run-script-spec.sh", &["role=web", spec.to_str().unwrap(), "line 2"]);
    let ended = operator.ended(text(&started, "/operation/id"), LONG).await;
    assert_eq!(ended[node].stdout.as_ref(), b"from a file\n");
    let refreshed = grpc.script("refresh-facts.sh", &["role=web"]);
    operator.ended(text(&refreshed, "/operation/id"), LONG).await;
    let restarted = grpc.script("restart-agent.sh", &["role=web"]);
    operator.ended(text(&restarted, "/operation/id"), LONG).await;
    kinds(grpc, operator, node).await;
    let long = grpc.script("run-script.sh", &["role=web", "sleep 600"]);
    let cancelled = grpc.script("operations-cancel.sh", &[text(&long, "/operation/id"), "enough"]);
    assert_eq!(cancelled.pointer("/operation/cancelRequested"), Some(&Value::Bool(true)), "{cancelled}");
    let ended = operator.ended(text(&long, "/operation/id"), LONG).await;
    assert_eq!(ended[node].state(), CommandState::Cancelled);
    pacing(grpc, operator, node).await;
}

async fn pacing(grpc: &Grpcurl, operator: &Operator, node: &str) {
    let made =
        grpc.script("concurrency-leases-create.sh", &["scripts", "2", "two \"at once\"", "run-script"]);
    assert_eq!(text(&made, "/lease/kinds/0"), "run-script");
    let updated = grpc.script("concurrency-leases-update.sh", &["scripts", "3"]);
    assert_eq!(updated.pointer("/lease/limit").and_then(Value::as_i64), Some(3), "{updated}");
    assert_eq!(text(&grpc.script("concurrency-leases-get.sh", &["scripts"]), "/lease/name"), "scripts");
    assert_eq!(text(&grpc.script("concurrency-leases-list.sh", &[]), "/leases/0/name"), "scripts");
    let preview = grpc.script("operations-preview.sh", &["role=web", "true", "role", "role=web"]);
    assert_eq!(text(&preview, "/nodes/0/nodeId"), node);
    assert_eq!(preview.pointer("/counts/online").and_then(Value::as_i64), Some(1), "{preview}");
    let paced =
        grpc.script("run-script-paced.sh", &["role=web", "exit 1", "4", "0", "role", "scripts", "key"]);
    assert_eq!(text(&paced, "/operation/lease"), "scripts");
    let failed = operator.ended(text(&paced, "/operation/id"), LONG).await;
    assert_eq!(failed[node].state(), CommandState::Failed);
    let again = grpc.script("operations-retry.sh", &[text(&paced, "/operation/id"), "again", "FAILED"]);
    assert_eq!(text(&again, "/operation/retryOf"), text(&paced, "/operation/id"));
    let again = operator.ended(text(&again, "/operation/id"), LONG).await;
    assert_eq!(again[node].retry_of, failed[node].id);
    let long = grpc.script("run-script.sh", &["role=web", "sleep 600"]);
    let forced = grpc.script("operations-cancel.sh", &[text(&long, "/operation/id"), "enough", "force"]);
    assert_eq!(forced.pointer("/operation/cancelForced"), Some(&Value::Bool(true)), "{forced}");
    operator.ended(text(&long, "/operation/id"), LONG).await;
    grpc.script("concurrency-leases-delete.sh", &["scripts"]);
    assert_eq!(grpc.refusal("concurrency-leases-get.sh", &["scripts"]), "NotFound");
}

fn schedules(grpc: &Grpcurl) {
    let nightly = ["nightly", "30 3 * * mon-fri", "Europe/Berlin", "role=web", "echo \"good night\""];
    let made = grpc.script("schedules-create.sh", &nightly);
    assert_eq!(text(&made, "/schedule/owner"), "operator/admin");
    assert_eq!(
        made.pointer("/schedule/nextTimes").and_then(Value::as_array).map(Vec::len),
        Some(5),
        "{made}"
    );
    assert_eq!(text(&grpc.script("schedules-list.sh", &[]), "/schedules/0/name"), "nightly");
    let paused = ["nightly", "30 4 * * *", "host", "role=web", "true", "paused"];
    grpc.script("schedules-update.sh", &paused);
    let got = grpc.script("schedules-get.sh", &["nightly"]);
    assert_eq!((text(&got, "/schedule/cron"), text(&got, "/schedule/timeZone")), ("30 4 * * *", "host"));
    assert!(got.pointer("/schedule/nextTimes").is_none(), "{got}");
    let never = ["never", "0 0 30 2 *", "UTC", "role=web", "true"];
    assert_eq!(grpc.refusal("schedules-create.sh", &never), "InvalidArgument");
    grpc.script("schedules-delete.sh", &["nightly"]);
    assert_eq!(grpc.refusal("schedules-get.sh", &["nightly"]), "NotFound");
}

async fn kinds(grpc: &Grpcurl, operator: &Operator, node: &str) {
    let lines: [(&str, &[&str], _); 4] = [
        ("service.sh", &["role=web", "restart", "app.service"], CommandState::Denied),
        ("reboot.sh", &["role=web", "60", "a new kernel"], CommandState::Denied),
        ("rotate-identity.sh", &["role=web"], CommandState::Succeeded),
        ("collect-logs.sh", &["role=web", "3600"], CommandState::Succeeded),
    ];
    let mut last = String::new();
    for (name, args, state) in lines {
        let started = grpc.script(name, args);
        let ended = operator.ended(text(&started, "/operation/id"), LONG).await;
        assert_eq!(ended[node].state(), state, "{name}: {}", ended[node].message);
        last.clone_from(&ended[node].id);
    }
    let chunks = grpc.all("results-download.sh", &[&last, "0"]);
    assert!(text(&chunks[0], "/chunk").starts_with("H4sI"), "it is a gzip in base64");
    assert_eq!(grpc.refusal("results-download.sh", &[&last, "99999999"]), "InvalidArgument");
    assert_eq!(grpc.refusal("service.sh", &["role=web", "restart", "app"]), "InvalidArgument");
    let nobody = grpc.script("disconnect.sh", &["role=nobody"]);
    assert_eq!(text(&nobody, "/operation/state"), "OPERATION_STATE_ENDED");
}

fn identity(grpc: &Grpcurl, node: &str) {
    grpc.script("nodes-quarantine.sh", &[node, "to see it locked"]);
    assert_eq!(text(&grpc.script("nodes-get.sh", &[node]), "/node/quarantine/reason"), "ByOperator");
    assert!(grpc.script("nodes-release.sh", &[node]).pointer("/node/quarantine").is_none());
    let restored = grpc.script("nodes-accept-restored.sh", &["role=web", "", "count"]);
    assert!(restored.pointer("/nodes").is_none(), "nobody waits: {restored}");
    grpc.script("nodes-allow-recovery.sh", &[node]);
    assert_eq!(
        text(&grpc.script("revoke.sh", &["serial/0a", "stolen"]), "/revocation/revokedBy"),
        "operator/admin"
    );
    assert_eq!(text(&grpc.script("revocations-list.sh", &[]), "/revocations/0/subject"), "serial/0a");
    grpc.script("revocations-delete.sh", &["serial/0a"]);
}

fn workloads(grpc: &Grpcurl) {
    let told = grpc.script("workload-issuers.sh", &[]);
    assert_eq!(text(&told, "/issuers/0/standing"), "WORKLOAD_ISSUER_STANDING_ACTIVE");
    assert!(text(&told, "/jwksJson").contains(text(&told, "/issuers/0/keyId")));
    let next = grpc.script("workload-rotate.sh", &[]);
    assert_eq!(text(&next, "/issuers/1/standing"), "WORKLOAD_ISSUER_STANDING_NEXT");
    assert_eq!(grpc.refusal("workload-rotate.sh", &[]), "FailedPrecondition");
    let only = grpc.script("workload-rotate.sh", &["at-once"]);
    assert_eq!(only.pointer("/issuers/0/number"), Some(&Value::from(3)));
}

fn access(grpc: &Grpcurl, node: &str) {
    let made = grpc.script("bindings-create.sh", &["ci", "service/ci-*", "operator", "env=test"]);
    assert_eq!(text(&made, "/binding/createdBy"), "operator/admin");
    assert_eq!(grpc.script("bindings-list.sh", &[]).pointer("/bindings/0"), made.pointer("/binding"));
    let method = "muster.admin.v1.NodesService/GetNode";
    let explained = grpc.script("access-explain.sh", &["operator/admin", method, node]);
    assert_eq!(explained.pointer("/allowed"), Some(&Value::Bool(true)), "{explained}");
    assert_eq!(text(&explained, "/bindings/0/binding/role"), "admin");
    grpc.script("bindings-delete.sh", &["ci"]);
    assert_eq!(grpc.refusal("bindings-delete.sh", &["operator/admin"]), "FailedPrecondition");
}

/// The last step ends the operator's own certificate, too.
fn authority(grpc: &Grpcurl) {
    assert_eq!(
        text(&grpc.script("authority-prepare.sh", &["ISSUING"]), "/authority/phase"),
        "AUTHORITY_PHASE_PREPARED"
    );
    assert_eq!(text(&grpc.script("authority-get.sh", &[]), "/authority/slots/1/standing"), "next");
    assert_eq!(
        text(&grpc.script("authority-activate.sh", &[]), "/authority/phase"),
        "AUTHORITY_PHASE_ACTIVATED"
    );
    assert_eq!(
        text(&grpc.script("authority-rollback.sh", &[]), "/authority/phase"),
        "AUTHORITY_PHASE_PREPARED"
    );
    grpc.script("authority-activate.sh", &["force"]);
    assert_eq!(
        text(&grpc.script("authority-retire.sh", &["force"]), "/authority/phase"),
        "AUTHORITY_PHASE_STEADY"
    );
}

fn grpcurl_reads_the_audit(grpc: &Grpcurl, node: &str) {
    assert!(grpc.script("audit-list.sh", &["", "operator/admin"]).pointer("/entries/0/action").is_some());
    let subject = format!("node/{node}");
    let past = "2001-01-01T00:00:00Z";
    let filters = [subject.as_str(), "operator/admin", "nodes.", past, "2999-01-01T00:00:00Z", "a", "false"];
    let listed = grpc.script("audit-list.sh", &filters);
    assert_eq!(text(&listed, "/entries/0/action"), "nodes.update");
    assert_eq!(text(&listed, "/entries/0/subject"), subject);
    let none = grpc.script("audit-list.sh", &["", "", "", "", past]);
    assert!(none.pointer("/entries").is_none(), "{none}");
    let first = grpc.watch("audit-watch.sh", &["nodes."]);
    assert!(first.pointer("/bookmark").is_some(), "nothing is new: {first}");
    let again = grpc.watch("audit-watch.sh", &["nodes.", text(&first, "/resumeToken")]);
    assert!(again.pointer("/bookmark").is_some(), "{again}");
    let checkpoint = grpc.script("audit-checkpoints.sh", &["cli"]);
    let line = text(&checkpoint, "/checkpoints/0/line");
    assert!(line.contains("\"kind\":\"checkpoint\""), "{line}");
    let chunk = grpc.script("audit-export.sh", &[past]);
    let chunk = base64(text(&chunk, "/chunk"));
    assert!(chunk.lines().any(|exported| exported == line), "{chunk}");
    assert!(grpc.script("audit-export.sh", &["", past]).is_null(), "nothing is that old");
}

fn base64(text: &str) -> String {
    String::from_utf8(base64_bytes(text)).unwrap()
}

fn base64_bytes(text: &str) -> Vec<u8> {
    let mut decode = Command::new("base64");
    let decode = decode.arg("-d").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut decode = decode.spawn().unwrap();
    let mut stdin = decode.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, text.as_bytes()));
    let done = decode.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    done.stdout
}

impl Grpcurl {
    /// The first message of a watch, which ends by its time.
    fn watch(&self, name: &str, args: &[&str]) -> Value {
        let grpcurl = repository().join(".tools/bin/grpcurl");
        let mut command = Command::new(repository().join("deploy/grpcurl").join(name));
        command.args(args).env("GRPCURL", grpcurl).env("MUSTER_MAX_TIME", "2");
        let done =
            command.env("MUSTER_ADDRESS", &self.address).env("MUSTER_CERTS", &self.certs).output().unwrap();
        let out = String::from_utf8_lossy(&done.stdout);
        serde_json::Deserializer::from_str(&out).into_iter::<Value>().next().expect("a message").unwrap()
    }
}

#[tokio::test]
async fn grpcurl_without_the_right_certificate_gets_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let grpc = Grpcurl::new(&plane, &folder.path().join("certs"));
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    std::fs::write(grpc.certs.join("operator.crt"), &node.identity.chain_pem).unwrap();
    std::fs::write(grpc.certs.join("operator.key"), &node.identity.key_pem).unwrap();
    for script in ["nodes-list.sh", "list-services.sh"] {
        let refused = grpc.try_script(script, &[]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains("PermissionDenied"), "{script}: {told}");
        assert!(told.contains("operator") || told.contains("WRONG_KIND_OF_CALLER"), "{script}: {told}");
    }
}

#[tokio::test]
async fn grpcurl_without_a_certificate_does_not_pass_the_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let grpc = Grpcurl::new(&plane, &folder.path().join("certs"));
    let file = |name: &str| grpc.certs.join(name).to_str().unwrap().to_owned();
    let list = |more: &[String]| {
        let mut command = Command::new(repository().join(".tools/bin/grpcurl"));
        command.args(["-cacert", &file("ca.crt"), "-max-time", "10"]).args(more);
        command.args([&grpc.address, "list"]).output().unwrap()
    };
    let refused = r#"muster_handshakes_failed_total{door="operators",reason="refused"}"#;
    let certificate = ["-cert".to_owned(), file("operator.crt"), "-key".to_owned(), file("operator.key")];
    let listed = list(&certificate);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert_eq!(plane.metric(refused).await, 0);
    let bare = list(&[]);
    let told = String::from_utf8_lossy(&bare.stderr).into_owned();
    // Go may write before it reads why it was refused; which alert it is stands in `handshakes`.
    assert!(!bare.status.success() && told.contains("Failed to dial"), "{told}");
    eventually("it was refused in the handshake, not later", LONG, || async {
        (plane.metric(refused).await >= 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn python_lists_watches_with_resume_and_starts_an_operation() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let certs = folder.path().join("certs");
    let grpc = Grpcurl::new(&plane, &certs);
    let agent = Agent::start(folder.path(), "web-1", &plane.join(1, &[("role", "web")]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let fleet = |args: &[&str]| {
        let interpreter = repository().join(".tools/venv/bin/python");
        assert!(interpreter.exists(), "tools/install.sh installs Python's gRPC below .tools");
        let mut command = Command::new(interpreter);
        command.arg(repository().join("deploy/examples/python/fleet.py")).args(args);
        command.env("MUSTER_ADDRESS", &grpc.address).env("MUSTER_CERTS", &certs);
        command
    };
    let python = async |args: &[&str]| {
        let mut command = tokio::process::Command::from(fleet(args));
        let done = tokio::time::timeout(LONG * 2, command.kill_on_drop(true).output()).await;
        let done = done.expect("it ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let (code, out, err) = python(&["list", "--selector", "role=web"]).await;
    assert!(code == Some(0) && out.contains(&agent.node) && out.contains("web-1"), "{out}{err}");
    let watch = fleet(&["watch", "--selector", "role=web", "--events", "6", "--cut-after", "1"]);
    let watch = Process::start(watch, &folder.path().join("watch"));
    watch_over_a_break(watch, &operator, &agent.node).await;
    let (code, out, err) = python(&["run", "--selector", "role=web", "echo from python"]).await;
    assert!(code == Some(0) && out.contains("from python"), "{out}{err}");
    let (code, _, err) = python(&["list", "--selector", "role in ("]).await;
    assert!(code == Some(1) && err.contains("SELECTOR_INVALID"), "{err}");
}

#[tokio::test]
async fn python_uploads_a_large_file_over_a_break_and_downloads_it() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let certs = folder.path().join("certs");
    let grpc = Grpcurl::new(&plane, &certs);
    let content = muster_tests::blobs::bytes(5 * 1024 * 1024, 3);
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::write(&from, &content).unwrap();
    let python = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(repository().join(".tools/venv/bin/python"));
        command.arg(repository().join("deploy/examples/python/blobs.py")).args(args);
        command.env("MUSTER_ADDRESS", &grpc.address).env("MUSTER_CERTS", &certs);
        let done = tokio::time::timeout(LONG * 2, command.kill_on_drop(true).output()).await;
        let done = done.expect("it ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let args = ["upload", from.to_str().unwrap(), "--cut-after", "3000000"];
    let (code, out, err) = python(&args).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("going on at byte "), "{err}");
    let digest = muster_common::digest::Sha256::of(&content).to_string();
    assert_eq!(out.trim(), digest);
    // The first part is there already, as after a break.
    std::fs::write(folder.path().join("to.part"), &content[..1_000_000]).unwrap();
    let (code, _, err) = python(&["download", &digest, to.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(std::fs::read(&to).unwrap() == content);
    let (code, _, err) = python(&["download", &"0".repeat(64), to.to_str().unwrap()]).await;
    assert!(code == Some(1) && err.contains("NOT_FOUND"), "{err}");
}

/// The watch is broken once; changes after that must reach it all the same.
async fn watch_over_a_break(mut watch: Process, operator: &Operator, id: &str) {
    eventually("the watch was broken and goes on", LONG, || {
        std::future::ready(watch.log().contains("resumed").then_some(()))
    })
    .await;
    for n in 1.. {
        let name = format!("web-after-{n}");
        let node = pb::Node { id: id.to_owned(), display_name: name.clone(), ..Default::default() };
        let request = pb::UpdateNodeRequest { node: Some(node), ..Default::default() };
        operator.nodes.clone().update_node(request).await.unwrap();
        // Changes that come together may be told as one: the next waits until this one was told.
        let ended = eventually("the change is told", LONG, || {
            let ended = watch.has_ended();
            std::future::ready((ended.is_some() || watch.log().contains(&name)).then_some(ended))
        });
        if let Some(end) = ended.await {
            assert!(end.success() && watch.log().contains("web-after-1"), "{}", watch.log());
            return;
        }
    }
}
