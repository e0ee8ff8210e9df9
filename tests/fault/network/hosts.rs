//! What hosts do and how they count it: each start of a command and each end adds a line to a
//! file of the command, each version of a bundle that comes into force one to a file of the host.

use std::{fs, path::Path};

use muster_common::clock::UnixMillis;
use muster_proto::types::v1::BundleContent;
use muster_tests::{
    agent::Agent,
    history::Ran,
    operator::{file, sh},
};

/// What a command prints.
pub(crate) const PRINTS: &[u8] = b"begun\ndone\n";

/// A script that counts itself below `ran`.
pub(crate) fn script(ran: &Path, exit: i32) -> String {
    let count = format!("{}/$MUSTER_COMMAND_ID", ran.display());
    format!(
        "echo \"started $(date +%s%3N)\" >> {count}; echo begun; sleep 0.1; echo done; echo ended >> {count}; exit {exit}"
    )
}

/// Commands as hosts have counted them.
pub(crate) fn counted(ran: &Path) -> Vec<Ran> {
    let files = fs::read_dir(ran).unwrap().map(|entry| entry.unwrap());
    let of = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        let started = text.lines().filter_map(|line| line.strip_prefix("started "));
        Ran {
            id: entry.file_name().into_string().unwrap(),
            started: started.map(|at| UnixMillis(at.parse().unwrap())).collect(),
            ended: text.lines().filter(|line| *line == "ended").count(),
        }
    };
    files.map(of).collect()
}

/// The `n`th content of a host's bundle.
pub(crate) fn content(agent: &Path, n: u64) -> BundleContent {
    let app = agent.join("files/app");
    let counted = format!("cat {} >> {}", app.display(), log(agent).display());
    BundleContent {
        files: vec![file(&app, &format!("{n}\n"))],
        on_change: sh(&counted),
        ..Default::default()
    }
}

fn log(agent: &Path) -> std::path::PathBuf {
    agent.join("applied")
}

/// Contents that were in force on a host, the first first.
pub(crate) fn applied(agent: &Path) -> Vec<u64> {
    let text = fs::read_to_string(log(agent)).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("a number of a content")).collect()
}

/// The content that is in force.
pub(crate) fn running(agent: &Agent) -> Option<u64> {
    agent.read("app")?.trim().parse().ok()
}
