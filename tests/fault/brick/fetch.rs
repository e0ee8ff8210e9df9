//! The same while a release is brought by the control plane's word: while its file comes, when
//! what is signed is about to be believed, and when the file is about to be admitted.

use muster_proto::admin::v1 as pb;
use muster_proto::types::v1::{self as types, ItemOutcome};
use muster_tests::{eventually::eventually, operator::reported, repository::Repository};
use rand::{RngExt as _, rngs::StdRng};

use super::{
    lab::{Lab, Releases},
    matrix::{FAULTS, Run, Step, Version},
    run::{Ended, RECOVERS},
};

const ITEM: &str = "release/agent";
/// In the agent, and in its root half.
const POINTS: [(&str, Half); 3] = [
    ("agent.artifact.piece:3", Half::Daemon),
    ("admission.believe", Half::Executor),
    ("admission.copied", Half::Executor),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Daemon,
    Executor,
}

/// Every point with every fault.
pub(super) fn all() -> Vec<Run> {
    let of = |point| FAULTS.map(|fault| Run { version: Version::Good, step: Step::Brings(point), fault });
    POINTS.iter().flat_map(|(point, _)| of(*point)).collect()
}

/// One of them.
pub(super) fn sample(random: &mut StdRng) -> Vec<Run> {
    let mut all = all();
    vec![all.swap_remove(random.random_range(0..all.len()))]
}

/// A host that takes releases from a signed repository.
pub(super) struct Fetching {
    lab: Lab,
    repository: Repository,
}

impl Fetching {
    pub(super) async fn new(releases: &Releases) -> Self {
        let repository = Repository::new();
        let lab = Lab::new(releases, Some(&repository)).await;
        for version in ["0.2.0", "0.3.0"] {
            let archive = releases.archive(version);
            repository.add_release(version, &archive);
            lab.operator.upload(&std::fs::read(archive).unwrap()).await;
        }
        Self { lab, repository }
    }

    /// Assigns the other version, lets it happen, and looks how it ends.
    pub(super) async fn run(&mut self, run: Run, random: &mut StdRng) -> Ended {
        let Step::Brings(point) = run.step else { panic!("{run:?}") };
        let to = run.version.name(&self.lab.runs);
        let before = self.lab.last();
        self.hold(point);
        self.publish().await;
        self.assign(to).await;
        self.lab.suffer(run, random).await;
        let ended = self.lab.ends(run, before).await;
        if self.lab.runs == to {
            self.is_applied().await;
        }
        ended
    }

    /// The next process of the half stays there, and none after it. The host has let go of the
    /// file that it had.
    fn hold(&self, point: &str) {
        let (half, host) = (POINTS.iter().find(|(of, _)| *of == point).unwrap().1, &self.lab.host);
        host.run("rm -rf /var/lib/muster/executor/artifacts/files/*");
        let stop = [("MUSTER_STOP_AT", point)];
        match half {
            Half::Executor => host.executor_with(&stop),
            Half::Daemon => {
                host.environment(&stop);
                host.run("systemctl restart muster-node-agent");
                host.environment(&[]);
            }
        }
    }

    /// Signed anew each time, so that there is something to believe.
    async fn publish(&self) {
        self.repository.sign();
        let request =
            pb::PublishRepositoryRequest { metadata: self.repository.metadata(), validate_only: false };
        self.lab.operator.artifacts.clone().publish_repository(request).await.unwrap();
    }

    /// The newest wins.
    async fn assign(&mut self, version: &str) {
        self.lab.count += 1;
        let priority = i32::try_from(self.lab.count).unwrap();
        let target = pb::ReleaseTarget { version: version.to_owned(), channel: String::new() };
        let assignment = pb::Assignment {
            name: format!("agents-{priority}"),
            selector: "*".to_owned(),
            target: Some(pb::assignment::Target::Release(target)),
            priority,
            ..Default::default()
        };
        let request = pb::CreateAssignmentRequest { assignment: Some(assignment), validate_only: false };
        self.lab.operator.assignments.clone().create_assignment(request).await.unwrap();
    }

    async fn is_applied(&self) {
        let is_over = |state: &&types::ItemState| {
            [ItemOutcome::Applied, ItemOutcome::Unchanged].contains(&state.outcome())
        };
        eventually("the item is applied", RECOVERS, || async {
            let node = self.lab.operator.node(&self.lab.host.node).await?;
            reported(&node, ITEM).filter(is_over).map(|_| ())
        })
        .await;
    }
}
