//! `make demo` as a newcomer meets it; in a folder of its own, so that a demo that
//! someone looks at goes on.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use muster_tests::{
    binaries,
    eventually::{LONG, eventually},
    process::Process,
};
use rustix::process::{Pid, Signal};

/// A demo in a folder; whatever happens, none of its processes outlives it.
struct Demo {
    process: Process,
    folder: PathBuf,
}

impl Demo {
    /// In a process group of its own, like a command of an interactive shell.
    fn start(folder: &Path, args: &[&str]) -> Self {
        let (log, folder) = (folder.join("said"), folder.join("demo"));
        let mut command = Command::new(binaries::path("muster-demo"));
        command.args(args).arg("--folder").arg(&folder).process_group(0);
        Self { process: Process::start(command, &log), folder }
    }

    /// Processes that name its folder, itself not counted.
    fn others(&self) -> Vec<Pid> {
        let folder = self.folder.to_str().unwrap();
        let named = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(folder) && *pid != self.process.id()
        };
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(named).filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
    }

    fn check_what_it_left(&self) {
        let left = self.others();
        assert!(left.is_empty(), "processes are left: {left:?}");
        for file in ["ca.crt", "operator.crt", "operator.key"] {
            assert!(self.folder.join(file).is_file(), "{file} is not in {}", self.folder.display());
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.process.kill();
        for pid in self.others() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

#[tokio::test]
async fn the_demo_ends_by_itself_and_leaves_its_files_and_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path(), &["--once"]);
    let end = demo.process.ended().await;
    assert_eq!(end.code(), Some(0), "{}", demo.process.log());
    demo.check_what_it_left();
    let said = demo.process.log();
    assert_eq!(said.matches(" Succeeded: ").count(), 3, "the command ran on three hosts: {said}");
    let mut again = Command::new(binaries::path("muster-demo"));
    let again = again.arg("--once").arg("--folder").arg(&demo.folder).output().unwrap();
    assert!(!again.status.success(), "a folder that was given is never cleared");
    demo.check_what_it_left();
}

#[tokio::test]
async fn the_demo_stays_up_until_ctrl_c_and_then_everything_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path(), &[]);
    eventually("the tour is over", LONG, || {
        assert!(demo.process.is_running(), "{}", demo.process.log());
        std::future::ready(demo.process.log().contains("until Ctrl-C").then_some(()))
    })
    .await;
    assert_eq!(demo.others().len(), 4, "a control plane and three agents run");
    // The terminal tells the whole group.
    let group = Pid::from_raw(i32::try_from(demo.process.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::INT).unwrap();
    let end = demo.process.ended().await;
    assert_eq!(end.code(), Some(0), "{}", demo.process.log());
    demo.check_what_it_left();
}
