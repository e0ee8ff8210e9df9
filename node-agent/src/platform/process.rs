//! Programs started by the agent: each leads a process group of its own, and
//! the whole group ends with it.

use std::{
    collections::BTreeMap,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// What programs find as their search path; nothing else is handed on.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Waits for one line, then becomes the program, with the variables of the first
/// arguments, up to `--`, in its environment: set before, they could have their say
/// in the shell. If nobody is left to send the line, the pipe ends and so does this. A shell, because code between fork and
/// exec would be unsafe; the process keeps its number and its time of start.
const GATE: &str = r#"read -r line || exit 125
while [ "$1" != -- ]; do export "$1"; shift; done
shift; exec "$@" </dev/null"#;

/// A process that can be told from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its number; it leads a group of its own.
    pub pid: i32,
    /// When the kernel started it, in ticks since boot.
    pub started: u64,
    /// In which boot.
    pub boot_id: String,
}

/// A running program with all that it started. Dropped: killed.
#[derive(Debug)]
pub struct Group {
    child: Child,
    leader: Option<Pid>,
}

/// A command with an empty environment but `PATH`, no input, and `/` as its folder.
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same, held back once it is started until `Group::release`: time to write
/// down its mark, so that it cannot act without a later agent knowing of it. The
/// `environment` is set for the program alone; names are those of shell variables.
///
/// # Errors
/// If there is no such program.
pub fn gated(program: &str, environment: &BTreeMap<String, String>) -> io::Result<Command> {
    rustix::fs::access(program, rustix::fs::Access::EXEC_OK)?;
    let mut command = command("/bin/sh");
    command.args(["-c", GATE, "sh"]).args(environment.iter().map(|(name, value)| format!("{name}={value}")));
    command.args(["--", program]).stdin(Stdio::piped());
    Ok(command)
}

impl Group {
    /// Starts a command as the leader of a new group.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, leader })
    }

    /// Lets a gated program go; nothing for any other.
    ///
    /// # Errors
    /// If it has ended already.
    pub async fn release(&mut self) -> io::Result<()> {
        match self.child.stdin.take() {
            Some(mut gate) => gate.write_all(b"\n").await,
            None => Ok(()),
        }
    }

    /// What it writes; the first caller gets it.
    pub fn outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// How a later agent can know it.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        let pid = self.leader?.as_raw_nonzero().get();
        Some(Mark { pid, started: started_at(pid)?, boot_id: boot_id() })
    }

    /// Waits until the leader ends; then ends what it left behind.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.signal(Signal::KILL);
        self.leader = None;
        Ok(status)
    }

    /// Asks the group to end, and kills it if it has not after `grace`.
    ///
    /// # Errors
    /// If the kernel does not tell how the leader ended.
    pub async fn end(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        if let Ok(status) = tokio::time::timeout(grace, self.child.wait()).await {
            self.signal(Signal::KILL);
            self.leader = None;
            return status;
        }
        self.signal(Signal::KILL);
        self.wait().await
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, signal); // it may be gone already
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Kills a group that an earlier agent process started, if it is still that one:
/// also what is left of it when its leader has ended. `true`: there was something
/// to kill.
#[must_use]
pub fn kill_leftover(mark: &Mark) -> bool {
    if mark.boot_id != boot_id() {
        return false;
    }
    let members = members(mark.pid);
    // The kernel gives a number anew only when no group has it: a later leader
    // means that nothing is left of this one.
    let other = members.iter().any(|it| it.pid == mark.pid && it.started != mark.started);
    let lives = members.iter().any(|it| !it.zombie && it.started >= mark.started);
    let leader = Pid::from_raw(mark.pid).filter(|_| lives && !other);
    leader.is_some_and(|leader| kill_process_group(leader, Signal::KILL).is_ok())
}

/// Which boot of the host this is; empty where nobody says. In a sandbox within a container
/// the kernel may tell of the machine around: what systemd says goes before.
#[must_use]
pub fn boot_id() -> String {
    let told = std::env::var("MUSTER_BOOT_ID").ok().and_then(|id| with_dashes(&id));
    told.unwrap_or_else(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| String::new(), |id| id.trim().to_owned())
    })
}

/// An id as systemd writes it, as the kernel does.
fn with_dashes(id: &str) -> Option<String> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-"))
}

/// What the kernel tells of a process.
struct Stat {
    pid: i32,
    zombie: bool,
    group: i32,
    started: u64,
}

/// All processes of a group.
fn members(group: i32) -> Vec<Stat> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(stat).filter(|stat| stat.group == group).collect()
}

fn started_at(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.started)
}

fn stat(pid: i32) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may itself hold spaces and parentheses.
    let after_name = stat.rsplit_once(')')?.1;
    let mut words = after_name.split_ascii_whitespace();
    let state = words.next()?;
    let group = words.nth(1)?.parse().ok()?;
    let started = words.nth(16)?.parse().ok()?;
    Some(Stat { pid, zombie: matches!(state, "Z" | "X"), group, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Group {
        let mut shell = command("/bin/sh");
        // A child of its own, which must not outlive the group.
        shell.args(["-c", "sleep 600 & echo $!; wait"]);
        Group::spawn(shell).unwrap()
    }

    async fn first_line(group: &mut Group) -> i32 {
        use tokio::io::AsyncBufReadExt as _;
        let (stdout, _) = group.outputs();
        let mut lines = tokio::io::BufReader::new(stdout.unwrap()).lines();
        lines.next_line().await.unwrap().unwrap().parse().unwrap()
    }

    async fn gone(pid: i32) {
        let zombie_or_gone = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
                stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
            })
        };
        for _ in 0..500 {
            if zombie_or_gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} lives on");
    }

    #[test]
    fn a_boot_is_known_by_one_name_whoever_says_it() {
        let kernel = "996f961f-b7fd-4061-ba1f-3a010b4a3908";
        assert_eq!(with_dashes(&kernel.replace('-', "")).as_deref(), Some(kernel));
        assert_eq!((with_dashes(""), with_dashes(kernel), with_dashes(&"x".repeat(32))), (None, None, None));
    }

    #[tokio::test]
    async fn ending_a_group_ends_its_grandchildren() {
        let mut group = sleeper();
        let grandchild = first_line(&mut group).await;
        group.end(Duration::from_secs(5)).await.unwrap();
        gone(grandchild).await;
    }

    #[tokio::test]
    async fn a_leftover_is_known_by_its_start_not_by_its_number_alone() {
        let mut group = sleeper();
        let grandchild = first_line(&mut group).await;
        let mark = group.mark().unwrap();
        assert!(!kill_leftover(&Mark { started: mark.started + 1, ..mark.clone() }));
        assert!(!kill_leftover(&Mark { boot_id: "another".to_owned(), ..mark.clone() }));
        assert!(kill_leftover(&mark));
        gone(grandchild).await;
        group.wait().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_left_of_a_group_is_found_without_its_leader() {
        let mut shell = command("/bin/sh");
        shell.args(["-c", "sleep 600 & echo $!"]);
        let mut group = Group::spawn(shell).unwrap();
        let mark = group.mark().unwrap();
        let grandchild = first_line(&mut group).await;
        group.child.wait().await.unwrap(); // only the leader: as if the agent had died here
        assert!(started_at(mark.pid).is_none() && started_at(grandchild).is_some());
        assert!(kill_leftover(&mark));
        gone(grandchild).await;
        assert!(!kill_leftover(&mark));
    }

    #[tokio::test]
    async fn a_gated_program_does_nothing_before_it_is_released_and_nothing_without_an_agent() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let start = || {
            let mut command = gated("/bin/sh", &BTreeMap::new()).unwrap();
            command.args(["-c", "cat; echo ran > \"$0\"; exit 7"]).arg(&trace);
            Group::spawn(command).unwrap()
        };
        let mut orphan = start();
        let mark = orphan.mark();
        drop(orphan.child.stdin.take()); // what the end of the agent does
        assert_eq!(orphan.wait().await.unwrap().code(), Some(125));
        assert!(!trace.exists());
        let mut group = start();
        assert_ne!(group.mark(), mark);
        let mark = group.mark();
        group.release().await.unwrap();
        assert_eq!(group.wait().await.unwrap().code(), Some(7), "it has no input, and ends");
        assert!(trace.exists() && mark.is_some());
        assert!(gated("/nonexistent/program", &BTreeMap::new()).is_err());
    }
}
