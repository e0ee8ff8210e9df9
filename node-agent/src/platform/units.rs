//! Scripts as transient units of systemd: with limits that the kernel holds, ended as a
//! whole whatever they started, and apart from the agent's own unit.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use muster_common::ids::CommandId;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    process::{self, PATH},
    systemd,
};

/// Where the texts of scripts lie while they run: others than root must be able to read
/// their own. Gone with the boot.
pub const SCRIPTS: &str = "/run/muster-scripts";

/// Between the request to end and the kill.
pub const GRACE: Duration = Duration::from_secs(5);

/// systemd answers within this time.
const ANSWER: Duration = Duration::from_secs(30);
/// Where nobody can wait for the answer: at most so long, with looks in between.
const NOW: Duration = Duration::from_secs(2);
const A_LITTLE: Duration = Duration::from_millis(10);
/// After its time limit a script was to be ended by the agent. If there is none, systemd
/// does it so much later.
const BACKSTOP: Duration = Duration::from_secs(30);
/// What watches over a script is a task, too.
const WATCHER: u32 = 1;

const PREFIX: &str = "muster-command-";
const SUFFIX: &str = ".service";

/// Makes units on this host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Units {
    program: PathBuf,
}

/// What a unit may use. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, without swap.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u32>,
    /// Percent of one core.
    pub cpu: Option<u32>,
    /// How long it may run.
    pub time: Option<Duration>,
}

/// The unit of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit(String);

/// Whether a unit of this name is that of a command.
#[must_use]
pub fn is_command(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

impl Units {
    /// Those of this host, if this process is root and systemd runs the host. `program`:
    /// this agent's own, which watches over scripts.
    #[must_use]
    pub fn of_this_host(program: &Path) -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        (systemd::is_booted() && is_root).then(|| Self::by(program))
    }

    /// Those that this program watches over, whether or not this host can have any.
    pub(super) fn by(program: &Path) -> Self {
        Self { program: program.to_owned() }
    }

    /// Starts a unit whose first process watches over the script of a folder.
    ///
    /// # Errors
    /// If systemd does not say that it started. It may start all the same.
    pub async fn start(&self, unit: &Unit, folder: &Path, limits: &Limits) -> io::Result<()> {
        let mut command = process::command("systemd-run");
        command.args(["--quiet", "--collect", "--service-type=exec", "--unit", &unit.0]);
        for property in properties(limits) {
            command.args(["--property", &property]);
        }
        command.arg("--").arg(&self.program).arg("supervise").arg(folder);
        systemd::answer(command, ANSWER).await.map(drop)
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Unit {
    /// That of this command.
    #[must_use]
    pub fn of(command: CommandId) -> Self {
        Self(format!("{PREFIX}{command}{SUFFIX}"))
    }

    /// Asks all of it to end; what has not after [`GRACE`] is killed.
    ///
    /// # Errors
    /// If systemd does not take that.
    pub async fn stop(&self) -> io::Result<()> {
        self.systemctl(&["stop", "--no-block"]).await.map(drop)
    }

    /// Kills all of it, and waits until nothing is left. A unit that is gone is no error.
    ///
    /// # Errors
    /// If it lives on.
    pub async fn kill(&self) -> io::Result<()> {
        let _ = self.systemctl(&["kill", "--signal=KILL"]).await; // it may be gone
        let gone = async {
            while !self.is_gone().await? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        timeout(ANSWER, gone).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Kills all of it at once, from where nobody can wait.
    pub fn kill_now(&self) {
        let mut command = std::process::Command::new("systemctl");
        command.args(["kill", "--signal=KILL", &self.0]).env_clear().env("PATH", PATH);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut asking) = command.spawn() else { return };
        for _ in 0..NOW.as_millis() / A_LITTLE.as_millis() {
            if !matches!(asking.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(A_LITTLE);
        }
    }

    /// Whether nothing of it is left.
    ///
    /// # Errors
    /// If systemd does not say.
    pub async fn is_gone(&self) -> io::Result<bool> {
        let state = self.systemctl(&["show", "--property=ActiveState", "--value"]).await?;
        Ok(matches!(state.trim(), "inactive" | "failed"))
    }

    async fn systemctl(&self, verb: &[&str]) -> io::Result<String> {
        let mut command = systemd::systemctl(verb);
        command.arg(&self.0);
        systemd::answer(command, ANSWER).await
    }
}

fn properties(limits: &Limits) -> Vec<String> {
    let mut properties = vec![
        "Description=A script that Muster runs".to_owned(),
        "KillMode=control-group".to_owned(),
        format!("TimeoutStopSec={}", GRACE.as_secs()),
        // What watches over it ends all of it then, and says so.
        "OOMPolicy=continue".to_owned(),
        "WorkingDirectory=/".to_owned(),
    ];
    if let Some(bytes) = limits.memory {
        properties.push(format!("MemoryMax={bytes}"));
        properties.push("MemorySwapMax=0".to_owned());
    }
    properties.extend(limits.tasks.map(|tasks| format!("TasksMax={}", tasks.saturating_add(WATCHER))));
    properties.extend(limits.cpu.map(|percent| format!("CPUQuota={percent}%")));
    properties.extend(
        limits.time.map(|time| format!("RuntimeMaxSec={}", (time + GRACE + BACKSTOP).as_secs().max(1))),
    );
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_the_limits_asked_for_and_no_others() {
        let has = |limits: &Limits, start: &str| {
            properties(limits).into_iter().find(|property| property.starts_with(start))
        };
        let none = Limits::default();
        for start in ["MemoryMax", "TasksMax", "CPUQuota", "RuntimeMaxSec"] {
            assert_eq!(has(&none, start), None);
        }
        let all = Limits {
            memory: Some(1 << 25),
            tasks: Some(5),
            cpu: Some(150),
            time: Some(Duration::from_secs(60)),
        };
        assert_eq!(has(&all, "MemoryMax").as_deref(), Some("MemoryMax=33554432"));
        assert_eq!(has(&all, "MemorySwapMax").as_deref(), Some("MemorySwapMax=0"));
        assert_eq!(has(&all, "TasksMax").as_deref(), Some("TasksMax=6"));
        assert_eq!(has(&all, "CPUQuota").as_deref(), Some("CPUQuota=150%"));
        assert_eq!(has(&all, "RuntimeMaxSec").as_deref(), Some("RuntimeMaxSec=95"));
    }

    #[test]
    fn a_unit_is_known_by_its_name() {
        let unit = Unit::of(CommandId::generate());
        assert!(is_command(&unit.0));
        assert!(!is_command("muster-node-agent.service") && !is_command("muster-command-1.scope"));
    }
}
