//! How a script is started: this program, as the script's user, becomes it. So the folder
//! is entered and the script is read with that user's rights, and no variable of the order
//! has its say in a program that has more rights than that.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::{
        fd::AsFd as _,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command as Spawn},
    time::timeout,
};

use super::Job;
use crate::platform::process::PATH;

/// Within this time it has become the script, or said why not.
const STARTS: Duration = Duration::from_secs(30);
/// Of what a program said that failed before the script.
const WORDS: u64 = 4 * 1024;
/// Said when all is ready but the last step.
const READY: u8 = b'+';

/// Starts the script of a job.
///
/// # Errors
/// If not a line of it runs.
pub(super) async fn start(job: &Job) -> io::Result<Child> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut ours = tokio::net::UnixStream::from_std(ours)?;
    let mut child = spawn(job, theirs)?;
    let talk = async {
        ours.write_all(&serde_json::to_vec(job)?).await?;
        ours.shutdown().await?;
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).await.map(|_| answer)
    };
    match timeout(STARTS, talk).await {
        Ok(Ok(answer)) if answer == [READY] => Ok(child),
        Ok(Ok(answer)) if answer.is_empty() => Err(io::Error::other(said(&mut child).await)),
        Ok(Ok(answer)) => {
            let words = String::from_utf8_lossy(&answer);
            Err(io::Error::other(words.trim_start_matches(char::from(READY)).to_owned()))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(io::Error::other(said(&mut child).await))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn spawn(job: &Job, stdin: UnixStream) -> io::Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = match &job.user {
        Some(user) => {
            let mut command = Spawn::new("setpriv");
            command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid));
            command.arg("--init-groups").arg("--").arg(program);
            command
        }
        None => Spawn::new(program),
    };
    command.arg("become-script").env_clear().env("PATH", PATH).current_dir("/");
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(stdin)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // A script may signal its own group, and means itself by it.
    command.process_group(0).kill_on_drop(true).spawn()
}

/// What a program said before it ended without having become the script.
async fn said(child: &mut Child) -> String {
    let mut words = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = timeout(STARTS, stderr.take(WORDS).read_to_end(&mut words)).await;
    }
    let words = String::from_utf8_lossy(&words);
    match words.trim() {
        "" => "the program that becomes the script ended without a word".to_owned(),
        words => words.to_owned(),
    }
}

/// Becomes the script that comes on standard input. Comes back only if that fails; whoever
/// started this is told why.
pub fn become_script() -> io::Error {
    let channel = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    match channel {
        Ok(mut channel) => {
            let error = replace(&mut channel);
            let _ = write!(channel, "{error}");
            let _ = channel.shutdown(Shutdown::Both);
            error
        }
        Err(error) => error,
    }
}

fn replace(channel: &mut UnixStream) -> io::Error {
    let mut order = Vec::new();
    let job: Job = match channel.read_to_end(&mut order).and_then(|_| Ok(serde_json::from_slice(&order)?)) {
        Ok(job) => job,
        Err(error) => return error,
    };
    // Where memory is short the script is what ends, not what watches over it, nor anything
    // else on the host. More of this is anybody's right.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    if let Err(error) = std::env::set_current_dir(&job.folder) {
        return told(&error, "cannot enter", &job.folder.to_string_lossy());
    }
    let Some((program, arguments)) = job.command.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).envs(&job.environment).stdin(Stdio::null());
    if let Err(error) = channel.write_all(&[READY]) {
        return error;
    }
    told(&command.exec(), "cannot run", program)
}

fn told(error: &io::Error, doing: &str, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{doing} {what}: {error}"))
}
