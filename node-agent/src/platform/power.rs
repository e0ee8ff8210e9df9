//! Boots this host anew.

use std::{
    io,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

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
    wall.args(["--quiet", "--collect", "--wait", "--pipe", "--", "wall"]);
    match timeout(WITHIN, told(wall, message)).await {
        Ok(Ok(told)) if told.status.success() => {}
        Ok(Ok(told)) => tracing::warn!("people could not be told: wall ended with {}", told.status),
        Ok(Err(error)) => tracing::warn!(%error, "people could not be told"),
        Err(_) => tracing::warn!("people could not be told in time"),
    }
}

/// Ends a program that is given a text. As words of its own the text would be the name of a
/// file, whose content everybody would be told.
async fn told(mut program: Command, text: &str) -> io::Result<Output> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut running = program.spawn()?;
    if let Some(mut stdin) = running.stdin.take() {
        stdin.write_all(format!("{text}\n").as_bytes()).await?;
    }
    running.wait_with_output().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn people_are_told_the_text_and_not_the_file_of_that_name() {
        let told = told(process::command("cat"), "/etc/passwd").await.unwrap();
        assert_eq!(told.stdout, b"/etc/passwd\n");
    }
}
