//! The agent of a host becomes another version by the control plane's word: from a signed
//! repository, as far as the host's lock file goes, and back if the version does not work.

use std::time::Duration;

use muster_common::build_info::version;
use muster_node_agent::verbs::messages::{Said, UpgradeStart, Verb};
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{self as types, ErrorReason, FailureCause, ItemOutcome},
};
use muster_tests::{
    eventually::eventually,
    host::Host,
    operator::{Operator, reported},
    releases::Publisher,
};

const ITEM: &str = "release/agent";
const UPGRADE: Duration = Duration::from_secs(180);

struct Lab {
    host: Host,
    operator: Operator,
    publisher: Publisher,
}

impl Lab {
    async fn new() -> Self {
        let publisher = Publisher::start().await;
        let mut host = publisher.host_in_slots("host", &pinned(version())).await;
        host.install_say();
        host.watches_shortly();
        host.connect(&publisher.plane.join(1, &[]).await);
        let operator = publisher.plane.operator().await;
        operator.until_liveness(&host.node, Liveness::Online).await;
        Self { host, operator, publisher }
    }

    /// A release, signed; `first`: runs before the program does its work.
    async fn release(&self, version: &str, first: &str) {
        self.publisher.release(&self.operator, version, first).await;
    }

    async fn publish(&self) {
        self.publisher.publish(&self.operator).await;
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
