//! kill -9 of an agent at each step of an apply, of a way back and of a removal: the next
//! agent, which reaches nobody, finds every path old or new, with its rights; then it goes
//! on to what is wanted.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{BundleContent, ItemOutcome, ItemState},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, reported, sh},
    plane::{Options, Plane},
    relay::Relay,
};

use crate::tree::{self, Tree};

const ITEM: &str = "bundle/app";
/// SIGKILL: what a named point sends to its own process.
const KILLED: i32 = 9;
/// Before the record is written everything is undone; it has as many steps as paths change.
const UNDONE: &[&str] = &[
    "agent.apply.journaled",
    "agent.apply.staged",
    "agent.apply.swapping:1",
    "agent.apply.swapping:2",
    "agent.apply.swapping:3",
    "agent.apply.swapping:4",
    "agent.apply.swapping:5",
    "agent.apply.swapping:6",
    "agent.apply.swapped",
    "agent.apply.hooked",
    "agent.apply.probed",
    "agent.apply.unconfirmed",
    "agent.apply.before-commit",
];
const DONE: &str = "agent.apply.committed";
/// On the way back, of an attempt or of what another agent left.
const RETURNING: &[&str] =
    &["agent.apply.undoing:1", "agent.apply.undoing:3", "agent.apply.undoing:6", "agent.apply.returned"];
/// Of a removal.
const REMOVING: &[&str] = &[
    "agent.apply.staged",
    "agent.apply.swapping:2",
    "agent.apply.swapped",
    "agent.apply.hooked",
    "agent.apply.before-commit",
];

/// A host whose way to the control plane can be closed.
struct Lab {
    _plane: Plane,
    _relay: Relay,
    open: Arc<AtomicBool>,
    operator: Operator,
    agent: Agent,
    /// The version that runs.
    now: u64,
    /// Goes last: the processes write there.
    folder: tempfile::TempDir,
}

impl Lab {
    /// With the first version in place.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut plane = Plane::start(folder.path(), &Options::default()).await;
        let open = Arc::new(AtomicBool::new(true));
        let is_open = Arc::clone(&open);
        let relay = Relay::start(plane.addresses().agents, move || is_open.load(Ordering::Relaxed)).await;
        plane.configure("session-addresses", &format!("[\"{}\"]", relay.address()));
        plane.kill();
        plane.serve(&[]).await;
        let operator = plane.operator().await;
        let mut agent = Agent::host(folder.path(), "host", OPEN);
        tree::make_before(&agent.files());
        agent.connect(&plane.join(1, &[("role", "web")]).await);
        agent.run();
        let mut lab = Self { folder, _plane: plane, _relay: relay, open, operator, agent, now: 0 };
        let first = lab.give(tree::content(&lab.agent.files(), 1)).await;
        lab.goes_on_to(1, &first).await;
        lab
    }

    fn next(&self) -> BundleContent {
        tree::content(&self.agent.files(), self.now + 1)
    }

    async fn give(&self, content: BundleContent) -> Vec<u8> {
        let (_, sha256) = self.operator.bundle("app", content).await;
        self.operator.assign("app", "role=web", "app").await;
        sha256
    }

    async fn take_away(&self) {
        let request = pb::DeleteAssignmentRequest { name: "app".to_owned(), etag: String::new() };
        self.operator.assignments.clone().delete_assignment(request).await.unwrap();
    }

    /// The agent runs, is heard, and will die at a point.
    async fn lives_until(&mut self, point: &str) {
        self.agent.kill();
        let before = self.session().await;
        self.agent.run_with(&[("MUSTER_CRASH_AT", point)]);
        let is_new = |node: &pb::Node| {
            let connection = node.connection.as_ref();
            connection.is_some_and(|it| it.liveness() == Liveness::Online && it.session_id != before)
        };
        self.operator.until("the agent is heard", &self.agent.node, is_new).await;
    }

    async fn session(&self) -> String {
        let node = self.operator.node(&self.agent.node).await.unwrap();
        node.connection.map(|connection| connection.session_id).unwrap_or_default()
    }

    async fn dies(&mut self, at: &str) {
        eprintln!("apply: it dies at {at}");
        let end = self.agent.process().ended().await;
        assert_eq!(end.signal(), Some(KILLED), "{at}: {end}");
    }

    /// An agent that reaches nobody clears up what the one before left.
    async fn clears_up_alone(&mut self, at: &str) -> Tree {
        self.open.store(false, Ordering::Relaxed);
        self.agent.run();
        let journal = self.journal();
        eventually(&format!("{at}: all is cleared up"), LONG, || {
            std::future::ready((!journal.exists()).then_some(()))
        })
        .await;
        let found = tree::look(&self.agent.files()).expect("nothing changes any more");
        self.open.store(true, Ordering::Relaxed);
        found
    }

    fn journal(&self) -> PathBuf {
        self.agent.state().join("nodes").join(&self.agent.node).join("items/journal.json")
    }

    /// What is wanted comes in the end, whole.
    async fn goes_on_to(&mut self, n: u64, sha256: &[u8]) {
        let runs = |state: &ItemState| {
            let running = state.running.as_ref().is_some_and(|it| it.sha256 == sha256);
            running && state.error.is_none()
        };
        let node = &self.agent.node;
        self.operator.until("it runs", node, |node| reported(node, ITEM).is_some_and(runs)).await;
        self.until_found("the version that is wanted", &tree::expected(n)).await;
        self.now = n;
    }

    async fn until_found(&self, what: &str, tree: &Tree) {
        let files = self.agent.files();
        eventually(what, LONG, || {
            std::future::ready((tree::look(&files).as_ref() == Some(tree)).then_some(()))
        })
        .await;
    }

    async fn dies_applying(&mut self, point: &str, leaves: u64) {
        self.lives_until(point).await;
        let next = self.give(self.next()).await;
        self.dies(point).await;
        assert_eq!(self.clears_up_alone(point).await, tree::expected(leaves), "{point}");
        self.goes_on_to(self.now + 1, &next).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_step_of_an_apply_leaves_every_path_old_or_new() {
    let _alone = crate::ALONE.lock().await;
    let mut lab = Lab::new().await;
    // Twice: from one version to the next, files that came the first time go.
    for point in UNDONE.iter().chain(UNDONE) {
        lab.dies_applying(point, lab.now).await;
    }
    for _ in 0..2 {
        lab.dies_applying(DONE, lab.now + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_kills_its_agent_leaves_every_path_as_it_was() {
    let _alone = crate::ALONE.lock().await;
    let mut lab = Lab::new().await;
    for hook in ["validate", "on_change", "probe"] {
        let once = lab.folder.path().join(hook);
        let kills = sh(&format!("test -e {0} || {{ touch {0}; kill -9 $PPID; sleep 9; }}", once.display()));
        let next = lab.next();
        let next = match hook {
            "validate" => BundleContent { validate: kills, ..next },
            "on_change" => BundleContent { on_change: kills, ..next },
            _ => BundleContent { probe: kills, ..next },
        };
        let next = lab.give(next).await;
        lab.dies(hook).await;
        assert_eq!(lab.clears_up_alone(hook).await, tree::expected(lab.now), "{hook}");
        lab.goes_on_to(lab.now + 1, &next).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_on_the_way_back_and_a_second_one_leave_every_path_as_it_was() {
    let _alone = crate::ALONE.lock().await;
    let mut lab = Lab::new().await;
    for point in RETURNING {
        lab.lives_until(point).await;
        let no = sh(&format!("exit 1 # {point}")); // other bytes each time
        let bad = lab.give(BundleContent { probe: no, ..lab.next() }).await;
        lab.dies(point).await;
        // The next one dies, too, while it clears up; what it has undone it undoes again.
        lab.open.store(false, Ordering::Relaxed);
        if *point != "agent.apply.returned" {
            lab.agent.run_with(&[("MUSTER_CRASH_AT", point)]);
            lab.dies(point).await;
        }
        assert_eq!(lab.clears_up_alone(point).await, tree::expected(lab.now), "{point}");
        let state = lab.operator.until_attempted(&lab.agent.node, ITEM, &bad).await;
        assert_eq!(state.outcome(), ItemOutcome::RolledBack, "{point}: {state:?}");
        lab.until_found("what ran before", &tree::expected(lab.now)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_step_of_a_removal_leaves_every_path_there_or_as_before() {
    let _alone = crate::ALONE.lock().await;
    let mut lab = Lab::new().await;
    for point in REMOVING.iter().chain([&DONE]) {
        lab.lives_until(point).await;
        lab.take_away().await;
        lab.dies(point).await;
        let left = if *point == DONE { tree::before() } else { tree::expected(lab.now) };
        assert_eq!(lab.clears_up_alone(point).await, left, "{point}");
        lab.operator.until("it is gone", &lab.agent.node, |node| reported(node, ITEM).is_none()).await;
        let next = lab.give(lab.next()).await;
        lab.goes_on_to(lab.now + 1, &next).await;
    }
}
