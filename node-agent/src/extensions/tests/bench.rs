//! A host with the room on it: real packages, real programs, one process.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use muster_common::{
    clock::Clock,
    digest::Sha256,
    drain::Drain,
    generation::Generation,
    reason::Reason,
    sealing::Contents,
    tasks::{Kind, Tasks},
    tuf::{About, Kind as TufKind},
};
use muster_proto::types::v1 as types;
use prost::Message as _;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    depot::{Depot, tests::pack},
    extensions::{Artifact, Handle, Options, Source, Task, Told},
    locks,
    state::{Cause, ItemError, ItemState, ItemVersion, Keeper, Offer, Outcome, Pauses, Removal, Wish},
    verbs::Depots,
};

/// Everything that is waited for comes within this.
const SOON: Duration = Duration::from_secs(60);

pub(super) struct Bench {
    pub(super) folder: TempDir,
    pub(super) pauses: Pauses,
    /// Of the next agent.
    pub(super) clock: Clock,
    number: u64,
    agent: Option<Agent>,
}

struct Agent {
    keeper: Keeper,
    handle: Handle,
    states: watch::Receiver<Arc<Vec<ItemState>>>,
    tasks: Tasks,
}

/// Has what lies in its folder.
struct Shelf(PathBuf);

impl Source for Shelf {
    fn obtain(&self, artifact: &Artifact, told: Told) -> BoxFuture<'static, Result<(), ItemError>> {
        let (file, size) = (self.0.join(artifact.sha256.to_string()), artifact.size);
        Box::pin(async move {
            told(size);
            let missing = ItemError {
                reason: Reason::FetchFailed,
                cause: Cause::Network,
                message: "it is not there".to_owned(),
                output: Vec::new(),
            };
            if file.exists() { Ok(()) } else { Err(missing) }
        })
    }
}

impl Bench {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("admitted")).unwrap();
        let mut bench =
            Self { folder, pauses: Pauses::default(), clock: Clock::System, number: 0, agent: None };
        bench.lock("[extensions]\nallow = [\"*/*\"]\n");
        bench.start().await;
        bench
    }

    pub(super) fn lock(&self, text: &str) {
        fs::write(self.folder.path().join("locks.toml"), text).unwrap();
    }

    pub(super) async fn start(&mut self) {
        let admitted = self.folder.path().join("admitted");
        let open = move |sha256: Sha256| {
            let file = File::open(admitted.join(sha256.to_string()))?;
            let version = fs::read_to_string(admitted.join(format!("{sha256}.version")))?;
            let (publisher, type_name) = ("acme".to_owned(), "log".to_owned());
            let (os, arch) = ("linux".to_owned(), "any".to_owned());
            let about = About { kind: TufKind::Extension, publisher, type_name, version, os, arch };
            Ok((file, vec![about]))
        };
        let depot = Depot::new(&self.folder.path().join("extensions"), Arc::new(open));
        let options = Options {
            folder: self.folder.path().join("records"),
            depots: Depots::Here(depot, None),
            source: Arc::new(Shelf(self.folder.path().join("admitted"))),
            locks: locks::Reader::new(self.folder.path().join("locks.toml")),
            clock: self.clock.clone(),
            pauses: self.pauses.clone(),
            open: Arc::new(|_, _, _| Ok(Contents::new())),
            way_out: Arc::new(|| BTreeMap::from([("HTTPS_PROXY".to_owned(), "http://proxy:1".to_owned())])),
        };
        let (keeper, handle, task) = Task::open(options).await.unwrap();
        let states = keeper.states();
        let tasks = Tasks::default();
        tasks.spawn("extensions", Kind::Fatal, task.run(Drain::default()));
        self.agent = Some(Agent { keeper, handle, states, tasks });
    }

    /// The agent ends where it is, without a word.
    pub(super) async fn kill(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.tasks.abort_all();
        agent.tasks.close();
        agent.tasks.ended().await;
    }

    /// A package whose one program is this script, told of every verb in the trace.
    pub(super) fn package(&self, version: &str, more: &str, script: &str) -> types::ExtensionContent {
        let trace = self.trace_file();
        let mut manifest = format!("publisher = \"acme\"\ntype = \"log\"\nversion = \"{version}\"\n{more}\n");
        for verb in ["install", "enable", "update", "disable", "uninstall"] {
            let timeout = if script.contains("sleep 600") { 1 } else { 30 };
            manifest += &format!("[verbs.{verb}]\nargv = [\"bin/verb\"]\ntimeout-s = {timeout}\n");
        }
        let script = format!(
            "#!/bin/sh\nverb=$MUSTER_EXT_VERB\n\
             [ $verb = health ] || echo $verb $MUSTER_EXT_VERSION $MUSTER_EXT_FROM_VERSION >> {}\n{script}\n",
            trace.display()
        );
        let bytes =
            pack(&[("manifest.toml", 0o644, manifest.as_bytes()), ("bin/verb", 0o755, script.as_bytes())]);
        let sha256 = Sha256::of(&bytes);
        let admitted = self.folder.path().join("admitted");
        fs::write(admitted.join(sha256.to_string()), &bytes).unwrap();
        fs::write(admitted.join(format!("{sha256}.version")), version).unwrap();
        types::ExtensionContent {
            publisher: "acme".to_owned(),
            r#type: "log".to_owned(),
            package_version: version.to_owned(),
            artifacts: vec![types::PlatformArtifact {
                os: "linux".to_owned(),
                arch: "any".to_owned(),
                artifact: Some(types::Artifact {
                    target: format!("extension/acme/log/{version}/linux-any.tar.zst"),
                    size_bytes: bytes.len() as u64,
                    sha256: sha256.as_bytes().to_vec().into(),
                }),
            }],
            ..types::ExtensionContent::default()
        }
    }

    /// Wishes for a version, without waiting for what comes of it.
    pub(super) fn wish(&mut self, content: &types::ExtensionContent) {
        self.number += 1;
        let payload = content.encode_to_vec();
        let version = ItemVersion {
            generation: Generation::new(1, self.number),
            version: content.package_version.clone(),
            sha256: Sha256::of(&payload),
        };
        let offer = Offer {
            item: "extension/log".to_owned(),
            version,
            payload,
            sealed: None,
            traceparent: String::new(),
        };
        self.agent.as_ref().unwrap().keeper.wish(Wish::Bring(Box::new(offer)));
    }

    /// The same, and how it ends.
    pub(super) async fn bring(&mut self, content: &types::ExtensionContent) -> ItemState {
        self.wish(content);
        self.settled().await
    }

    pub(super) async fn settled(&mut self) -> ItemState {
        let number = self.number;
        self.until(|state| {
            state.is_some_and(|state| {
                state.outcome != Outcome::UnderWay
                    && state.attempted.as_ref().is_some_and(|it| it.generation.number == number)
            })
        })
        .await
        .unwrap()
    }

    pub(super) async fn remove(&mut self) {
        self.wish_away();
        self.until(|state| state.is_none()).await;
    }

    /// All of it is to go, without waiting for what comes of that.
    pub(super) fn wish_away(&mut self) {
        self.number += 1;
        let generation = Generation::new(1, self.number);
        let (item, traceparent) = ("extension/log".to_owned(), String::new());
        let removal = Removal { item, generation, traceparent };
        self.agent.as_ref().unwrap().keeper.wish(Wish::Remove(removal));
    }

    /// A session begins.
    pub(super) fn connect(&self) {
        self.agent.as_ref().unwrap().keeper.connected();
    }

    pub(super) fn remove_here(&self) -> bool {
        self.agent.as_ref().unwrap().handle.remove("log").unwrap()
    }

    /// Why the host itself may not take it away.
    pub(super) fn removal_is_denied(&self) -> Option<String> {
        self.agent.as_ref().unwrap().handle.remove("log").err()
    }

    /// Waits until it stands so.
    pub(super) async fn until(&mut self, is: impl Fn(Option<&ItemState>) -> bool) -> Option<ItemState> {
        let states = &mut self.agent.as_mut().unwrap().states;
        let wait = states.wait_for(|states| is(states.iter().find(|state| state.item == "extension/log")));
        let Ok(met) = tokio::time::timeout(SOON, wait).await else {
            panic!("it never stands so: {:?}\n{}", self.now(), self.trace().join("\n"));
        };
        met.unwrap().first().cloned()
    }

    pub(super) fn now(&self) -> Option<ItemState> {
        self.agent.as_ref().unwrap().states.borrow().first().cloned()
    }

    /// The verbs that have begun.
    pub(super) fn trace(&self) -> Vec<String> {
        let text = fs::read_to_string(self.trace_file()).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    pub(super) async fn traced(&self, line: &str) {
        for _ in 0..SOON.as_millis() / 20 {
            if self.trace().iter().any(|known| known == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{line} never began: {:?}", self.trace());
    }

    pub(super) fn forget_trace(&self) {
        let _ = fs::remove_file(self.trace_file());
    }

    /// Whether nothing is under way, by what the next agent would read.
    pub(super) fn rests(&self) -> bool {
        let record = fs::read(self.folder.path().join("records/log.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        record.get("journal").is_none() && self.now().is_some_and(|state| state.progress.is_none())
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.path().join("extensions/log")
    }

    fn trace_file(&self) -> PathBuf {
        self.folder.path().join("trace")
    }
}

/// A script that does this in one verb, and ends well in all others.
pub(super) fn in_verb(verb: &str, does: &str) -> String {
    format!("if [ $verb = {verb} ]; then {does}; fi")
}

pub(super) fn version(state: &ItemState) -> Option<&str> {
    state.running.as_ref().map(|version| version.version.as_str())
}

pub(super) fn verdict(state: &ItemState) -> (Outcome, Option<Reason>, Option<Cause>) {
    let error = state.error.as_ref();
    (state.outcome, error.map(|error| error.reason), error.map(|error| error.cause))
}
