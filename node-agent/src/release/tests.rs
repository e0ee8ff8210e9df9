//! The room with a fake watchdog at its seam; its records are real files.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use muster_common::{
    clock::Clock,
    digest::Sha256,
    drain::Drain,
    generation::Generation,
    reason::Reason,
    tasks::{Kind, Tasks},
};
use muster_proto::types::v1 as types;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;

use super::{Archive, Content, ITEM, Options, Port, Task, Told};
use crate::{
    locks,
    state::{Cause, ItemError, ItemState, ItemVersion, Keeper, Offer, Outcome, Pauses, Removal, Wish},
    verbs::{
        messages::{UpgradeFailure, UpgradeOver, UpgradePending, UpgradeState},
        number,
    },
};

/// Everything that is waited for comes within this.
const SOON: Duration = Duration::from_secs(60);

/// A host whose watchdog does as it is told.
#[derive(Default)]
struct Watchdog {
    state: Mutex<UpgradeState>,
    started: Mutex<Vec<Content>>,
    obtained: Mutex<Vec<String>>,
    missing: Mutex<Option<ItemError>>,
}

struct Fake(Arc<Watchdog>);

impl Port for Fake {
    fn obtain(&self, archive: &Archive, told: Told) -> BoxFuture<'static, Result<(), ItemError>> {
        told(archive.size / 2);
        self.0.obtained.lock().push(archive.target.clone());
        let missing = self.0.missing.lock().clone();
        Box::pin(async move { missing.map_or(Ok(()), Err) })
    }

    fn start(&self, content: &Content) -> BoxFuture<'static, Result<UpgradeState, ItemError>> {
        let mut started = self.0.started.lock();
        started.push(content.clone());
        let begun_ms = i64::try_from(started.len()).unwrap();
        let mut state = self.0.state.lock();
        let step = "staged".to_owned();
        state.pending =
            Some(UpgradePending { to: content.version.clone(), begun_ms, step, ..UpgradePending::default() });
        let state = state.clone();
        Box::pin(async move { Ok(state) })
    }

    fn look(&self) -> BoxFuture<'static, Result<UpgradeState, ItemError>> {
        let state = self.0.state.lock().clone();
        Box::pin(async move { Ok(state) })
    }
}

impl Watchdog {
    fn ends(&self, end: &str, failure: Option<(Reason, Cause)>) {
        let mut state = self.state.lock();
        let UpgradePending { to, begun_ms, .. } = state.pending.take().unwrap();
        let failure = failure.map(|(reason, cause)| UpgradeFailure {
            reason: reason.to_string(),
            cause: number(cause),
            message: "it was so".to_owned(),
            output: "last words".to_owned(),
        });
        state.last = Some(UpgradeOver { to, begun_ms, end: end.to_owned(), failure });
    }
}

/// A keeper that runs, and what it tells.
type Running = (Keeper, watch::Receiver<Arc<Vec<ItemState>>>, Tasks);

struct Bench {
    folder: tempfile::TempDir,
    watchdog: Arc<Watchdog>,
    agent: Option<Running>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let watchdog = Arc::<Watchdog>::default();
        watchdog.state.lock().is_in_slots = true;
        let mut bench = Self { folder, watchdog, agent: None };
        bench.lock("");
        bench.start("0.1.0").await;
        bench
    }

    fn lock(&self, text: &str) {
        std::fs::write(self.folder.path().join("locks.toml"), text).unwrap();
    }

    /// The agent ends where it is, and one of this version goes on.
    async fn start(&mut self, version: &str) {
        if let Some((_, _, tasks)) = self.agent.take() {
            tasks.abort_all();
            tasks.close();
            tasks.ended().await;
        }
        let options = Options {
            folder: self.folder.path().join("release"),
            version: version.to_owned(),
            port: Arc::new(Fake(Arc::clone(&self.watchdog))),
            locks: locks::Reader::new(self.folder.path().join("locks.toml")),
            clock: Clock::System,
            pauses: Pauses::default(),
        };
        let (keeper, task) = Task::open(options).await.unwrap();
        let (states, tasks) = (keeper.states(), Tasks::default());
        tasks.spawn("release", Kind::Fatal, task.run(Drain::default()));
        self.agent = Some((keeper, states, tasks));
    }

    fn offer(&self, number: u64, version: &str, arch: &str) {
        let artifact = types::Artifact {
            target: format!("agent/{version}/linux-{arch}.tar.zst"),
            size_bytes: 10,
            sha256: vec![1; 32].into(),
        };
        let content = types::ReleaseContent {
            version: version.to_owned(),
            artifacts: vec![types::PlatformArtifact {
                os: "linux".to_owned(),
                arch: arch.to_owned(),
                artifact: Some(artifact),
            }],
            package_version: String::new(),
        };
        let payload = content.encode_to_vec();
        let generation = Generation::new(1, number);
        let version = ItemVersion { generation, version: version.to_owned(), sha256: Sha256::of(&payload) };
        let offer =
            Offer { item: ITEM.to_owned(), version, payload, sealed: None, traceparent: String::new() };
        self.agent.as_ref().unwrap().0.wish(Wish::Bring(Box::new(offer)));
    }

    async fn until(&mut self, is: impl Fn(&ItemState) -> bool) -> ItemState {
        let states = &mut self.agent.as_mut().unwrap().1;
        let found = tokio::time::timeout(SOON, states.wait_for(|all| all.first().is_some_and(&is))).await;
        found.expect("it came in time").unwrap()[0].clone()
    }

    async fn until_step(&mut self, step: &str) {
        self.until(|state| state.progress.as_ref().is_some_and(|progress| progress.step == step)).await;
    }

    async fn until_outcome(&mut self, number: u64, outcome: Outcome) -> ItemState {
        let of = |state: &ItemState| state.attempted.as_ref().map(|it| it.generation.number);
        self.until(|state| state.outcome == outcome && of(state) == Some(number)).await
    }

    fn started(&self) -> usize {
        self.watchdog.started.lock().len()
    }
}

fn verdict(state: &ItemState) -> (Option<Reason>, Option<Cause>) {
    let error = state.error.as_ref();
    (error.map(|error| error.reason), error.map(|error| error.cause))
}

#[tokio::test]
async fn the_new_version_goes_on_telling_and_what_runs_already_is_no_work() {
    let mut bench = Bench::new().await;
    bench.offer(1, "0.1.0", "any");
    let state = bench.until_outcome(1, Outcome::Unchanged).await;
    assert_eq!(state.running, state.attempted);
    bench.offer(2, "0.2.0", "any");
    bench.until_step("staged").await;
    assert_eq!(*bench.watchdog.obtained.lock(), ["agent/0.2.0/linux-any.tar.zst"]);
    bench.start("0.2.0").await;
    bench.watchdog.state.lock().pending.as_mut().unwrap().step = "probation".to_owned();
    bench.until_step("probation").await;
    bench.offer(3, "0.2.0", "s390x"); // waits until that is over
    bench.watchdog.ends("committed", None);
    let state = bench.until_outcome(3, Outcome::Unchanged).await;
    assert_eq!((state.running.unwrap().generation.number, bench.started()), (3, 1));
    let (generation, traceparent) = (Generation::new(1, 4), String::new());
    let removal = Removal { item: ITEM.to_owned(), generation, traceparent };
    let (keeper, states, _) = bench.agent.as_mut().unwrap();
    keeper.wish(Wish::Remove(removal));
    tokio::time::timeout(SOON, states.wait_for(|all| all.is_empty())).await.unwrap().unwrap();
    assert_eq!(bench.started(), 1, "the version stays");
}

#[tokio::test]
async fn a_version_that_is_blamed_is_settled_and_another_failure_waits() {
    let mut bench = Bench::new().await;
    bench.offer(1, "0.2.0", "any");
    bench.until_step("staged").await;
    bench.watchdog.ends("rolled-back", Some((Reason::VersionDidNotStart, Cause::Content)));
    let state = bench.until_outcome(1, Outcome::RolledBack).await;
    assert_eq!(verdict(&state), (Some(Reason::VersionDidNotStart), Some(Cause::Content)));
    assert_eq!((state.error.unwrap().output, state.running), (b"last words".to_vec(), None));
    bench.offer(2, "0.3.0", "any");
    bench.until_step("staged").await;
    bench.watchdog.ends("rolled-back", Some((Reason::VersionNotConnected, Cause::Network)));
    let state = bench.until_outcome(2, Outcome::RolledBack).await;
    assert_eq!(verdict(&state).1, Some(Cause::Network));
    // Neither a new session, nor the same offer, nor another process makes it earlier.
    bench.start("0.1.0").await;
    bench.agent.as_ref().unwrap().0.connected();
    bench.offer(2, "0.3.0", "any");
    bench.agent.as_mut().unwrap().1.changed().await.unwrap();
    bench.until_outcome(2, Outcome::RolledBack).await;
    assert_eq!(bench.started(), 2);
    bench.offer(3, "0.4.0", "any");
    bench.until_step("staged").await;
    bench.watchdog.ends("failed", Some((Reason::UpgradeFailed, Cause::Host)));
    bench.until_outcome(3, Outcome::Broken).await;
}

#[tokio::test]
async fn what_came_by_hand_is_not_told_as_what_was_brought() {
    let mut bench = Bench::new().await;
    bench.offer(1, "0.2.0", "any");
    bench.until_step("staged").await;
    bench.watchdog.ends("committed", None);
    bench.start("0.2.0").await;
    bench.until_outcome(1, Outcome::Applied).await;
    bench.start("0.1.0").await;
    assert!(bench.agent.as_ref().unwrap().1.borrow().is_empty(), "the control plane says anew what it wants");
    bench.offer(1, "0.2.0", "any");
    bench.until_step("staged").await;
    assert_eq!(bench.started(), 2);
}

#[tokio::test]
async fn what_is_refused_changes_nothing_and_is_tried_again_when_it_may_be() {
    let mut bench = Bench::new().await;
    bench.lock("[upgrade]\npin = \"0.1.0\"\n");
    bench.offer(1, "0.2.0", "any");
    let state = bench.until_outcome(1, Outcome::Rejected).await;
    assert_eq!(verdict(&state), (Some(Reason::UpgradeDenied), Some(Cause::Host)));
    assert!(bench.watchdog.obtained.lock().is_empty());
    bench.lock("");
    bench.until_step("staged").await;
    bench.watchdog.ends("refused", Some((Reason::VersionInvalid, Cause::Content)));
    bench.until_outcome(1, Outcome::Rejected).await;

    bench.offer(2, "0.3.0", "s390x");
    let state = bench.until_outcome(2, Outcome::Rejected).await;
    assert_eq!(verdict(&state), (Some(Reason::ReleaseContentInvalid), Some(Cause::Host)));
    // A package manager needs no files.
    bench.watchdog.state.lock().is_in_slots = false;
    bench.offer(3, "0.3.0", "s390x");
    bench.until_step("staged").await;
    assert_eq!(bench.watchdog.started.lock()[1].archive, None);
    bench.watchdog.ends("refused", Some((Reason::VersionNotAvailable, Cause::Host)));
    bench.until_outcome(3, Outcome::Rejected).await;
    bench.watchdog.state.lock().unavailable = "no systemd".to_owned();
    bench.offer(4, "0.5.0", "any");
    let state = bench.until_outcome(4, Outcome::Rejected).await;
    assert_eq!(verdict(&state), (Some(Reason::UpgradeUnavailable), Some(Cause::Host)));
    bench.watchdog.state.lock().unavailable.clear();
    let by_hand = UpgradePending { to: "0.9.0".to_owned(), begun_ms: 77, ..UpgradePending::default() };
    bench.watchdog.state.lock().pending = Some(by_hand);
    bench.offer(5, "0.6.0", "any");
    let state = bench.until_outcome(5, Outcome::Rejected).await;
    assert_eq!(verdict(&state), (Some(Reason::UpgradeBusy), Some(Cause::Host)));
    assert_eq!(bench.started(), 2);
}
