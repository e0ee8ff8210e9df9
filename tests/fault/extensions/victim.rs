//! An agent that dies at named points, and is followed by one that does, too.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
};

use muster_common::{digest::Sha256, join::JoinString};
use muster_proto::admin::v1 as pb;
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::Operator,
};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::Value;

/// The extension of all.
pub(super) const NAME: &str = "app";
pub(super) const ITEM: &str = "extension/app";
/// SIGKILL: what a named point sends to its own process.
const KILLED: i32 = 9;
const RULES: &str = "[extensions]\nallow = [\"acme/app\"]\n";

/// When it dies.
pub(super) enum Way {
    /// Whenever it comes by this point.
    EachTime(&'static str),
    /// At one of all points, or not.
    Random(Box<StdRng>),
}

pub(super) struct Victim {
    agent: Agent,
    folder: PathBuf,
    way: Way,
    deaths: usize,
    /// The step in which the last one died, and how often it comes by the point in it by now.
    step: (String, u32),
}

impl Victim {
    pub(super) fn new(folder: &Path, name: &str, root: &Path, join: &JoinString, way: Way) -> Self {
        let mut agent = Agent::host(folder, name, RULES);
        agent.configure(&format!("artifacts-root = {root:?}\n"));
        agent.connect(join);
        let mut victim = Self { agent, folder: folder.join(name), way, deaths: 0, step: (String::new(), 0) };
        victim.run();
        victim
    }

    pub(super) const fn deaths(&self) -> usize {
        self.deaths
    }

    /// Starts an agent that will die, too: one step further than the one before it, which is
    /// where it comes by for the second time, as it begins with what that one was at.
    fn run(&mut self) {
        let step = self.step();
        self.step = if self.step.0 == step { (step, self.step.1 + 1) } else { (step, 2) };
        let spec = match &mut self.way {
            // Nothing leads by the end of a story again, and each piece comes once.
            Way::EachTime(point @ "extensions.story.ended") => format!("{point}:1"),
            Way::EachTime(point @ "agent.artifact.piece") => format!("{point}:2"),
            Way::EachTime(point) if self.deaths == 0 => format!("{point}:1"),
            Way::EachTime(point) => format!("{point}:{}", self.step.1),
            Way::Random(random) => {
                let (point, _) = super::POINTS.choose(&mut **random).expect("there are some");
                format!("{point}:{}", random.random_range(1..12))
            }
        };
        self.agent.run_with(&[("MUSTER_CRASH_AT", &spec)]);
    }

    /// Of the record, and of which version; it must be whole. Empty: there is none.
    fn step(&self) -> String {
        let record = fs::read(self.extensions().join(format!("{NAME}.json"))).unwrap_or_default();
        if record.is_empty() {
            return String::new();
        }
        let record: Value = serde_json::from_slice(&record).unwrap();
        let of = |pointer| record.pointer(pointer).map(Value::to_string).unwrap_or_default();
        format!("{} {}", of("/journal/step"), of("/coming/package/version"))
    }

    /// Dies and lives until its node stands so.
    pub(super) async fn through(&mut self, operator: &Operator, is: impl Fn(&pb::Node) -> bool) -> pb::Node {
        let (node, is) = (self.agent.node.clone(), &is);
        let begun = self.deaths;
        loop {
            if let Some(end) = self.agent.process().has_ended() {
                assert_eq!(end.signal(), Some(KILLED), "{end}");
                self.deaths += 1;
                assert!(self.deaths < begun + 200, "it gets nowhere: {:?}", self.verbs());
                self.run();
            }
            if let Some(node) = operator.node(&node).await.filter(is) {
                return node;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Nothing is half done: what is written can be read, each file has the bytes of its name,
    /// and of the extension is there what runs, and nothing else.
    pub(super) async fn is_whole(&mut self, operator: &Operator, runs: Option<&str>) {
        eventually("all is tidied up", LONG, || {
            // It may die once more, at the very end.
            if self.agent.process().has_ended().is_some() {
                self.deaths += 1;
                self.run();
            }
            std::future::ready(self.is_tidy(runs).then_some(()))
        })
        .await;
        let store = self.agent.state().join("artifacts/store");
        for entry in fs::read_dir(store.join("files")).unwrap() {
            let path = entry.unwrap().path();
            let digest = Sha256::of(&fs::read(&path).unwrap()).to_string();
            assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(digest.as_str()));
        }
        assert_eq!(names(&store.join("parts")), Vec::<String>::new());
        let belief: Value = serde_json::from_slice(&fs::read(store.join("believed.json")).unwrap()).unwrap();
        assert!(belief.is_object());
        let online = |node: &pb::Node| {
            node.connection.as_ref().is_some_and(|it| it.liveness() == pb::Liveness::Online)
        };
        self.through(operator, online).await;
    }

    fn is_tidy(&self, runs: Option<&str>) -> bool {
        let there = names(&self.extensions().join("packages").join(NAME));
        let packages = there.iter().filter_map(|name| name.split_once('-')).map(|(version, _)| version);
        let record = self.extensions().join(format!("{NAME}.json")).exists();
        let others = ["packages", "runs"];
        let left = names(&self.extensions()).iter().any(|name| !others.contains(&name.as_str()));
        packages.eq(runs)
            && (record, left || !there.is_empty()) == (runs.is_some(), runs.is_some())
            && names(&self.agent.state().join("artifacts/incoming")).is_empty()
    }

    fn extensions(&self) -> PathBuf {
        self.agent.state().join("nodes").join(&self.agent.node).join("extensions")
    }

    /// The verbs that began, those that were begun again once.
    pub(super) fn verbs(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("trace")).unwrap_or_default();
        let mut verbs: Vec<String> = text.lines().map(str::to_owned).collect();
        verbs.dedup();
        verbs
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
