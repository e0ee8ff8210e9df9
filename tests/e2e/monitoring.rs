//! Dashboards, rules and alerts on the numbers of a real fleet, in a real Prometheus: each gives
//! a number, so none of them asks for what is not there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use muster_common::{clock::Clock, reason::Reason};
use muster_node_agent::dial;
use muster_proto::{
    admin::v1::{self as pb, Liveness, RolloutPhase, create_rollout_request, rollout_step, share},
    types::v1::{self as types, BundleContent},
};
use muster_tests::{
    agent::{Agent, OPEN},
    binaries::repository,
    eventually::LONG,
    operator::{Operator, file, reason, script},
    plane::{Options, Plane, TRUST_DOMAIN},
    prometheus::{Prometheus, program},
    repository::Repository,
};
use serde_json::Value;
use tokio::net::TcpStream;

/// The same path on every host of this machine.
const FOLDER: &str = "/proc/self/cwd";
/// Until what was done shows in rates: some scrapes, on a machine that does other things, too.
const SHOWN: Duration = Duration::from_secs(90);

/// A fleet in which everything happens that is counted.
struct Lab {
    plane: Plane,
    operator: Operator,
    agents: Vec<Agent>,
    folder: tempfile::TempDir,
    _repository: Repository,
    _silent: TcpStream,
}

impl Lab {
    async fn new() -> Self {
        let (folder, published) = (tempfile::tempdir().unwrap(), Repository::new());
        let options = Options { heartbeat: Duration::from_millis(300), ..Options::default() };
        let mut plane = Plane::init(folder.path(), &options);
        let root = published.path().join("metadata/1.root.json");
        plane.configure("root", &format!("{root:?}"));
        plane.serve(&[]).await;
        let metadata = published.metadata();
        let request = pb::PublishRepositoryRequest { metadata, validate_only: false };
        plane.operator().await.artifacts.clone().publish_repository(request).await.unwrap();
        // Ends of the repository are looked at when it starts, and once in a minute.
        plane.kill();
        plane.serve(&[]).await;
        let join = plane.join(3, &[]).await;
        let agents = (0..3).map(|number| {
            let mut agent = Agent::host(folder.path(), &format!("host-{number}"), OPEN);
            agent.allow(&["/proc/self/cwd".into()], OPEN);
            agent.connect(&join);
            agent
        });
        let agents = agents.collect();
        let used = Agent::host(folder.path(), "late", OPEN);
        assert!(!used.try_connect(&join).status.success(), "its token is used up");
        let operator = plane.operator().await;
        // One that never says a word meets a limit.
        let silent = TcpStream::connect(plane.addresses().agents).await.unwrap();
        Self { plane, operator, agents, folder, _repository: published, _silent: silent }
    }

    /// Each host runs, and one of them dies and comes again.
    async fn come_and_go(&mut self) {
        for agent in &mut self.agents {
            agent.run();
            self.operator.until_liveness(&agent.node, Liveness::Online).await;
        }
        let agent = &mut self.agents[0];
        agent.kill();
        self.operator.until_liveness(&agent.node, Liveness::Offline).await;
        agent.run();
        self.operator.until_liveness(&agent.node, Liveness::Online).await;
    }

    /// A version that a rollout brings, up to where a person has to say yes.
    async fn rollout(&self, version: u64) -> String {
        let step = |percent| rollout_step::Reach::Percent(percent);
        let step =
            |percent| pb::RolloutStep { reach: Some(step(percent)), approval: true, ..Default::default() };
        let max_failed = Some(pb::Share { part: Some(share::Part::Count(1)) });
        let target = pb::BundleTarget { name: "app".to_owned(), version };
        let request = pb::CreateRolloutRequest {
            assignment: "app".to_owned(),
            target: Some(create_rollout_request::Target::Bundle(target)),
            plan: Some(pb::RolloutPlan {
                steps: vec![step(50), step(100)],
                max_failed,
                ..Default::default()
            }),
            ..Default::default()
        };
        let begun = self.operator.rollouts.clone().create_rollout(request).await.unwrap();
        begun.into_inner().rollout.unwrap().id
    }

    async fn bundle(&self, name: &str, content: &str) -> u64 {
        let files = vec![file(&Path::new(FOLDER).join(name), content)];
        self.operator.bundle(name, BundleContent { files, ..Default::default() }).await.0
    }

    /// What comes in a stream, so that counters move between scrapes.
    async fn work(&self, round: usize) {
        self.bundle("work", &format!("round {round}\n")).await;
        self.operator.assign("work", "*", "work").await;
        let ran = self.operator.start("*", script("true")).await;
        self.operator.ended(&ran, LONG).await;
        // No host allows this kind: it ends with a reason.
        let reboot = types::Reboot { delay_s: 1, message: String::new() };
        let kind = Some(types::command_spec::Kind::Reboot(reboot));
        let denied = self.operator.start("*", types::CommandSpec { kind }).await;
        self.operator.ended(&denied, LONG).await;
        self.stranger().await;
    }

    /// Somebody of whom the operators' port wants nothing.
    async fn stranger(&self) {
        let tls = self.plane.tls_named(&format!("spiffe://{TRUST_DOMAIN}/control-plane/a"));
        let address = self.plane.addresses().operators.to_string();
        let channel = dial::channel(&address, Arc::new(tls)).await.unwrap();
        let call = Operator::over(channel).system.clone().get_caller(pb::GetCallerRequest {}).await;
        assert_eq!(reason(&call.unwrap_err()), Some(Reason::WrongKindOfCaller));
    }
}

/// By where they stand.
type Expressions = BTreeMap<String, String>;

/// Of panels and rules.
fn expressions() -> Expressions {
    let mut found = Expressions::new();
    for path in files("deploy/grafana", "json") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let board: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            for target in panel["targets"].as_array().unwrap() {
                let place = format!("{name}, {title:?}, {}", target["refId"].as_str().unwrap());
                let asked = target["expr"].as_str().unwrap();
                let asked = asked.replace("$__rate_interval", "20s").replace("$__range", "60s");
                assert!(!asked.contains('$'), "{place} has a variable that this test does not know");
                assert!(found.insert(place, asked).is_none());
            }
        }
    }
    for (name, rule) in rules() {
        // What fires tells nothing here: whether there is something to compare does.
        let asked = [">", "<", "==", "!="]
            .iter()
            .fold(rule, |rule, sign| rule.replace(&format!(" {sign} "), &format!(" {sign} bool ")));
        assert!(found.insert(name, asked).is_none());
    }
    found
}

/// Names and expressions of the rules, as Prometheus' own tool reads them.
fn rules() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in files("deploy/prometheus", "yml").iter().filter(|path| !path.ends_with("rules_test.yml")) {
        let text = fs::read_to_string(path).unwrap();
        for rule in text.split("\n      - ").skip(1) {
            let (_, name) = rule.lines().next().unwrap().split_once(": ").unwrap();
            let (_, expression) = rule.split_once("expr: ").unwrap();
            let until = expression.find("\n        for:").or_else(|| expression.find("\n        labels:"));
            let expression = expression[..until.unwrap_or(expression.len())].trim_start_matches(">-");
            let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
            found.push((name.to_owned(), expression));
        }
    }
    found
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == ending)).collect();
    found.sort();
    found
}

/// Those that give no number yet.
async fn without_a_number(prometheus: &Prometheus, all: Expressions) -> Expressions {
    let mut without = Expressions::new();
    for (place, asked) in all {
        let told = prometheus.query(&asked).await.unwrap_or_else(|error| panic!("{place}: {error}: {asked}"));
        if !told.iter().any(|number| number.is_finite()) {
            without.insert(place, asked);
        }
    }
    without
}

#[tokio::test]
async fn every_panel_and_every_rule_gives_a_number() {
    let mut lab = Lab::new().await;
    let mut prometheus = Prometheus::start(lab.folder.path(), &[lab.plane.addresses().console]).await;
    let mut left = expressions();
    assert!(left.len() > 70, "{left:?}");

    lab.come_and_go().await;
    lab.bundle("app", "first\n").await;
    lab.operator.assign("app", "*", "app").await;
    let version = lab.bundle("app", "second\n").await;
    let rollout = lab.rollout(version).await;
    let begun = Clock::System.monotonic();
    for round in 0.. {
        lab.work(round).await;
        left = without_a_number(&prometheus, left).await;
        if left.is_empty() {
            break;
        }
        assert!(Clock::System.monotonic() - begun < SHOWN, "nothing is seen of: {left:#?}");
        assert!(prometheus.process().is_running());
    }
    let request = pb::GetRolloutRequest { id: rollout };
    let seen = lab.operator.rollouts.clone().get_rollout(request).await.unwrap().into_inner();
    assert_eq!(seen.rollout.unwrap().phase(), RolloutPhase::Running, "it waits for a person all the time");
}

#[test]
fn each_alert_fires_on_what_it_is_for() {
    let stories = repository().join("deploy/prometheus/rules_test.yml");
    let tested = Command::new(program("promtool")).args(["test", "rules"]).arg(&stories).output().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    let text = fs::read_to_string(stories).unwrap();
    for (name, _) in rules().iter().filter(|(name, _)| name.starts_with("Muster")) {
        // Of each story what it says of this alert, and no more.
        let begin = format!("alertname: {name}\n");
        let told = text.split(&begin).skip(1);
        let mut own = told.map(|it| it.split("- alertname: ").next().unwrap());
        let fires = own.any(|it| it.split("\n  - interval").next().unwrap().contains("exp_labels"));
        assert!(fires, "{name} is not tried");
    }
}
