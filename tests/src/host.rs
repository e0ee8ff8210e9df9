//! A host with a systemd of its own, as a container of systemd-nspawn. What it writes is
//! kept over its reboots. Needs root and what `make tools` installs. It is in a network of
//! the test, ends with its owner, and also when the test is killed.

mod agent;
mod executor;
mod managers;

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::{
    binaries,
    eventually::{LONG, eventually},
    netns::{Namespace, Network},
    process::Process,
};

/// How often is looked whether all of a host has ended, and how long in between.
const ENDING: (u32, Duration) = (1500, Duration::from_millis(20));

/// A host. Dropped: everything that runs in it is killed; its mounts and groups are gone.
#[derive(Debug)]
pub struct Host {
    folder: PathBuf,
    name: String,
    power: Option<Power>,
    base: Base,
    /// Folders of this machine, and where they are in it.
    shown: Vec<(PathBuf, &'static str)>,
    namespace: Namespace,
    /// Its node's id, once it is connected.
    pub node: String,
}

/// What a host begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Debian, with apt.
    Debian,
    /// The same with dnf and zypper, and no rpms yet.
    Rpm,
    /// The same with Python, and a repository for apt that has a node exporter.
    Extensions,
    /// Debian 11, whose C library is old. `tools/portable.sh` makes it.
    Old,
}

impl Base {
    /// The layers of its file system, the top one first.
    fn layers(self) -> &'static [&'static str] {
        match self {
            Self::Debian => &[".tools/host"],
            Self::Rpm => &[".tools/rpm-host", ".tools/host"],
            Self::Extensions => &[".tools/extension-host", ".tools/host"],
            Self::Old => &[".tools/portable/bullseye"],
        }
    }
}

/// What keeps it running: the process that boots it, until this pipe ends.
#[derive(Debug)]
struct Power {
    process: Process,
    pipe: Option<ChildStdin>,
}

impl Host {
    /// Makes a host below a folder and boots it.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn boot(folder: &Path, name: &str, network: &Network) -> Self {
        Self::boot_on(Base::Debian, folder, name, network).await
    }

    /// As `boot`, on one of the bases.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn boot_on(base: Base, folder: &Path, name: &str, network: &Network) -> Self {
        Self::boot_with(base, Vec::new(), folder, name, network).await
    }

    /// As `boot_on`, with folders of this machine in it: which, and where.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn boot_with(
        base: Base,
        shown: Vec<(PathBuf, &'static str)>,
        folder: &Path,
        name: &str,
        network: &Network,
    ) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let namespace = network.join();
        // In the file system of groups, too: one name for each host on this machine.
        let name = namespace.name().to_owned();
        let mut host = Self { folder, name, power: None, base, shown, namespace, node: String::new() };
        host.power_on().await;
        host
    }

    /// Boots it after it was powered off.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn power_on(&mut self) {
        let layers = self.base.layers().iter().map(|layer| binaries::repository().join(layer));
        let layers: Vec<PathBuf> = layers.collect();
        for layer in &layers {
            assert!(layer.exists(), "{} is missing: run make tools", layer.display());
        }
        let layers: Vec<_> = layers.iter().map(|layer| layer.as_os_str()).collect();
        let _ = fs::remove_file(self.folder.join("supervisor"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/host/boot.sh");
        let mut boot = Command::new("unshare");
        boot.args(["--mount", "--propagation", "private", "sh"]).arg(script);
        boot.arg(layers.join(OsStr::new(":")));
        boot.arg(&self.folder).arg(&self.name).arg(self.namespace.name());
        boot.args(self.shown.iter().map(|(folder, at)| format!("--bind={}:{at}", folder.display())));
        let (process, pipe) = Process::start_fed(boot, &self.folder.join("console"));
        self.power = Some(Power { process, pipe: Some(pipe) });
        self.until_up("").await;
    }

    /// Waits until it is up, with another boot id than this one.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn until_up(&self, not: &str) {
        eventually("the host is up", LONG, || {
            // In one command: it may go down between two.
            let said =
                self.exec(&["sh", "-c", "cat /proc/sys/kernel/random/boot_id; systemctl is-system-running"]);
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            let mut lines = said.lines();
            let (id, state) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            std::future::ready((state == "running" && !id.is_empty() && id != not).then_some(()))
        })
        .await;
    }

    /// The id of this boot.
    #[must_use]
    pub fn boot_id(&self) -> String {
        self.sh("cat /proc/sys/kernel/random/boot_id").trim().to_owned()
    }

    /// The process id, on this machine, of its first process, while it is up.
    fn init(&self) -> Option<Pid> {
        let supervisor = fs::read_to_string(self.folder.join("supervisor")).ok()?;
        let supervisor = supervisor.trim();
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
        Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
    }

    /// Runs a command in it, as root, as a unit of its own.
    #[must_use]
    pub fn exec(&self, command: &[&str]) -> Output {
        let init = self.init().map_or_else(|| "0".to_owned(), |init| init.to_string());
        let mut enter = Command::new("nsenter");
        // The unit is what keeps the rights of the machine out of the host: nsenter does not.
        enter.args(["--target", &init, "--all", "--", "/usr/bin/systemd-run"]);
        enter.args(["--quiet", "--pipe", "--wait", "--collect", "--"]).args(command).env_clear();
        outlasting_stops(&mut enter).expect("there is an nsenter")
    }

    /// Runs a line of shell in it; answers standard output.
    ///
    /// # Panics
    /// If the line fails.
    #[must_use]
    pub fn sh(&self, line: &str) -> String {
        let done = self.exec(&["sh", "-c", line]);
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// As `sh`, for its effect.
    ///
    /// # Panics
    /// If the line fails.
    pub fn run(&self, line: &str) {
        let _ = self.sh(line);
    }

    /// Where a file of it is for this machine. The path must have no absolute symbolic
    /// link in it: those lead to this machine's own files.
    ///
    /// # Panics
    /// If it is not up.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        let init = self.init().expect("the host is up");
        PathBuf::from(format!("/proc/{init}/root{inside}"))
    }

    /// Content of a file in it.
    #[must_use]
    pub fn read(&self, inside: &str) -> Option<String> {
        fs::read_to_string(self.path(inside)).ok()
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, inside: &str, content: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Copies a file into it, in the place of an earlier one as a package manager does.
    ///
    /// # Panics
    /// If that fails.
    pub fn copy_in(&self, from: &Path, inside: &str, mode: u32) {
        let (to, staged) = (self.path(inside), self.path(&format!("{inside}.new")));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, &staged).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        fs::set_permissions(&staged, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(staged, to).unwrap();
    }

    /// Its network.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its processes that were stopped, by their numbers in it.
    #[must_use]
    pub fn stopped(&self) -> Vec<u32> {
        let Some(init) = self.init() else { return Vec::new() };
        let at = PathBuf::from(format!("/proc/{init}/root/proc"));
        let entries = fs::read_dir(&at).into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_stopped = |pid: &u32| {
            let stat = fs::read_to_string(at.join(format!("{pid}/stat"))).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        pids.filter(is_stopped).collect()
    }

    /// Lets it reboot, in order.
    pub async fn reboot(&self) {
        let before = self.boot_id();
        let _ = self.exec(&["systemctl", "reboot"]); // the answer may be lost on the way down
        self.until_up(&before).await;
    }

    /// Cuts its power and gives it back.
    pub async fn power_cut(&mut self) {
        self.end();
        self.power_on().await;
    }

    /// Lets it go down, in order.
    pub async fn poweroff(&mut self) {
        let _ = self.exec(&["systemctl", "poweroff"]);
        eventually("the host is down", LONG, || std::future::ready(self.init().is_none().then_some(())))
            .await;
        self.end();
    }

    /// Ends everything that runs in it, its first process first: with it the kernel ends
    /// all others at once, and none of them sees another one die.
    fn end(&mut self) {
        if let Some(init) = self.init() {
            let _ = kill_process(init, Signal::KILL);
        }
        let Some(mut power) = self.power.take() else { return };
        power.pipe = None;
        for _ in 0..ENDING.0 {
            if !power.process.is_running() {
                return;
            }
            thread::sleep(ENDING.1);
        }
    }
}

/// Runs a command that stops itself when what it waits for is stopped, as nsenter does: a
/// host that goes down stops all its processes before it ends them, and cannot end
/// before the one who waits for them has seen that.
fn outlasting_stops(command: &mut Command) -> io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process has a number");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let stops = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            while !over.load(Ordering::Relaxed) {
                if let Ok(Some(_)) = waitid(WaitId::Pid(pid), stops) {
                    let _ = kill_process(pid, Signal::CONT);
                }
                thread::sleep(ENDING.1);
            }
        });
        let done = child.wait_with_output();
        over.store(true, Ordering::Relaxed);
        done
    })
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() && self.init().is_some() {
            let log = self.exec(&["journalctl", "--no-pager", "-n", "40", "-u", "muster-*"]);
            eprintln!("--- {} ---\n{}", self.name, String::from_utf8_lossy(&log.stdout));
        }
        self.end();
    }
}
