//! Journals of units, by `journalctl`.

use muster_common::clock::UnixMillis;

use super::{Stop, Tail};
use crate::{
    commands::kinds::tool::{self, Broken},
    platform::process,
};

/// Reads a unit's journal into a tail; that there is none is said there.
pub(super) async fn read(
    unit: &str,
    since: UnixMillis,
    tail: &mut Tail,
    stop: impl Future<Output = Stop>,
) -> Result<(), Broken> {
    let mut command = process::command("journalctl");
    command.args(["--no-pager", "--quiet", "--all", "--output=short-iso"]);
    command.arg(format!("--since=@{}", since.0.max(0) / 1000)).arg(format!("--unit={unit}"));
    match tool::each(command, stop, |piece| tail.push(piece)).await {
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => {
            tail.push(b"[journalctl says: ");
            tail.push(ran.stderr.trim_ascii());
            tail.push(b"]\n");
            Ok(())
        }
        Err(Broken::Io(error)) => {
            tail.push(format!("[journalctl could not be run: {error}]\n").as_bytes());
            Ok(())
        }
        Err(stopped) => Err(stopped),
    }
}
