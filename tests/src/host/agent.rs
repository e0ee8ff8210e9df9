//! The agent on a host, as an installation has it: a service that starts with the host and
//! has no rights, and an executor that has them.

use std::path::Path;

use muster_common::join::JoinString;

use super::Host;
use crate::binaries;

/// Its service.
const SERVICE: &str = "muster-node-agent.service";
/// Its root half.
const EXECUTOR: &str = "muster-executor.service";
/// Goes on with an upgrade after a boot.
const RESUME: &str = "muster-upgrade-resume.service";

impl Host {
    /// Installs the agent of this build, with these rules in the host's lock file.
    pub fn install_agent(&self, rules: &str) {
        self.copy_in(&binaries::path("muster-node-agent"), "/usr/bin/muster-node-agent", 0o755);
        self.install_units();
        self.enable(rules);
    }

    fn install_units(&self) {
        let files = binaries::repository().join("deploy/systemd");
        for unit in [SERVICE, EXECUTOR, "muster-executor.socket", RESUME] {
            self.copy_in(&files.join(unit), &format!("/usr/lib/systemd/system/{unit}"), 0o644);
        }
        self.copy_in(&files.join("muster.sysusers"), "/usr/lib/sysusers.d/muster.conf", 0o644);
        self.copy_in(&files.join("muster.tmpfiles"), "/usr/lib/tmpfiles.d/muster.conf", 0o644);
        self.run("systemd-sysusers muster.conf && systemd-tmpfiles --create muster.conf");
    }

    fn enable(&self, rules: &str) {
        self.rules(rules);
        self.run("systemctl daemon-reload && systemctl enable --quiet --now muster-executor.socket");
        self.run("systemctl enable --quiet muster-node-agent muster-upgrade-resume");
    }

    /// Installs the agent in two slots, the first of which has this program.
    pub fn install_in_slots(&self, program: &Path, rules: &str) {
        self.copy_in(program, "/opt/muster/slots/a/bin/muster-node-agent", 0o755);
        self.run("mkdir -p /opt/muster/slots/b && ln -s slots/a /opt/muster/current");
        self.run("ln -s ../../opt/muster/current/bin/muster-node-agent /usr/bin/muster-node-agent");
        self.install_units();
        self.run("sed -i 's,=/usr/bin/,=/opt/muster/current/bin/,' /usr/lib/systemd/system/muster-*.service");
        self.enable(rules);
    }

    /// Changes the lock file.
    pub fn rules(&self, rules: &str) {
        self.write("/etc/muster/locks.toml", rules);
    }

    /// Has another version that comes watched for seconds, not for a minute: from the next start
    /// of both halves on.
    pub fn watches_shortly(&self) {
        self.run("printf '\\n[upgrade]\\nprobation = \"5s\"\\n' >>/etc/muster/node-agent.toml");
    }

    /// Something for the agent's environment, from its next start on.
    pub fn environment(&self, variables: &[(&str, &str)]) {
        self.environment_of(SERVICE, variables);
    }

    /// Something for the environment of one process of its root half, which is started with it.
    pub fn executor_with(&self, variables: &[(&str, &str)]) {
        self.environment_of(EXECUTOR, variables);
        self.run(&format!("systemctl stop {EXECUTOR} 2>/dev/null; systemctl start {EXECUTOR}"));
        self.environment_of(EXECUTOR, &[]); // not for the one after it
    }

    /// Something for the environment of what watches over upgrades, from its next start on; not
    /// after a boot.
    pub fn watchdog_with(&self, variables: &[(&str, &str)]) {
        self.environment_of("muster-upgrade.service", variables);
    }

    fn environment_of(&self, service: &str, variables: &[(&str, &str)]) {
        let lines: String =
            variables.iter().map(|(name, value)| format!("Environment={name}={value}\n")).collect();
        self.write(&format!("/etc/systemd/system/{service}.d/test.conf"), &format!("[Service]\n{lines}"));
        self.run("systemctl daemon-reload");
    }

    /// Brings the host into the fleet and starts its agent.
    ///
    /// # Panics
    /// If that fails.
    pub fn connect(&mut self, join: &JoinString) {
        // For root alone to read, as its administrator would keep it.
        self.run(&format!("umask 077; echo '{join}' >/root/join"));
        let done = self.exec(&["/usr/bin/muster-node-agent", "connect", "--join-file", "/root/join"]);
        assert!(done.status.success(), "connect: {}", String::from_utf8_lossy(&done.stderr));
        self.node = String::from_utf8(done.stdout).unwrap().trim().to_owned();
        self.run("systemctl start muster-node-agent");
    }

    /// The process id, in the host, of the agent; 0: it does not run.
    #[must_use]
    pub fn agent_pid(&self) -> u32 {
        let told = self.sh("systemctl show --property MainPID --value muster-node-agent");
        told.trim().parse().expect("systemd tells a number")
    }

    /// What the agent has said since the host was made.
    #[must_use]
    pub fn agent_log(&self) -> String {
        self.sh("journalctl --no-pager --output cat --unit muster-node-agent")
    }
}
