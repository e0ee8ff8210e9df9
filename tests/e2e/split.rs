//! The two halves of an agent on a host: what each may, and that the whole works.

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{BundleContent, BundleFile, BundleMode, CommandState, ErrorReason, ItemOutcome},
};
use muster_tests::{
    eventually::{LONG, eventually},
    host::Host,
    netns::Network,
    operator::{Operator, file, reported, script, sh},
    plane::Plane,
};

const ITEM: &str = "bundle/app";
const RULES: &str = "[paths]\nallow = [\"/etc/app\", \"/srv\"]\n[hooks]\nallow = true\n\
                     [commands]\nrun-script = true\n";

struct Lab {
    host: Host,
    operator: Operator,
    _plane: Plane,
    _network: Network,
    _folder: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::create();
        let plane = Plane::in_network(folder.path(), &network).await;
        let mut host = Host::boot(folder.path(), "host", &network).await;
        host.install_agent(RULES);
        host.connect(&plane.join(1, &[("role", "web")]).await);
        let operator = plane.operator().await;
        operator.until_liveness(&host.node, Liveness::Online).await;
        Self { host, operator, _plane: plane, _network: network, _folder: folder }
    }

    async fn bring(&self, content: BundleContent) -> muster_proto::types::v1::ItemState {
        let (_, sha256) = self.operator.bundle("app", content).await;
        self.operator.assign("app", "role=web", "app").await;
        self.operator.until_attempted(&self.host.node, ITEM, &sha256).await
    }

    fn rights(&self, path: &str) -> String {
        self.host.sh(&format!("stat -c '%U:%G %a' {path}")).trim().to_owned()
    }
}

fn at(path: &str, content: &str) -> BundleFile {
    file(path.as_ref(), content)
}

fn told(state: &muster_proto::types::v1::ItemState) -> String {
    state
        .error
        .as_ref()
        .map_or_else(String::new, |error| format!("{}: {}", error.reason().as_str_name(), error.message))
}

#[tokio::test]
async fn a_bundle_with_owners_modes_and_hooks_is_brought_and_what_was_there_comes_back() {
    let lab = Lab::new().await;
    lab.host.run(
        "useradd --no-create-home app; mkdir -p /etc/app; echo before > /etc/app/conf; \
                  chown app:app /etc/app/conf; chmod 4750 /etc/app/conf",
    );
    let owned = BundleFile {
        owner: "app".to_owned(),
        group: "app".to_owned(),
        mode: 0o640,
        ..at("/etc/app/conf", "ours\n")
    };
    let folder =
        BundleFile { directory: true, mode: 0o750, group: "app".to_owned(), ..at("/etc/app/data", "") };
    let content = BundleContent {
        files: vec![owned, folder, at("/etc/app/data/plain", "plain\n")],
        validate: sh("grep -q ours $MUSTER_STAGE/etc/app/conf && id -u > /srv/validated"),
        on_change: sh(
            "env | cut -d= -f1 | sort | tr '\\n' ' ' > /srv/told; cat /proc/self/cgroup >> /srv/told",
        ),
        probe: sh("test -s /etc/app/data/plain"),
        ..Default::default()
    };
    let state = lab.bring(content.clone()).await;
    assert_eq!(state.outcome(), ItemOutcome::Applied, "{}", told(&state));
    assert_eq!(lab.rights("/etc/app/conf"), "app:app 640");
    assert_eq!(lab.rights("/etc/app/data"), "root:app 750");
    assert_eq!(lab.rights("/etc/app/data/plain"), "root:root 644");
    assert_eq!(lab.host.read("/srv/validated").as_deref(), Some("0\n"), "hooks are root's");
    let heard = lab.host.read("/srv/told").unwrap();
    assert!(heard.starts_with("MUSTER_ITEM MUSTER_VERSION PATH PWD "), "{heard}");
    assert!(heard.contains("muster-command-"), "each is a unit of its own: {heard}");
    assert_eq!(
        lab.host
            .sh("ls -A /var/lib/muster/executor/runs /run/muster-scripts 2>/dev/null | grep -v : | wc -l")
            .trim(),
        "0"
    );

    // A hook that fails, and one that does not end, leave the host as it was.
    let bad = BundleContent { probe: sh("echo why >&2; exit 3"), ..content.clone() };
    let bad = BundleContent { files: vec![at("/etc/app/conf", "bad\n")], ..bad };
    let state = lab.bring(BundleContent { validate: None, ..bad }).await;
    let error = state.error.as_ref().unwrap();
    assert_eq!((state.outcome(), error.reason()), (ItemOutcome::RolledBack, ErrorReason::ProbeFailed));
    assert_eq!(
        (error.output.as_ref(), lab.host.read("/etc/app/conf").as_deref()),
        (&b"why\n"[..], Some("ours\n"))
    );
    assert_eq!(lab.rights("/etc/app/conf"), "app:app 640");
    let slow = muster_proto::types::v1::Hook {
        timeout_s: 1,
        ..sh("trap '' TERM; setsid sleep 907 & sleep 908").unwrap()
    };
    let slow =
        BundleContent { files: vec![at("/etc/app/conf", "slow\n")], probe: Some(slow), ..Default::default() };
    let state = lab.bring(slow).await;
    assert!(told(&state).contains("did not end within 1 s"), "{}", told(&state));
    let sleeps = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done | grep -c '^sleep 90' || true";
    assert_eq!(lab.host.sh(sleeps), "0\n");

    // What the lock file allows no more is refused by both halves, and told as ever.
    lab.host.rules("[paths]\nallow = [\"/srv\"]\n");
    let state =
        lab.bring(BundleContent { files: vec![at("/etc/app/conf", "no\n")], ..Default::default() }).await;
    assert_eq!(state.error.as_ref().unwrap().reason(), ErrorReason::PathNotAllowed);
    lab.host.rules(RULES);

    let mut correcting =
        BundleContent { files: vec![at("/etc/app/conf", "ours again\n")], ..Default::default() };
    correcting.set_mode(BundleMode::ApplyAndCorrect);
    let state = lab.bring(correcting).await;
    assert_eq!(state.outcome(), ItemOutcome::Applied, "{}", told(&state));
    lab.host.run("echo theirs > /etc/app/conf");
    let corrected = |node: &pb::Node| {
        reported(node, ITEM).is_some_and(|state| state.drift.iter().any(|drift| drift.corrected))
    };
    lab.operator.until("the drift is corrected", &lab.host.node, corrected).await;
    assert_eq!(lab.host.read("/etc/app/conf").as_deref(), Some("ours again\n"));

    let request = pb::DeleteAssignmentRequest { name: "app".to_owned(), ..Default::default() };
    lab.operator.assignments.clone().delete_assignment(request).await.unwrap();
    let gone = |node: &pb::Node| reported(node, ITEM).is_none();
    lab.operator.until("the bundle is gone", &lab.host.node, gone).await;
    assert_eq!(lab.host.read("/etc/app/conf").as_deref(), Some("before\n"));
    assert_eq!(lab.rights("/etc/app/conf"), "app:app 4750", "with all its rights");
    assert_eq!(lab.host.sh("ls -A /var/lib/muster/executor/originals"), "", "and nothing is kept of it");
}

#[tokio::test]
async fn an_executor_that_dies_at_any_step_leaves_old_or_new_and_a_script_that_ran_once_at_most() {
    let lab = Lab::new().await;
    let count = |text: &str| text.lines().count();
    for n in 1..=4 {
        lab.host.executor_with(&[("MUSTER_CRASH_AT", &format!("executor.file.done:{n}"))]);
        let text = format!("version {n}\n");
        let state =
            lab.bring(BundleContent { files: vec![at("/etc/app/conf", &text)], ..Default::default() }).await;
        // A swap that nobody confirmed is undone, and tried again.
        assert!(
            matches!(state.outcome(), ItemOutcome::Applied | ItemOutcome::RolledBack),
            "{}",
            told(&state)
        );
        let in_sync = |node: &pb::Node| node.items.iter().any(|item| item.item == ITEM && item.in_sync);
        lab.operator.until("it is brought", &lab.host.node, in_sync).await;
        assert_eq!(lab.host.read("/etc/app/conf"), Some(text), "{n}");
    }
    for (point, runs) in [("executor.run.ordered", 0), ("executor.run.launched", 1)] {
        lab.host.executor_with(&[("MUSTER_CRASH_AT", point)]);
        let operation = lab.operator.start("*", script("echo x >> /srv/$MUSTER_COMMAND_ID; echo said")).await;
        let command = lab.operator.ended(&operation, LONG).await.remove(&lab.host.node).unwrap();
        let ran = lab.host.read(&format!("/srv/{}", command.id)).unwrap_or_default();
        assert_eq!(count(&ran), runs, "{point}");
        let expected = if runs == 0 { CommandState::Failed } else { CommandState::Succeeded };
        assert_eq!(command.state(), expected, "{point}: {}", command.message);
    }
}

#[tokio::test]
async fn the_daemon_has_no_rights_is_restarted_when_it_stands_still_and_takes_over_what_was_roots() {
    let lab = Lab::new().await;
    let pid = lab.host.agent_pid();
    let status = lab.host.sh(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let uid = lab.host.sh("id -u muster").trim().to_owned();
    assert_eq!(field("Uid"), [uid.as_str(); 4].join(" "));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));

    let score = |unit: &str| {
        let told = lab.host.exec(&["systemd-analyze", "security", "--no-pager", unit]);
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let line = told.lines().find(|line| line.contains("Overall exposure level")).expect("a score");
        line.split(':').nth(1).unwrap().split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let (run, executor) = (score("muster-node-agent.service"), score("muster-executor.service"));
    println!("exposure: run {run}, executor {executor}");
    assert!(run <= 2.0, "run has {run}");
    assert!(executor <= 3.0, "the executor has {executor}");

    // Its key is its own.
    let key = lab.host.sh("find /var/lib/muster/node-agent/identity -name '*key*' -type f | head -n 1");
    lab.host.run("useradd --no-create-home --groups muster other");
    for user in ["nobody", "other"] {
        let read = lab.host.exec(&[
            "setpriv",
            &format!("--reuid={user}"),
            "--regid=nogroup",
            "--init-groups",
            "cat",
            key.trim(),
        ]);
        assert!(!read.status.success(), "{user} reads the key");
    }
    let write = lab.host.exec(&[
        "setpriv",
        "--reuid=muster",
        "--regid=muster",
        "--init-groups",
        "sh",
        "-c",
        "echo >> /etc/muster/locks.toml || mv /etc/muster/locks.toml /etc/muster/x || touch /etc/muster/y",
    ]);
    assert!(!write.status.success(), "the daemon's user changes the lock file");

    // The executor is not there while nobody asks.
    eventually("the executor has ended", LONG, || {
        let state = lab.host.sh("systemctl is-active muster-executor.service || true");
        std::future::ready((state.trim() == "inactive").then_some(()))
    })
    .await;
    assert_eq!(lab.host.sh("systemctl is-active muster-executor.socket").trim(), "active");

    lab.host.write("/etc/systemd/system/muster-node-agent.service.d/dog.conf", "[Service]\nWatchdogSec=2s\n");
    lab.host.run("systemctl daemon-reload && systemctl restart muster-node-agent");
    lab.operator.until_liveness(&lab.host.node, Liveness::Online).await;
    let stopped = lab.host.agent_pid();
    lab.host.run(&format!("kill -STOP {stopped}"));
    eventually("another process runs", LONG, || {
        let now = lab.host.agent_pid();
        std::future::ready((now != 0 && now != stopped).then_some(()))
    })
    .await;
    assert!(lab.host.sh("journalctl --no-pager -u muster-node-agent").contains("Watchdog timeout"));

    // A directory that root's agent of before left behind.
    lab.host.run("systemctl stop muster-node-agent && chown -R root:root /var/lib/muster/node-agent && systemctl start muster-node-agent");
    let session = lab.operator.until_liveness(&lab.host.node, Liveness::Online).await;
    assert_eq!(session.id, lab.host.node);
    let roots = "find /var/lib/muster/node-agent ! -user muster | head";
    eventually("all is the daemon's", LONG, || {
        std::future::ready(lab.host.sh(roots).is_empty().then_some(()))
    })
    .await;
    // And what root does to it afterwards is the daemon's, too.
    let left = lab.host.exec(&["/usr/bin/muster-node-agent", "disconnect"]);
    assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
    assert_eq!(lab.host.sh(roots), "");
}
