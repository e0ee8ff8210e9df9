//! How an agent becomes another version of itself, on a host that must not lose it.
//!
//! What upgrades is not what is upgraded: a copy of the program that ran when it began, the
//! watchdog, in a unit of its own. It writes down what it is about to do before it does it,
//! goes on from there whoever killed it, and keeps the new version only once that has shown
//! that it does what the one before did: it runs, and it speaks to its control plane.
//! Otherwise it goes back. A version is blamed only for what it did itself.
//!
//! `machine` decides and touches nothing, `record` is what is on the disk, `watchdog` drives,
//! `host` is this host, `begin` starts it all, `order` does so by the control plane's word.

pub mod begin;
mod evidence;
mod host;
pub mod machine;
pub mod order;
pub mod record;
pub mod watchdog;
mod way;

use std::path::Path;

pub use host::watch;

/// Where the plan, the watchdog and what came of it are.
pub const FOLDER: &str = "/var/lib/muster/upgrade";
/// The agent's own service.
pub const SERVICE: &str = "muster-node-agent.service";
/// Its root half, where it has one.
pub const EXECUTOR: &str = "muster-executor.service";
/// In which the watchdog runs.
pub const UNIT: &str = "muster-upgrade.service";

/// What a program says its version is, if it is one of ours and runs here.
///
/// # Errors
/// With what it says instead.
pub(crate) async fn version_of(program: &Path) -> Result<String, String> {
    use crate::platform::{process, tool};
    let mut command = process::command(&program.to_string_lossy());
    command.arg("version");
    let ran = tool::run(command, tokio::time::sleep(LIMIT)).await;
    let ran = ran.map_err(|broken| match broken {
        tool::Broken::Stopped(()) => "it does not say its version".to_owned(),
        tool::Broken::Io(error) => error.to_string(),
    })?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let mut words = said.split_whitespace();
    match (ran.status.success(), words.next(), words.next()) {
        (true, Some("muster-node-agent"), Some(version)) => Ok(version.to_owned()),
        _ => Err(format!("it said {said:?} {:?}", String::from_utf8_lossy(&ran.stderr).trim())),
    }
}

/// For a program to say its version, and for systemd to answer.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
