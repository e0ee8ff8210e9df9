//! What goes wrong while a bundle is applied: full and read-only disks, and hooks that
//! nobody would want. Old or new is left, operators are told why and whose fault it is, the
//! agent is heard and obeys meanwhile, and a host that is mended converges by itself.

use std::{fs, path::Path};

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{BundleContent, CommandState, ErrorReason, FailureCause, Hook, ItemOutcome, ItemState},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    mount::Mount,
    operator::{Operator, file, reported, script, sh},
    plane::{Options, Plane},
};

const ITEM: &str = "bundle/app";
/// Most that an agent's memory may grow by what a hook prints, in KiB.
const GROWTH_KIB: u64 = 16 * 1024;

/// A host that runs a good version of a bundle of two files, one below `disk`.
struct Lab {
    _plane: Plane,
    operator: Operator,
    agent: Agent,
    good: Vec<u8>,
}

impl Lab {
    async fn new(folder: &Path) -> Self {
        Self::prepared(folder, |_| ()).await.0
    }

    /// The same, with something done to the host before its agent is there.
    async fn prepared<T>(folder: &Path, prepare: impl FnOnce(&Agent) -> T) -> (Self, T) {
        let plane = Plane::start(folder, &Options::default()).await;
        let operator = plane.operator().await;
        let mut agent = Agent::host(folder, "host", OPEN);
        let prepared = prepare(&agent);
        agent.connect(&plane.join(1, &[("role", "web")]).await);
        agent.run();
        operator.until_liveness(&agent.node, Liveness::Online).await;
        let mut lab = Self { _plane: plane, operator, agent, good: Vec::new() };
        lab.good = lab.give(lab.content("good\n")).await;
        let state = lab.operator.until_attempted(&lab.agent.node, ITEM, &lab.good).await;
        assert_eq!(state.outcome(), ItemOutcome::Applied, "{state:?}");
        (lab, prepared)
    }

    fn content(&self, text: &str) -> BundleContent {
        let files = ["app.conf", "disk/data"].map(|name| file(&self.agent.file(name), text)).to_vec();
        BundleContent { files, ..Default::default() }
    }

    async fn give(&self, content: BundleContent) -> Vec<u8> {
        let (_, sha256) = self.operator.bundle("app", content).await;
        self.operator.assign("app", "role=web", "app").await;
        sha256
    }

    /// What an operator sees of a version that fails; nothing of it is on the host, and the
    /// agent goes on as if nothing had been.
    async fn fails(&self, content: BundleContent) -> (ItemOutcome, ErrorReason, FailureCause, ItemState) {
        let sha256 = self.give(content).await;
        let state = self.operator.until_attempted(&self.agent.node, ITEM, &sha256).await;
        let error = state.error.as_ref().expect("it says why");
        assert_eq!(state.running.as_ref().map(|it| it.sha256.to_vec()).as_ref(), Some(&self.good));
        let node = self.operator.node(&self.agent.node).await.unwrap();
        assert!(!node.items.iter().any(|item| item.item == ITEM && item.in_sync), "it is shown");
        self.has("good\n");
        self.is_responsive().await;
        (state.outcome(), error.reason(), error.cause(), state)
    }

    /// Both files say this, and nothing lies beside them.
    fn has(&self, text: &str) {
        for name in ["app.conf", "disk/data"] {
            assert_eq!(self.agent.read(name).as_deref(), Some(text), "{name}");
        }
        assert!(!self.has_litter(), "nothing is left beside them");
    }

    fn has_litter(&self) -> bool {
        let names = |folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names = names(self.agent.files()).chain(names(self.agent.file("disk")));
        names.any(|name| name.to_string_lossy().starts_with(".muster"))
    }

    async fn until_has(&self, sha256: &[u8], text: &str) {
        let runs = |state: &ItemState| state.running.as_ref().is_some_and(|it| it.sha256 == sha256);
        let node = &self.agent.node;
        self.operator.until("it runs", node, |node| reported(node, ITEM).is_some_and(runs)).await;
        let is_clear = || std::future::ready((!self.has_litter()).then_some(()));
        eventually("what lay beside is cleared away", LONG, is_clear).await;
        self.has(text);
    }

    async fn verdict(&self) -> String {
        let request = pb::ExplainItemRequest { id: self.agent.node.clone(), item: ITEM.to_owned() };
        self.operator.nodes.clone().explain_item(request).await.unwrap().into_inner().verdict
    }

    /// Heartbeats go on, and a command is run.
    async fn is_responsive(&self) {
        let heard = async || {
            let node = self.operator.node(&self.agent.node).await.unwrap();
            let connection = node.connection.unwrap();
            assert_eq!(connection.liveness(), Liveness::Online);
            (connection.session_id, connection.last_heard.unwrap().seconds)
        };
        let (session, before) = heard().await;
        let started = self.operator.start("role=web", script("echo here")).await;
        let commands = self.operator.ended(&started, LONG).await;
        assert_eq!(commands[&self.agent.node].state(), CommandState::Succeeded);
        eventually("heartbeats go on", LONG, || async { (heard().await.1 > before).then_some(()) }).await;
        assert_eq!(heard().await.0, session, "in the same session");
    }
}

const REJECTED_FULL: (ItemOutcome, ErrorReason, FailureCause) =
    (ItemOutcome::Rejected, ErrorReason::DiskFull, FailureCause::Host);

#[tokio::test]
async fn a_full_disk_keeps_the_old_files_and_takes_the_new_ones_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, disk) = Lab::prepared(folder.path(), |agent| Mount::small(&agent.file("disk"), "16k")).await;
    let big = "x".repeat(30_000);
    let content = lab.content(&big);
    let (outcome, reason, cause, state) = lab.fails(content).await;
    assert_eq!((outcome, reason, cause), REJECTED_FULL);
    assert_eq!(lab.verdict().await, "RetriedByHost");
    disk.remount("size=1m");
    lab.until_has(&state.attempted.unwrap().sha256, &big).await;
}

#[tokio::test]
async fn a_full_disk_under_the_agents_own_state_changes_nothing_and_is_got_over() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, _disk) = Lab::prepared(folder.path(), |agent| Mount::small(&agent.state(), "2m")).await;
    let filler = lab.agent.state().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
    drop(file); // or its room stays taken when it is removed
    let sha256 = lab.give(lab.content("new\n")).await;
    let state = lab.operator.until_attempted(&lab.agent.node, ITEM, &sha256).await;
    let error = state.error.as_ref().unwrap();
    assert_eq!((state.outcome(), error.reason(), error.cause()), REJECTED_FULL);
    lab.has("good\n");
    // A command cannot be written down, and is therefore not run; heartbeats go on.
    lab.operator.until_liveness(&lab.agent.node, Liveness::Online).await;
    fs::remove_file(&filler).unwrap();
    lab.until_has(&sha256, "new\n").await;
    lab.is_responsive().await;
}

#[tokio::test]
async fn a_read_only_disk_keeps_the_old_files_and_takes_the_new_ones_when_it_is_writable() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path()).await;
    let disk = Mount::read_only(&lab.agent.file("disk"));
    let (outcome, reason, cause, state) = lab.fails(lab.content("new\n")).await;
    let rejected = (ItemOutcome::Rejected, ErrorReason::WriteFailed, FailureCause::Host);
    assert_eq!((outcome, reason, cause), rejected);
    let message = &state.error.unwrap().message;
    assert!(message.contains("disk/data") && message.contains("Read-only"), "{message}");
    assert_eq!(lab.verdict().await, "RetriedByHost");
    disk.remount("rw,bind");
    lab.until_has(&state.attempted.unwrap().sha256, "new\n").await;
}

const PROBE_FAILED: (ItemOutcome, ErrorReason, FailureCause) =
    (ItemOutcome::RolledBack, ErrorReason::ProbeFailed, FailureCause::Content);

fn probe(script: &str, timeout_s: u32) -> Option<Hook> {
    sh(script).map(|hook| Hook { timeout_s, ..hook })
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_hook_that_hangs_is_ended_with_all_it_started_and_keeps_the_agent_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path()).await;
    let pid = lab.agent.file("pid");
    let hangs = format!(
        "trap '' TERM; sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait; sleep 600",
        pid.display()
    );
    let sha256 = lab.give(BundleContent { probe: probe(&hangs, 8), ..lab.content("new\n") }).await;
    let started = eventually("the hook hangs", LONG, || async { lab.agent.read("pid") }).await;
    lab.is_responsive().await;
    assert!(is_alive(&started), "it was so while the hook hung");
    let state = lab.operator.until_attempted(&lab.agent.node, ITEM, &sha256).await;
    let error = state.error.as_ref().unwrap();
    assert_eq!((state.outcome(), error.reason(), error.cause()), PROBE_FAILED);
    assert!(error.message.ends_with("did not end within 8 s"), "{}", error.message);
    eventually("what it started is gone", LONG, || std::future::ready((!is_alive(&started)).then_some(())))
        .await;
    lab.has("good\n");
    assert_eq!(lab.verdict().await, "Refused");
    let better = lab.give(BundleContent { probe: sh("true"), ..lab.content("better\n") }).await;
    lab.until_has(&better, "better\n").await;
}

#[tokio::test]
async fn a_hook_that_leaves_a_daemon_behind_is_done_when_it_ends_and_the_daemon_lives() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path()).await;
    let pid = lab.agent.file("pid");
    // Out of the hook's group, and with its pipes: what a careless service does.
    let pid = pid.display();
    let daemon = format!("setsid sh -c 'echo $$ > {pid}; exec sleep 600'");
    // It has left the group before the hook ends.
    let starts = format!("{daemon} & while ! test -s {pid}; do sleep 0.05; done; echo started");
    let new = lab.give(BundleContent { on_change: probe(&starts, 600), ..lab.content("new\n") }).await;
    lab.until_has(&new, "new\n").await;
    lab.is_responsive().await;
    let daemon = lab.agent.read("pid").unwrap();
    assert!(is_alive(&daemon));
    let daemon = daemon.trim().parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_hook_that_prints_a_hundred_mebibytes_costs_the_agent_no_memory_and_its_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path()).await;
    let before = lab.agent.rss_kib();
    let prints = probe("head -c 104857600 /dev/zero | tr '\\0' x; echo; echo the end; exit 3", 600);
    let (outcome, reason, cause, state) =
        lab.fails(BundleContent { probe: prints, ..lab.content("new\n") }).await;
    assert_eq!((outcome, reason, cause), PROBE_FAILED);
    let error = state.error.unwrap();
    assert!(error.message.ends_with("ended with exit status: 3"), "{}", error.message);
    assert!(error.output.len() == 4096 && error.output.ends_with(b"x\nthe end\n"));
    let grown = lab.agent.rss_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB, "it grew by {grown} KiB");
}

#[tokio::test]
async fn a_hook_that_cannot_be_executed_is_told_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path()).await;
    let (outcome, reason, cause, state) =
        lab.fails(BundleContent { probe: sh("exit 126"), ..lab.content("new\n") }).await;
    assert_eq!((outcome, reason, cause), PROBE_FAILED);
    assert!(state.error.unwrap().message.contains("exit status: 126: a shell says so"));
    let nowhere = Hook { argv: vec!["/nonexistent/program".to_owned()], ..Default::default() };
    let (outcome, reason, cause, state) =
        lab.fails(BundleContent { probe: Some(nowhere), ..lab.content("newer\n") }).await;
    assert_eq!((outcome, reason, cause), PROBE_FAILED);
    assert!(state.error.unwrap().message.contains("could not be started"));
}
