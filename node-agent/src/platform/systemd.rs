//! The host's systemd, where it has one.

use std::{collections::HashMap, fmt, io, path::Path, str::FromStr, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{peer, process};

/// What `show` asks for.
const PROPERTIES: &str =
    "Id,LoadState,ActiveState,SubState,MainPID,StateChangeTimestampMonotonic,ExecMainStatus,Result,Job";

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// Its own name, aliases resolved.
    pub id: String,
    /// `loaded`, `not-found`, `masked`.
    pub load_state: String,
    /// `active`, `inactive`, `failed`.
    pub active_state: String,
    /// `running`, `dead`.
    pub sub_state: String,
    /// 0: none.
    pub main_pid: u32,
    /// Microseconds after the boot at which it came into this state; 0: not known.
    pub since_us: u64,
    /// Of its last main process.
    pub exit_status: i32,
    /// How it last went.
    pub result: String,
    /// What systemd is doing with it; 0: nothing.
    pub job: u32,
}

/// Whether systemd runs this host.
#[must_use]
pub fn is_booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// A call of `systemctl` that asks nobody for a password.
#[must_use]
pub fn systemctl(words: &[&str]) -> Command {
    let mut command = process::command("systemctl");
    command.args(["--no-pager", "--no-ask-password"]).args(words);
    command
}

/// What a short call answers, as text. Dropped: it is ended.
///
/// # Errors
/// With what it says, if it says no; `TimedOut`: it did not end within that time.
pub(super) async fn answer(mut command: Command, within: Duration) -> io::Result<String> {
    let done = timeout(within, command.kill_on_drop(true).output()).await;
    let done = done.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned()))
}

/// The call that `unit` reads.
#[must_use]
pub fn show(name: &str) -> Command {
    systemctl(&["show", "--property", PROPERTIES, "--", name])
}

/// Lists loaded units and unit files whose names begin so.
#[must_use]
pub fn begins(with: &str) -> Command {
    let mut command = systemctl(&["show", "--property", PROPERTIES, "--"]);
    command.arg(format!("{with}*.service"));
    command
}

/// Reads what a call printed that shows several units.
#[must_use]
pub fn all_units(shown: &str) -> Vec<Unit> {
    shown.split("\n\n").filter(|one| !one.trim().is_empty()).map(unit).collect()
}

/// Reads what `show` printed.
#[must_use]
pub fn unit(shown: &str) -> Unit {
    let lines: HashMap<&str, &str> = shown.lines().filter_map(|line| line.split_once('=')).collect();
    let text = |key| lines.get(key).map_or_else(String::new, |value| (*value).to_owned());
    Unit {
        id: text("Id"),
        load_state: text("LoadState"),
        active_state: text("ActiveState"),
        sub_state: text("SubState"),
        main_pid: number(&lines, "MainPID"),
        since_us: number(&lines, "StateChangeTimestampMonotonic"),
        exit_status: number(&lines, "ExecMainStatus"),
        result: text("Result"),
        job: number(&lines, "Job"),
    }
}

impl fmt::Display for Unit {
    /// As `show` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Id={}\nLoadState={}\nActiveState={}", self.id, self.load_state, self.active_state)?;
        writeln!(f, "SubState={}\nMainPID={}", self.sub_state, self.main_pid)?;
        writeln!(f, "StateChangeTimestampMonotonic={}", self.since_us)?;
        writeln!(f, "ExecMainStatus={}\nResult={}\nJob={}", self.exit_status, self.result, self.job)
    }
}

fn number<T: FromStr + Default>(lines: &HashMap<&str, &str>, key: &str) -> T {
    lines.get(key).and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// The unit in which this process runs, where systemd runs the host.
#[must_use]
pub fn own_unit() -> Option<String> {
    is_booted().then(peer::own_unit).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read() {
        let shown = "Id=a.service\nLoadState=loaded\nActiveState=active\nSubState=running\nMainPID=12\n\
                     StateChangeTimestampMonotonic=5000000\nExecMainStatus=0\nResult=success\nX=a=b\n";
        let unit = unit(shown);
        assert_eq!((unit.id.as_str(), unit.load_state.as_str(), unit.main_pid), ("a.service", "loaded", 12));
        assert_eq!((unit.since_us, unit.result.as_str(), unit.job), (5_000_000, "success", 0));
        assert_eq!(super::unit(""), Unit::default());
        let both = format!("{shown}\nId=b.service\nActiveState=failed\n");
        let both: Vec<String> = all_units(&both).into_iter().map(|unit| unit.id).collect();
        assert_eq!(both, ["a.service", "b.service"]);
        assert!(all_units("\n").is_empty());
    }
}
