//! The agent of a host becomes another version by the control plane's word: from a signed
//! repository, as far as the host's lock file goes, and back if the version does not work.

use std::{path::PathBuf, time::Duration};

use muster_common::build_info::version;
use muster_node_agent::verbs::messages::{Said, UpgradeStart, Verb};
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{self as types, ErrorReason, FailureCause, ItemOutcome},
};
use muster_tests::{
    binaries,
    eventually::eventually,
    host::Host,
    netns::Network,
    operator::{Operator, reported},
    plane::{Options, Plane},
    repository::Repository,
    versions,
};

const ITEM: &str = "release/agent";
/// A version is watched for a minute.
const UPGRADE: Duration = Duration::from_secs(180);

struct Lab {
    host: Host,
    operator: Operator,
    repository: Repository,
    folder: PathBuf,
    program: PathBuf,
    _plane: Plane,
    _network: Network,
    _temporary: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let program = folder.join("program");
        versions::stripped(&binaries::path("muster-node-agent"), &program);
        let (network, repository) = (Network::create(), Repository::new());
        let listen = network.gateway().into();
        let mut plane = Plane::init(&folder, &Options { listen, ..Options::default() });
        let root = repository.path().join("metadata/1.root.json");
        plane.configure("root", &format!("{root:?}"));
        plane.serve(&[]).await;
        let mut host = Host::boot(&folder, "host", &network).await;
        host.install_in_slots(&program, &pinned(version()));
        host.copy_in(&root, "/etc/muster/root.json", 0o644);
        host.install_say();
        host.connect(&plane.join(1, &[]).await);
        let operator = plane.operator().await;
        operator.until_liveness(&host.node, Liveness::Online).await;
        Self {
            host,
            operator,
            repository,
            folder,
            program,
            _plane: plane,
            _network: network,
            _temporary: temporary,
        }
    }

    /// A release, signed; `script`: runs before the program does its work.
    async fn release(&self, version: &str, script: &str) {
        let (made, packed) =
            (self.folder.join(format!("made-{version}")), self.folder.join(format!("{version}.tar.zst")));
        versions::make(&self.program, version, &made);
        let start = self.folder.join(format!("start-{version}"));
        let text = format!(
            "#!/bin/sh\nreal=$(dirname $(readlink -f $0))/real\n\
             [ $1 = run ] || exec $real \"$@\"\n{script}\nexec $real \"$@\"\n"
        );
        std::fs::write(&start, text).unwrap();
        std::fs::set_permissions(&start, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        if script.is_empty() {
            versions::archive(&[("bin/muster-node-agent", &made)], &packed);
        } else {
            versions::archive(&[("bin/muster-node-agent", &start), ("bin/real", &made)], &packed);
        }
        self.repository.add_release(version, &packed);
        self.operator.upload(&std::fs::read(packed).unwrap()).await;
    }

    async fn publish(&self) {
        self.repository.sign();
        let request =
            pb::PublishRepositoryRequest { metadata: self.repository.metadata(), validate_only: false };
        self.operator.artifacts.clone().publish_repository(request).await.unwrap();
    }

    /// The newest wins.
    async fn assign(&self, version: &str, priority: i32) {
        let target = pb::ReleaseTarget { version: version.to_owned(), channel: String::new() };
        let assignment = pb::Assignment {
            name: format!("agents-{priority}"),
            selector: "*".to_owned(),
            target: Some(pb::assignment::Target::Release(target)),
            priority,
            ..Default::default()
        };
        let request = pb::CreateAssignmentRequest { assignment: Some(assignment), validate_only: false };
        self.operator.assignments.clone().create_assignment(request).await.unwrap();
    }

    async fn until(&self, what: &str, is: impl Fn(&types::ItemState) -> bool) -> types::ItemState {
        let found = eventually(what, UPGRADE, || async {
            let node = self.operator.node(&self.host.node).await?;
            reported(&node, ITEM).filter(|state| is(state)).cloned()
        });
        found.await
    }

    async fn until_outcome(&self, version: &str, outcome: ItemOutcome) -> types::ItemState {
        let of = |state: &types::ItemState| state.attempted.as_ref().is_some_and(|it| it.version == version);
        let what = format!("{version} is {outcome:?}");
        self.until(&what, |state| of(state) && state.outcome() == outcome).await
    }

    async fn until_step(&self, step: &str) {
        let is = |state: &types::ItemState| state.progress.as_ref().is_some_and(|it| it.step == step);
        self.until(step, is).await;
    }

    async fn until_online(&self, version: &str) {
        let online = |node: &pb::Node| {
            node.agent_version == version
                && node.connection.as_ref().is_some_and(|it| it.liveness() == Liveness::Online)
        };
        self.operator.until(&format!("{version} runs"), &self.host.node, online).await;
    }
}

fn pinned(version: &str) -> String {
    format!("[upgrade]\npin = {version:?}\n")
}

#[tokio::test]
async fn a_release_is_brought_by_the_item_or_returned_from_and_a_pin_is_above_it() {
    let lab = Lab::new().await;
    lab.release("0.2.0", "").await;
    lab.release("0.3.0", "echo this is broken >&2; exit 3").await;
    lab.publish().await;

    lab.assign("0.2.0", 1).await;
    let state = lab.until_outcome("0.2.0", ItemOutcome::Rejected).await;
    let error = state.error.unwrap();
    assert_eq!((error.reason(), error.cause()), (ErrorReason::UpgradeDenied, FailureCause::Host));
    assert!(error.message.contains("denied-by-local-lock"), "{}", error.message);
    // The executor reads the lock file itself, and takes nothing that is not signed.
    let start = UpgradeStart { version: "0.2.0".to_owned(), ..UpgradeStart::default() };
    let refused = |said: Said, reason: &str| matches!(said, Said::Refused(no) if no.reason == reason);
    assert!(refused(lab.host.say(Verb::UpgradeStart(start.clone())), "UPGRADE_DENIED"));

    lab.host.rules("");
    lab.until_step("probation").await;
    // The same word at a newer generation may have come meanwhile.
    let is_over =
        |state: &types::ItemState| [ItemOutcome::Applied, ItemOutcome::Unchanged].contains(&state.outcome());
    let state = lab.until("0.2.0 is kept", is_over).await;
    assert_eq!((state.running.clone().unwrap().version.as_str(), state.running), ("0.2.0", state.attempted));
    lab.until_online("0.2.0").await;
    assert_eq!(lab.host.sh("readlink /opt/muster/current").trim(), "slots/b");
    lab.host.run("test ! -e /var/lib/muster/upgrade/archive.tar.zst");

    lab.assign("0.3.0", 2).await;
    let state = lab.until_outcome("0.3.0", ItemOutcome::RolledBack).await;
    let error = state.error.unwrap();
    assert_eq!((error.reason(), error.cause()), (ErrorReason::VersionDidNotStart, FailureCause::Content));
    let output = String::from_utf8_lossy(&error.output).into_owned();
    assert!(output.contains("this is broken"), "{output}");
    assert_eq!(state.running.unwrap().version, "0.2.0");
    lab.until_online("0.2.0").await;
}
