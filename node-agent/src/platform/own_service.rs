//! What one of the agent's own services is doing, as another process of the host sees it.

use std::{fs, io, path::PathBuf, time::Duration};

use super::{process, systemd};

/// systemd answers within this time.
const ANSWER: Duration = Duration::from_secs(30);
/// A service stops within this time, or systemd kills it.
const STOP: Duration = Duration::from_secs(120);

/// How a service stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// systemd knows it.
    pub is_known: bool,
    /// It has said that it is ready, and has not ended.
    pub is_active: bool,
    /// Of its main process; 0: it has none.
    pub pid: u32,
    /// How often systemd started it again by itself since it was told to start it.
    pub restarts: u32,
}

/// How a service stands.
///
/// # Errors
/// If systemd does not say.
pub async fn state(unit: &str) -> io::Result<State> {
    let properties = "LoadState,ActiveState,MainPID,NRestarts";
    let shown = systemd::systemctl(&["show", "--property", properties, "--", unit]);
    Ok(read(&systemd::answer(shown, ANSWER).await?))
}

/// Stops services, and waits until nothing of them is left.
///
/// # Errors
/// If systemd does not do it.
pub async fn stop(units: &[&str]) -> io::Result<()> {
    systemd::answer(systemd::systemctl(&[&["stop", "--"], units].concat()), STOP).await.map(drop)
}

/// Tells systemd to start a service; does not wait until it is up.
///
/// # Errors
/// If systemd does not take that.
pub async fn start(unit: &str) -> io::Result<()> {
    // What ended too often before is nothing against what starts now.
    let _ = systemd::answer(systemd::systemctl(&["reset-failed", "--", unit]), ANSWER).await;
    systemd::answer(systemd::systemctl(&["start", "--no-block", "--", unit]), ANSWER).await.map(drop)
}

/// The file of the program that a process runs; it may be gone by now.
#[must_use]
pub fn program(pid: u32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let text = path.to_str()?;
    Some(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(text)))
}

/// Whether the file of the program that a process runs is another one by now.
#[must_use]
pub fn is_replaced(pid: u32) -> bool {
    let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    path.to_string_lossy().ends_with(" (deleted)")
}

/// Starts a program as a unit of its own, which is started again if something kills it.
///
/// # Errors
/// If systemd does not say that it started.
pub async fn apart(unit: &str, description: &str, words: &[&str]) -> io::Result<()> {
    let mut command = process::command("systemd-run");
    command.args(["--quiet", "--collect", "--service-type=exec", "--unit", unit]);
    for property in [
        &format!("Description={description}"),
        "Restart=on-failure",
        // Slow enough for systemd not to give it up.
        "RestartSec=3s",
        "OOMScoreAdjust=-900",
    ] {
        command.args(["--property", property]);
    }
    command.arg("--").args(words);
    systemd::answer(command, ANSWER).await.map(drop)
}

fn read(shown: &str) -> State {
    let value = |key: &str| {
        let found = shown.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key);
        found.map_or("", |(_, value)| value)
    };
    State {
        is_known: value("LoadState") == "loaded",
        is_active: value("ActiveState") == "active",
        pid: value("MainPID").parse().unwrap_or_default(),
        restarts: value("NRestarts").parse().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_shows_is_read() {
        let state = read("LoadState=loaded\nActiveState=active\nMainPID=7\nNRestarts=2\n");
        assert_eq!(state, State { is_known: true, is_active: true, pid: 7, restarts: 2 });
        assert_eq!(read("LoadState=not-found\nActiveState=inactive\nMainPID=0\n"), State::default());
    }

    #[test]
    fn a_process_is_known_by_its_program() {
        let me = std::process::id();
        assert_eq!(program(me), std::env::current_exe().ok());
        assert!(!is_replaced(me));
        assert_eq!(program(0), None);
    }
}
