//! The agent on a host, as an installation has it: a service that starts with the host.

use muster_common::join::JoinString;

use super::Host;
use crate::binaries;

/// Its service.
const SERVICE: &str = "muster-node-agent.service";

impl Host {
    /// Installs the agent of this build, with these rules in the host's lock file.
    pub fn install_agent(&self, rules: &str) {
        self.copy_in(&binaries::path("muster-node-agent"), "/usr/bin/muster-node-agent", 0o755);
        let unit = binaries::repository().join("deploy/systemd").join(SERVICE);
        self.copy_in(&unit, &format!("/usr/lib/systemd/system/{SERVICE}"), 0o644);
        self.rules(rules);
        self.run("systemctl daemon-reload && systemctl enable --quiet muster-node-agent");
    }

    /// Changes the lock file.
    pub fn rules(&self, rules: &str) {
        self.write("/etc/muster/locks.toml", rules);
    }

    /// Something for the agent's environment, from its next start on.
    pub fn environment(&self, variables: &[(&str, &str)]) {
        let lines: String =
            variables.iter().map(|(name, value)| format!("Environment={name}={value}\n")).collect();
        self.write(&format!("/etc/systemd/system/{SERVICE}.d/test.conf"), &format!("[Service]\n{lines}"));
        self.run("systemctl daemon-reload");
    }

    /// Brings the host into the fleet and starts its agent.
    ///
    /// # Panics
    /// If that fails.
    pub fn connect(&mut self, join: &JoinString) {
        let join = join.to_string();
        let done = self.exec(&["/usr/bin/muster-node-agent", "connect", &join]);
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
