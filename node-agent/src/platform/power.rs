//! Boots this host anew.

use std::{io, time::Duration};

use tokio::time::timeout;

use super::{process, systemd};

/// For `systemctl reboot`, which only asks; and for telling people.
const WITHIN: Duration = Duration::from_secs(60);

/// Whether the host can be booted anew; if not, why. `has_root`: somebody does it who is
/// root, if this process is not.
///
/// # Errors
/// With a sentence.
pub fn can_reboot(has_root: bool) -> Result<(), &'static str> {
    if !systemd::is_booted() {
        return Err("this host is not run by systemd, which alone could boot it in good order");
    }
    if !has_root && !rustix::process::geteuid().is_root() {
        return Err("the agent does not run as root, and so may not boot this host");
    }
    if process::boot_id().is_empty() {
        return Err("the kernel does not say which boot this is, so that nobody could tell that it booted");
    }
    Ok(())
}

/// Asks systemd to boot the host. It goes down soon after, and this process with it.
///
/// # Errors
/// If systemd does not want to; `TimedOut`: it does not say.
pub async fn reboot() -> io::Result<()> {
    let asked = systemd::answer(systemd::systemctl(&["reboot"]), WITHIN).await;
    asked.map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::Other => io::Error::other(format!("systemctl reboot says: {error}")),
        _ => error,
    })
}

/// Tells everyone who is logged in. That nobody can be told is no reason not to go on.
pub async fn tell(message: &str) {
    // As a unit: whoever asks may have no terminals in its sight.
    let mut wall = process::command("systemd-run");
    wall.args(["--quiet", "--collect", "--wait", "--", "wall", "--", message]).kill_on_drop(true);
    match timeout(WITHIN, wall.output()).await {
        Ok(Ok(told)) if told.status.success() => {}
        Ok(Ok(told)) => tracing::warn!("people could not be told: wall ended with {}", told.status),
        Ok(Err(error)) => tracing::warn!(%error, "people could not be told"),
        Err(_) => tracing::warn!("people could not be told in time"),
    }
}
