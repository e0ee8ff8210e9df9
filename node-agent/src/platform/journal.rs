//! Journals of units, by `journalctl`.

use muster_common::clock::UnixMillis;
use tokio::process::Command;

use super::{
    process,
    tool::{self, Broken},
};

/// The call that prints the journal of a unit.
#[must_use]
pub fn command(unit: &str, since: UnixMillis) -> Command {
    let mut command = process::command("journalctl");
    command.args(["--no-pager", "--quiet", "--all", "--output=short-iso"]);
    command.arg(format!("--since=@{}", since.0.max(0) / 1000)).arg(format!("--unit={unit}"));
    command
}

/// What stands there instead of a journal that cannot be read.
#[must_use]
pub fn objection(stderr: &[u8]) -> Vec<u8> {
    [b"[journalctl says: ", stderr.trim_ascii(), b"]\n"].concat()
}

/// Reads a unit's journal, and hands it on as it comes; that there is none is said there.
///
/// # Errors
/// If it is stopped.
pub async fn read<S>(
    unit: &str,
    since: UnixMillis,
    mut take: impl FnMut(&[u8]),
    stop: impl Future<Output = S>,
) -> Result<(), S> {
    match tool::each(command(unit, since), stop, &mut take).await {
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => {
            take(&objection(&ran.stderr));
            Ok(())
        }
        Err(Broken::Io(error)) => {
            take(format!("[journalctl could not be run: {error}]\n").as_bytes());
            Ok(())
        }
        Err(Broken::Stopped(why)) => Err(why),
    }
}
