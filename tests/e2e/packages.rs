//! What the packages do on a host: installed in a chosen version, upgraded, taken back,
//! removed and purged, by each package manager, while the host runs on.

use std::path::PathBuf;

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{self as types, CommandState, RunScript},
};
use muster_tests::{
    binaries,
    eventually::{LONG, eventually},
    host::{Base, Host},
    mirror::Mirror,
    netns::Network,
    packages::Packages,
    plane::Plane,
};

/// The version that hosts begin with, and the next one.
const A: &str = "1.0.0";
const B: &str = "1.1.0";
/// As package managers say it.
const PACKAGE_A: &str = "1.0.0-1";
const PACKAGE_B: &str = "1.1.0-1";
const RULES: &str = "[commands.run-script]\nallow = true\nusers = [\"root\"]\n";
/// Goes on until it is let go, and says how far it is.
const COUNTING: &str = "echo $MUSTER_COMMAND_ID >> /root/ran; i=0; \
    while [ ! -e /root/gate ]; do i=$((i+1)); echo $i; sleep 0.1; done; echo over >&2";
struct Lab {
    host: Host,
    plane: Plane,
    mirror: Mirror,
    /// Of the key that signed the repositories.
    key: PathBuf,
    _network: Network,
    _folder: tempfile::TempDir,
}

impl Lab {
    async fn new(base: Base) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::create();
        let packages = Packages::new(folder.path());
        packages.add(A, &["node-agent", "control-plane"]);
        packages.add(B, &["node-agent"]);
        if base == Base::Rpm {
            packages.add_system();
        }
        let repositories = packages.publish();
        let mirror = Mirror::start(&repositories, network.gateway().into());
        let plane = Plane::in_network(folder.path(), &network).await;
        let host = Host::boot_on(base, folder.path(), "host", &network).await;
        let key = repositories.join("muster.asc");
        Self { host, plane, mirror, key, _network: network, _folder: folder }
    }

    /// What a line of shell says that fails.
    fn fails(&self, line: &str) -> String {
        let (worked, said) = self.host.told(line);
        assert!(!worked, "{line}: {said}");
        said
    }

    fn installed(&self) -> String {
        self.host.sh("muster-node-agent version").split_whitespace().nth(1).unwrap().to_owned()
    }

    /// An agent without an identity runs, enabled, and has nothing to complain about.
    fn assert_waits_quietly(&self) {
        let state = "systemctl is-active muster-node-agent; systemctl is-enabled muster-node-agent; \
                     systemctl is-enabled muster-executor.socket; muster-node-agent show session";
        assert_eq!(self.host.sh(state), "active\nenabled\nenabled\nnot connected\n");
        let complaints = "journalctl --quiet --no-pager --output cat --priority warning -u 'muster-*'";
        assert_eq!(self.host.sh(complaints), "");
        assert!(!self.host.agent_log().contains("WARN"), "{}", self.host.agent_log());
    }

    /// Connects the host while its agent waits: it needs no restart.
    async fn connect(&mut self) {
        let waiting = self.host.agent_pid();
        self.host.rules(RULES);
        self.host.connect(&self.plane.join(1, &[]).await);
        self.until_online(A).await;
        assert_eq!(self.host.agent_pid(), waiting, "the one that waited goes on");
    }

    /// Waits until the same node is there with this version.
    async fn until_online(&self, version: &str) {
        let is = |node: &pb::Node| {
            let reported = node.facts.as_ref().is_some_and(|facts| facts.agent_version == version);
            let online = node.connection.as_ref().is_some_and(|it| it.liveness() == Liveness::Online);
            online && reported
        };
        // A new one each time: the package manager takes longer than a silent connection lives.
        self.plane.operator().await.until(&format!("{version} is online"), &self.host.node, is).await;
        assert_eq!(self.installed(), version);
    }

    async fn start_counting(&self) -> String {
        let script = RunScript {
            script: COUNTING.to_owned(),
            user: "root".to_owned(),
            survive_restart: true,
            ..RunScript::default()
        };
        let kind = Some(types::command_spec::Kind::RunScript(script));
        let operator = self.plane.operator().await;
        let operation = operator.start("*", types::CommandSpec { kind }).await;
        eventually("the script counts", LONG, || async {
            let commands = operator.commands(&operation).await;
            String::from_utf8_lossy(&commands[&self.host.node].stdout).contains("5\n").then_some(())
        })
        .await;
        operation
    }

    /// Lets the script go: it has run once, and nothing of what it said is missing.
    async fn assert_counted_once(&self, operation: &str) {
        self.host.write("/root/gate", "");
        let operator = self.plane.operator().await;
        let command = operator.ended(operation, LONG).await.remove(&self.host.node).unwrap();
        let said = String::from_utf8_lossy(&command.stdout).into_owned();
        let lines: Vec<usize> = said.lines().map(|line| line.parse().unwrap()).collect();
        assert!(lines.iter().copied().eq(1..=lines.len()), "{lines:?}");
        assert_eq!(command.state(), CommandState::Succeeded, "{}", command.message);
        assert_eq!(self.host.read("/root/ran").unwrap().lines().count(), 1, "it ran once");
    }

    /// Everything on the host that has our name, but for what package managers remember.
    fn ours(&self) -> String {
        self.host.sh("find / /run -xdev \\( -path /proc -o -path /sys -o -path /var/cache -o -path /var/log \
             -o -path /var/lib/apt -o -path /etc/apt -o -path /root -o -path /tmp \
             -o -path '/etc/host*' -o -path /usr/share/keyrings \\) \
             -prune -o -name '*muster*' -print | sort; \
             getent passwd muster muster-control-plane; getent group muster muster-control-plane; \
             systemctl list-units --all --plain --no-legend 'muster-*' | cut -d' ' -f1; \
             systemctl list-unit-files --no-legend 'muster-*'; true")
    }
}

/// What docs/install.md has root do where there is no purge.
fn by_hand() -> String {
    let page = std::fs::read_to_string(binaries::repository().join("docs/install.md")).unwrap();
    let (_, after) = page.split_once("with rpm, which has no purge").unwrap();
    after.split("```").nth(1).unwrap().trim_start_matches("sh\n").to_owned()
}

#[tokio::test]
async fn apt_installs_a_version_upgrades_it_takes_it_back_holds_it_and_purges_without_a_trace() {
    let mut lab = Lab::new(Base::Debian).await;
    let (before, boot) = (lab.ours(), lab.host.boot_id());
    let url = lab.mirror.url();
    lab.host.run("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*");
    lab.host.copy_in(&lab.key, "/usr/share/keyrings/muster.asc", 0o644);
    let source = format!("deb [signed-by=/usr/share/keyrings/muster.asc] {url}/apt stable main\n");
    lab.host.write("/etc/apt/sources.list.d/muster.list", &source);
    lab.host.works("apt-get update --error-on=any");
    let get = "DEBIAN_FRONTEND=noninteractive apt-get --yes -o Acquire::Retries=0 -o Dpkg::Options::=--force-confold";
    lab.host.works(&format!("{get} install muster-node-agent={PACKAGE_A}"));
    assert_eq!(lab.installed(), A);
    lab.assert_waits_quietly();
    lab.connect().await;
    lab.host.run("echo '# by hand' >>/etc/muster/node-agent.toml");
    let counting = lab.start_counting().await;
    let pid = lab.host.agent_pid();

    // A mirror that dies half way, and somebody else at work: nothing has changed.
    lab.mirror.break_off_after(1_000_000);
    lab.fails(&format!("{get} install muster-node-agent={PACKAGE_B}"));
    lab.mirror.heal();
    lab.host.hold("/var/lib/dpkg/lock-frontend").await;
    let refused = lab.fails(&format!("{get} -o DPkg::Lock::Timeout=1 install muster-node-agent={PACKAGE_B}"));
    assert!(refused.contains("Could not get lock"), "{refused}");
    assert_eq!((lab.host.agent_pid(), lab.installed().as_str()), (pid, A));

    // One that waits for the lock gets its turn.
    let waits = format!(
        "systemd-run --quiet --unit upgrade --setenv=DEBIAN_FRONTEND=noninteractive {} \
         -o DPkg::Lock::Timeout=120 install muster-node-agent={PACKAGE_B}",
        get.trim_start_matches("DEBIAN_FRONTEND=noninteractive ")
    );
    lab.host.run(&waits);
    lab.host.let_go();
    lab.until_online(B).await;
    assert_eq!(lab.host.boot_id(), boot, "the host runs on");
    let edited = lab.host.read("/etc/muster/node-agent.toml").unwrap();
    assert!(edited.ends_with("# by hand\n"), "{edited}");
    assert_eq!(lab.host.read("/etc/muster/locks.toml").as_deref(), Some(RULES));
    eventually("apt-get is done", LONG, || {
        std::future::ready((!lab.host.told("systemctl is-active upgrade").0).then_some(()))
    })
    .await;

    lab.host.works(&format!("{get} install --allow-downgrades muster-node-agent={PACKAGE_A}"));
    lab.until_online(A).await;
    lab.assert_counted_once(&counting).await;
    lab.host.works("apt-mark hold muster-node-agent");
    lab.host.works(&format!("{get} upgrade"));
    assert_eq!(lab.installed(), A, "it is held");
    lab.host.works("apt-mark unhold muster-node-agent");

    // Removed: it is told what that leaves, and comes back as the same node.
    lab.host.run("mkdir -p /var/lib/muster/executor/extensions/metrics");
    let said = lab.host.works(&format!("{get} remove muster-node-agent"));
    assert!(said.contains("the extension metrics stays on this host"), "{said}");
    assert!(said.contains("this host is still in its fleet"), "{said}");
    assert!(!lab.host.told("systemctl is-active muster-node-agent").0);
    assert_eq!(lab.host.read("/etc/muster/locks.toml").as_deref(), Some(RULES));
    lab.host.works(&format!("{get} install muster-node-agent={PACKAGE_B}"));
    lab.until_online(B).await;

    let said = lab.host.works("muster-node-agent disconnect");
    assert!(said.contains("apt-get purge muster-node-agent"), "{said}");
    let said = lab.host.works(&format!("{get} purge muster-node-agent"));
    assert!(!said.contains("still in its fleet"), "{said}");
    assert_eq!(lab.ours(), before, "nothing is left");
    assert_eq!(lab.host.sh("systemctl is-system-running"), "running\n");
    assert_eq!(lab.host.boot_id(), boot);
}

#[tokio::test]
async fn dnf_and_zypper_install_a_version_upgrade_it_take_it_back_lock_it_and_remove_it() {
    let mut lab = Lab::new(Base::Rpm).await;
    let (url, boot) = (lab.mirror.url(), lab.host.boot_id());
    let repository = format!(
        "[muster]\nname=Muster\nbaseurl={url}/rpm/x86_64\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey={url}/muster.asc\n"
    );
    lab.host.write("/etc/yum.repos.d/muster.repo", &repository);
    let dnf = "dnf --assumeyes --setopt=retries=1";
    lab.host.works(&format!("{dnf} install muster-node-agent-{PACKAGE_A}"));
    assert_eq!(lab.installed(), A);
    lab.assert_waits_quietly();
    lab.connect().await;
    lab.host.run("echo '# by hand' >>/etc/muster/node-agent.toml");
    let (counting, pid) = (lab.start_counting().await, lab.host.agent_pid());
    lab.mirror.break_off_after(1_000_000);
    lab.fails(&format!("{dnf} install muster-node-agent-{PACKAGE_B}"));
    lab.mirror.heal();
    assert_eq!((lab.host.agent_pid(), lab.installed().as_str()), (pid, A));
    lab.host.works(&format!("{dnf} install muster-node-agent-{PACKAGE_B}"));
    lab.until_online(B).await;
    lab.host.works(&format!("{dnf} downgrade muster-node-agent-{PACKAGE_A}"));
    lab.until_online(A).await;
    lab.assert_counted_once(&counting).await;
    let edited = lab.host.read("/etc/muster/node-agent.toml").unwrap();
    assert!(edited.ends_with("# by hand\n"), "{edited}");
    let said = lab.host.works(&format!("{dnf} remove muster-node-agent"));
    assert!(said.contains("this host is still in its fleet"), "{said}");
    assert!(said.contains("the state of muster-node-agent stays"), "{said}");
    assert!(!lab.host.told("systemctl is-active muster-node-agent muster-executor.socket").0);
    assert_eq!(lab.host.read("/etc/muster/locks.toml.rpmsave").as_deref(), Some(RULES));

    // What dnf removed is the same node again by zypper, with what the administrator takes back.
    lab.host.works(&format!("zypper --non-interactive addrepo --gpgcheck {url}/rpm/x86_64 muster"));
    lab.host.works("zypper --non-interactive --gpg-auto-import-keys refresh");
    let install = "zypper --non-interactive install --oldpackage";
    lab.host.works(&format!("{install} muster-node-agent={PACKAGE_A}"));
    lab.until_online(A).await;
    lab.host.run("mv /etc/muster/locks.toml.rpmsave /etc/muster/locks.toml");
    lab.host.works("zypper --non-interactive addlock muster-node-agent");
    lab.host.works("zypper --non-interactive update");
    assert_eq!(lab.installed(), A, "it is locked");
    lab.host.works("zypper --non-interactive removelock muster-node-agent");
    lab.host.works("zypper --non-interactive update muster-node-agent");
    lab.until_online(B).await;
    lab.host.works(&format!("{install} muster-node-agent={PACKAGE_A}"));
    lab.until_online(A).await;
    let said = lab.host.works("muster-node-agent disconnect");
    assert!(said.contains("zypper remove muster-node-agent"), "{said}");
    let said = lab.host.works("zypper --non-interactive remove muster-node-agent");
    assert!(!said.contains("still in its fleet"), "{said}");
    lab.host.works(&by_hand());
    let left = "ls -d /etc/muster /var/lib/muster /run/muster /etc/systemd/system/muster* 2>/dev/null; \
                getent passwd muster; systemctl list-units --all --plain --no-legend 'muster-*'; true";
    assert_eq!(lab.host.sh(left), "", "nothing is left");

    // The control plane starts nothing before it is made, and removing it loses no fleet.
    lab.host.works(&format!("{dnf} install muster-control-plane-{PACKAGE_A}"));
    let state = "systemctl is-enabled muster-control-plane; systemctl show --property ActiveState,Result --value muster-control-plane";
    assert_eq!(lab.host.sh(state), "enabled\nsuccess\ninactive\n");
    lab.host.run("muster-control-plane init --trust-domain packaged.test");
    lab.host.run("systemctl start muster-control-plane");
    eventually("the control plane serves", LONG, || {
        let addresses = lab.host.read("/var/lib/muster-control-plane/addresses.json");
        std::future::ready(addresses.is_some().then_some(()))
    })
    .await;
    let token = "runuser -u muster-control-plane -- muster-control-plane token create --uses 1";
    assert!(lab.host.works(token).contains("muster"));
    assert_eq!(lab.host.sh("stat -c %U /var/lib/muster-control-plane/muster.db"), "muster-control-plane\n");
    lab.host.works(&format!("{dnf} remove muster-control-plane"));
    assert!(lab.host.read("/etc/muster/control-plane.toml").is_some());
    assert!(lab.host.sh("ls /var/lib/muster-control-plane").contains("muster.db"));
    assert_eq!(lab.host.boot_id(), boot, "the host runs on");
}
