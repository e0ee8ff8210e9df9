//! Agents that came as packages become another version by their host's own package manager:
//! one host for each of apt, dnf and zypper.

use std::{path::Path, thread, time::Duration};

use muster_proto::{
    admin::v1::{self as pb, Liveness, RolloutPhase, create_rollout_request, rollout_step},
    types::v1::{ErrorReason, ItemOutcome},
};
use muster_tests::{
    eventually::eventually,
    host::{Base, Host},
    mirror::Mirror,
    operator::{Operator, reported},
    packages::Packages,
    releases::Publisher,
    soak::number,
};
use serde_json::Value;

const ITEM: &str = "release/agent";
const A: &str = "1.0.0";
const B: &str = "1.1.0";
const UPGRADE: Duration = Duration::from_secs(240);
/// Nothing but version A starts on a host with this.
const ONLY_A: &str = "[Service]\nExecStartPre=/bin/sh -c 'muster-node-agent version | grep -q 1.0.0'\n";

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Zypper,
}

impl Manager {
    fn base(self) -> Base {
        if self == Self::Apt { Base::Debian } else { Base::Rpm }
    }

    /// Sets the repository on the host and installs version A from it, as docs/install.md says.
    fn install(self, host: &Host, url: &str, key: &Path) {
        match self {
            Self::Apt => {
                host.run("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*");
                host.copy_in(key, "/usr/share/keyrings/muster.asc", 0o644);
                let source =
                    format!("deb [signed-by=/usr/share/keyrings/muster.asc] {url}/apt stable main\n");
                host.write("/etc/apt/sources.list.d/muster.list", &source);
                host.works(
                    "apt-get --quiet update && apt-get --quiet --yes install muster-node-agent=1.0.0-1",
                );
            }
            Self::Dnf => {
                host.run("rm /usr/bin/zypper");
                let source = format!(
                    "[muster]\nname=Muster\nbaseurl={url}/rpm/x86_64\ngpgcheck=1\nrepo_gpgcheck=1\n\
                     gpgkey={url}/muster.asc\n"
                );
                host.write("/etc/yum.repos.d/muster.repo", &source);
                host.works("dnf --assumeyes install muster-node-agent-1.0.0-1");
            }
            Self::Zypper => {
                host.works(&format!(
                    "zypper --non-interactive addrepo --gpgcheck {url}/rpm/x86_64 muster && \
                     zypper --non-interactive --gpg-auto-import-keys refresh && \
                     zypper --non-interactive install muster-node-agent=1.0.0-1"
                ));
            }
        }
        assert_eq!(self.installed(host), "1.0.0-1");
    }

    /// What it says is installed.
    fn installed(self, host: &Host) -> String {
        let said = host.works(match self {
            Self::Apt => "dpkg-query --show muster-node-agent | cut -f 2",
            Self::Dnf | Self::Zypper => {
                "rpm --query --queryformat '%{VERSION}-%{RELEASE}\\n' muster-node-agent"
            }
        });
        said.lines().next().unwrap_or_default().to_owned()
    }

    /// Has root keep the package at its version.
    fn freeze(self, host: &Host) {
        match self {
            Self::Apt => host.run("apt-mark hold muster-node-agent"),
            // Debian has no package of dnf's plugin; this is the file that it writes.
            Self::Dnf => {
                host.write("/etc/dnf/plugins/versionlock.list", "muster-node-agent-0:1.0.0-1.*\n");
            }
            Self::Zypper => drop(host.works("zypper --non-interactive addlock muster-node-agent")),
        }
    }

    /// Ends what `freeze` began, as a refusal says it.
    fn thaw(self, host: &Host) {
        match self {
            Self::Apt => host.run("apt-mark unhold muster-node-agent"),
            Self::Dnf => host.run("rm /etc/dnf/plugins/versionlock.list"),
            Self::Zypper => drop(host.works("zypper --non-interactive removelock muster-node-agent")),
        }
    }

    /// Has another process hold what it locks; of dnf that is more than rpm's.
    async fn hold(self, host: &Host) {
        if self == Self::Apt {
            return host.hold("/var/lib/dpkg/lock-frontend").await;
        }
        host.hold(host.sh("rpm --eval '%{_rpmlock_path}'").trim()).await;
        if self == Self::Dnf {
            host.write("/var/cache/dnf/metadata_lock.pid", &host.holder());
        }
    }
}

struct Lab {
    hosts: Vec<(Manager, Host)>,
    operator: Operator,
    mirror: Mirror,
    publisher: Publisher,
}

impl Lab {
    async fn new() -> Self {
        let publisher = Publisher::start().await;
        let packages = Packages::new(publisher.folder());
        for version in [A, B] {
            packages.add(version, &["node-agent"]);
        }
        packages.add_system();
        let repositories = packages.publish();
        let mirror = Mirror::start(&repositories, publisher.gateway());
        let (join, mut hosts) = (publisher.plane.join(3, &[]).await, Vec::new());
        for manager in [Manager::Apt, Manager::Dnf, Manager::Zypper] {
            let mut host = publisher.host(manager.base(), &format!("{manager:?}")).await;
            manager.install(&host, &mirror.url(), &repositories.join("muster.asc"));
            host.watches_shortly();
            host.connect(&join);
            hosts.push((manager, host));
        }
        let lab = Self { hosts, operator: publisher.plane.operator().await, mirror, publisher };
        for version in [A, B] {
            let archive = packages.made().join(format!("agent/{version}/linux-x86_64.tar.zst"));
            lab.publisher.add(&lab.operator, version, &archive).await;
        }
        lab.publisher.publish(&lab.operator).await;
        lab
    }

    async fn assign(&self, name: &str, version: &str, priority: i32) {
        let target = pb::ReleaseTarget { version: version.to_owned(), channel: String::new() };
        let assignment = Some(pb::Assignment {
            name: name.to_owned(),
            selector: "*".to_owned(),
            target: Some(pb::assignment::Target::Release(target)),
            priority,
            ..Default::default()
        });
        let request = pb::CreateAssignmentRequest { assignment, validate_only: false };
        self.operator.assignments.clone().create_assignment(request).await.unwrap();
    }

    /// Does something on all hosts at once.
    fn at_once(&self, doing: impl Fn(Manager, &Host) + Sync) {
        thread::scope(|scope| {
            for (manager, host) in &self.hosts {
                scope.spawn(|| doing(*manager, host));
            }
        });
    }

    async fn until_outcome(&self, outcome: ItemOutcome) {
        for (manager, host) in &self.hosts {
            let has = |node: &pb::Node| reported(node, ITEM).is_some_and(|it| it.outcome() == outcome);
            let node = self.operator.until(&format!("{manager:?}: {outcome:?}"), &host.node, has).await;
            let error = reported(&node, ITEM).and_then(|it| it.error.as_ref()).map(|it| it.reason());
            assert_eq!(error, (outcome == ItemOutcome::Rejected).then_some(ErrorReason::UpgradeDenied));
        }
    }

    /// What a host pins no control plane changes.
    async fn is_pinned(&self) {
        self.hosts.iter().for_each(|(_, host)| host.rules(&format!("[upgrade]\npin = {A:?}\n")));
        self.assign("other", B, 1).await;
        self.until_outcome(ItemOutcome::Rejected).await;
        let request = pb::DeleteAssignmentRequest { name: "other".to_owned(), ..Default::default() };
        self.operator.assignments.clone().delete_assignment(request).await.unwrap();
        self.until_outcome(ItemOutcome::Unchanged).await;
        self.hosts.iter().for_each(|(_, host)| host.rules(""));
    }

    /// Brings version B to all of them at once.
    async fn begin(&self) -> String {
        let all = pb::RolloutStep { reach: Some(rollout_step::Reach::Percent(100)), ..Default::default() };
        let release = pb::ReleaseTarget { version: B.to_owned(), channel: String::new() };
        let request = pb::CreateRolloutRequest {
            assignment: "agents".to_owned(),
            target: Some(create_rollout_request::Target::Release(release)),
            plan: Some(pb::RolloutPlan { steps: vec![all], ..Default::default() }),
            ..Default::default()
        };
        let begun = self.operator.rollouts.clone().create_rollout(request).await.unwrap();
        begun.into_inner().rollout.unwrap().id
    }

    async fn until_succeeded(&self, id: &str) {
        let request = pb::GetRolloutRequest { id: id.to_owned() };
        eventually("the rollout has succeeded", UPGRADE, || async {
            let answer = self.operator.rollouts.clone().get_rollout(request.clone()).await.ok()?;
            answer.into_inner().rollout.filter(|it| it.phase() == RolloutPhase::Succeeded)
        })
        .await;
    }

    async fn until_runs(&self, (manager, host): &(Manager, Host), version: &str) {
        let runs = |node: &pb::Node| {
            let online = node.connection.as_ref().is_some_and(|it| it.liveness() == Liveness::Online);
            online && node.agent_version == version
        };
        self.operator.until(&format!("{manager:?}: {version} runs"), &host.node, runs).await;
        assert_eq!(manager.installed(host), format!("{version}-1"), "{manager:?}");
    }
}

/// Upgrades by hand; the answer and the exit status.
fn upgrade(host: &Host, version: &str) -> (Value, i32) {
    let words = ["muster-node-agent", "upgrade", "--json", "--version", version, "--probation", "3s"];
    let done = host.exec(&words);
    let told = serde_json::from_slice(&done.stdout);
    let told = told.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
    (told, done.status.code().unwrap())
}

/// An upgrade that changes nothing, and why.
fn refused(host: &Host, version: &str, kind: &str) {
    let pid = host.agent_pid();
    let (answer, code) = upgrade(host, version);
    assert_eq!((answer["state"].as_str(), code), (Some("refused"), 47), "{answer}");
    assert_eq!(answer["kind"].as_str(), Some(kind), "{answer}");
    assert_eq!(host.agent_pid(), pid, "nothing has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apt_dnf_and_zypper_bring_a_release_wait_for_each_other_and_take_it_back() {
    let lab = Lab::new().await;
    let is_soak = number("MUSTER_SOAK", 0) > 0;
    for it in &lab.hosts {
        lab.until_runs(it, A).await;
    }
    lab.assign("agents", A, 0).await;
    lab.until_outcome(ItemOutcome::Unchanged).await;
    lab.is_pinned().await;
    lab.at_once(|_, host| refused(host, "9.9.9", "package-unknown"));
    lab.mirror.break_off_after(1_000_000);
    lab.at_once(|manager, host| {
        // zypper tries a mirror that breaks off for two minutes.
        if is_soak || manager != Manager::Zypper {
            refused(host, B, "repository-unreachable");
        }
    });
    lab.mirror.heal();
    lab.at_once(|manager, host| {
        // Who upgrades at once again finds nothing in the way, such as gpg's agent of zypper.
        manager.freeze(host);
        refused(host, B, "package-held");
        manager.thaw(host);
    });

    // Somebody else is at work: the agents run on meanwhile, and it waits for its turn.
    let mut before = Vec::new();
    for (manager, host) in &lab.hosts {
        manager.hold(host).await;
        before.push(host.agent_pid());
    }
    let rollout = lab.begin().await;
    for ((manager, host), before) in lab.hosts.iter().zip(before) {
        eventually(&format!("{manager:?} is waited for"), UPGRADE, || {
            let log = host.sh("journalctl --no-pager --output cat --unit muster-upgrade");
            std::future::ready(log.contains("waits for the package manager").then_some(()))
        })
        .await;
        assert_eq!((host.agent_pid(), manager.installed(host).as_str()), (before, "1.0.0-1"));
    }
    lab.hosts.iter().for_each(|(_, host)| host.let_go());
    lab.until_succeeded(&rollout).await;

    for it in &lab.hosts {
        lab.until_runs(it, B).await;
    }

    lab.at_once(|manager, host| {
        // Root goes back, and keeps the control plane from bringing another one.
        host.rules(&format!("[upgrade]\npin = {A:?}\n"));
        let (answer, code) = upgrade(host, A);
        assert_eq!((answer["state"].as_str(), code), (Some("committed"), 0), "{manager:?}: {answer}");
        assert_eq!(manager.installed(host), "1.0.0-1", "{manager:?}");
        // A version that does not start is taken back by the package of the one before.
        host.write("/etc/systemd/system/muster-node-agent.service.d/test.conf", ONLY_A);
        host.run("systemctl daemon-reload");
        let (answer, code) = upgrade(host, B);
        assert_eq!((answer["state"].as_str(), code), (Some("rolled-back"), 48), "{manager:?}: {answer}");
        assert_eq!(answer["kind"].as_str(), Some("crashed"), "{answer}");
    });
    for it in &lab.hosts {
        lab.until_runs(it, A).await;
    }
    // What came by hand is not told as what was brought: B is wanted again, and the pin forbids it.
    lab.until_outcome(ItemOutcome::Rejected).await;
}
