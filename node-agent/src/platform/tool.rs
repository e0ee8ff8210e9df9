//! Runs a tool of the host to its end, with a bound on time and output.

use std::{io, process::ExitStatus, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use super::process::Group;

/// Between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(5);
/// Output kept of each stream.
const OUTPUT: usize = 64 * 1024;
const PIECE: usize = 16 * 1024;

/// What a tool said.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// The first part of its standard output.
    pub stdout: Vec<u8>,
    /// The first part of its standard error.
    pub stderr: Vec<u8>,
}

/// It did not come to its end.
#[derive(Debug)]
pub enum Broken<S> {
    /// It was to stop, for this reason.
    Stopped(S),
    /// The host did not run it.
    Io(io::Error),
}

/// Runs a tool that says little.
///
/// # Errors
/// If it is stopped, or cannot be run.
pub async fn run<S>(command: Command, stop: impl Future<Output = S>) -> Result<Ran, Broken<S>> {
    let mut stdout = Vec::new();
    let ran = each(command, stop, |piece| keep(&mut stdout, piece)).await?;
    Ok(Ran { stdout, ..ran })
}

/// Runs a tool, and hands on what it writes to standard output as it comes.
///
/// # Errors
/// If it is stopped, or cannot be run.
pub async fn each<S>(
    command: Command,
    stop: impl Future<Output = S>,
    mut take: impl FnMut(&[u8]),
) -> Result<Ran, Broken<S>> {
    let mut group = Group::spawn(command).map_err(Broken::Io)?;
    let (stdout, stderr) = group.outputs();
    let mut errors = Vec::new();
    let listen = async {
        tokio::join!(pieces(stdout, &mut take), pieces(stderr, |piece: &[u8]| keep(&mut errors, piece)));
    };
    let ended = tokio::select! {
        biased;
        why = stop => Err(why),
        // Its end is the end of its output.
        () = listen => Ok(()),
    };
    match ended {
        Ok(()) => {
            let status = group.wait().await.map_err(Broken::Io)?;
            Ok(Ran { status, stdout: Vec::new(), stderr: errors })
        }
        Err(why) => {
            let _ = group.end(GRACE).await; // however: it is over
            Err(Broken::Stopped(why))
        }
    }
}

fn keep(kept: &mut Vec<u8>, piece: &[u8]) {
    let room = OUTPUT - kept.len();
    kept.extend_from_slice(&piece[..room.min(piece.len())]);
}

async fn pieces(pipe: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        take(&piece[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::process;

    fn shell(text: &str) -> Command {
        let mut command = process::command("/bin/sh");
        command.args(["-c", text]);
        command
    }

    #[tokio::test]
    async fn what_a_tool_says_is_kept_up_to_a_bound() {
        let ran = run(
            shell("echo out; yes x | head -c 200000; echo err >&2; exit 3"),
            std::future::pending::<()>(),
        );
        let ran = ran.await.unwrap();
        assert_eq!(
            (ran.status.code(), ran.stdout.len(), ran.stderr.as_slice()),
            (Some(3), OUTPUT, &b"err\n"[..])
        );
        assert!(ran.stdout.starts_with(b"out\nx\n"));
    }

    #[tokio::test]
    async fn a_tool_that_hangs_is_ended() {
        let stop = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            7
        };
        let ended = run(shell("sleep 600 & sleep 600"), stop).await;
        assert!(matches!(ended, Err(Broken::Stopped(7))), "{ended:?}");
    }
}
