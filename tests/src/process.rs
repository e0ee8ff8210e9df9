//! A process that ends with its owner.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use crate::eventually::{LONG, eventually};

/// A running program. Dropped: killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says is added to `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the log can be opened");
        let errors = file.try_clone().expect("a file has two hands");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")), log: log.to_owned() }
    }

    /// As `start`, but with an open standard input, which ends when the pipe is dropped.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_fed(mut command: Command, log: &Path) -> (Self, ChildStdin) {
        let file = File::options().create(true).append(true).open(log).expect("the log can be opened");
        let errors = file.try_clone().expect("a file has two hands");
        let child = command.stdin(Stdio::piped()).stdout(file).stderr(errors).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take().expect("it was asked for");
        (Self { child, log: log.to_owned() }, stdin)
    }

    /// Starts a program to talk with; the command says what its pipes are.
    ///
    /// # Errors
    /// If it cannot be started, or has no pipes.
    pub fn piped(mut command: Command) -> anyhow::Result<(Self, ChildStdin, ChildStdout)> {
        let mut child = command.spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let process = Self { child, log: PathBuf::new() };
        let (stdin, stdout) = pipes.ok_or_else(|| anyhow::anyhow!("{command:?} has no pipes"))?;
        Ok((process, stdin, stdout))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Ends it as a loss of power would: at once, without a word.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the process ends", LONG, || std::future::ready(child.try_wait().ok().flatten())).await
    }

    /// Asks it to end and waits for that.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Memory that it holds, in KiB.
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        rss_kib(self.id())
    }

    /// The same, where a page that it shares with others counts as its share alone, in KiB.
    #[must_use]
    pub fn pss_kib(&self) -> u64 {
        kib_of(&format!("/proc/{}/smaps_rollup", self.id()), "Pss:")
    }

    /// The most memory that it has held since the peak was last reset, in KiB.
    #[must_use]
    pub fn peak_kib(&self) -> u64 {
        status_kib(self.id(), "VmHWM:")
    }

    /// Lets the peak of its memory begin anew.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn reset_peak(&self) -> std::io::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5")
    }

    /// Bytes that it has had written to disks.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.id())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
    }

    /// Processor time that it has used, in its own code and in the kernel's.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let pid = i32::try_from(self.id()).map(nix::unistd::Pid::from_raw);
        let clock = pid.ok().and_then(|pid| nix::time::clock_getcpuclockid(pid).ok());
        clock.and_then(|clock| clock.now().ok()).map(Duration::from).unwrap_or_default()
    }

    /// How often its threads of now went to sleep, and so were woken: what an idle process costs
    /// is nearly all that.
    #[must_use]
    pub fn sleeps(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).into_iter().flatten();
        let of = |thread: fs::DirEntry| {
            let said = fs::read_to_string(thread.path().join("status")).ok()?;
            let line = said.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        };
        threads.filter_map(|thread| of(thread.ok()?)).sum()
    }
}

/// Memory that a process holds, in KiB.
#[must_use]
pub fn rss_kib(process: u32) -> u64 {
    status_kib(process, "VmRSS:")
}

fn status_kib(process: u32, key: &str) -> u64 {
    kib_of(&format!("/proc/{process}/status"), key)
}

fn kib_of(file: &str, key: &str) -> u64 {
    let said = fs::read_to_string(file).unwrap_or_default();
    let line = said.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- {} ---\n{}", self.log.display(), tail.join("\n"));
        }
    }
}
