//! Programs of a bundle, run while it is applied.

use std::{
    fs::{self, File as OnDisk},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitStatus,
    time::Duration,
};

use muster_common::{ids::CommandId, reason::Reason, trace};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    Failure,
    base::Base,
    bundle::{Content, File, Hook},
    cache::Cache,
    journal::Journal,
    records::Kind,
    traced,
};
use crate::{
    platform::{files::private_folder, process},
    state::Cause,
    verbs::Hands,
};

mod far;

const GRACE: Duration = Duration::from_secs(2);
/// For the last output, once the hook itself has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// For what comes around a hook.
const SLACK: Duration = Duration::from_secs(300);
const KEPT: usize = 4096;

/// For whom hooks run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) base: &'a Base,
    pub(super) item: &'a str,
    pub(super) version: &'a str,
    /// The folder with the new files, for `validate`.
    pub(super) stage: Option<&'a Path>,
    /// Where a hook is in the trace of the item.
    pub(super) place: Option<trace::Context>,
    /// Where a hook's process is written down before it acts, so that a later agent can end it.
    pub(super) journal: Option<&'a Journal>,
}

/// The new files under a folder of their own, for `validate` to look at.
#[derive(Debug)]
pub(super) struct Stage(PathBuf);

impl Stage {
    pub(super) fn lay_out(folder: &Path, files: &[File]) -> io::Result<Self> {
        let stage = Self(folder.join("stage"));
        let _ = fs::remove_dir_all(&stage.0); // of an attempt that a crash cut off
        for file in files.iter().filter(|file| file.kind != Kind::Absent) {
            let below = file.path.strip_prefix("/").unwrap_or(&file.path);
            let path = stage.0.join(below);
            if file.kind == Kind::Folder {
                private_folder(&path)?;
                continue;
            }
            if let Some(parent) = path.parent() {
                private_folder(parent)?;
            }
            match &file.content {
                Content::Inline(bytes) => {
                    let mut staged =
                        OnDisk::options().write(true).create_new(true).mode(0o600).open(&path)?;
                    staged.write_all(bytes)?;
                }
                // A copy: a hook may do to it what it likes.
                Content::Blob(blob) => drop(fs::copy(Cache::at(folder).path(blob.sha256), &path)?),
            }
        }
        Ok(stage)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a hook to its end; none is a success. The lock file is asked anew: what a
/// host allowed when it took a bundle it may forbid now.
pub(super) async fn run(hook: Option<&Hook>, reason: Reason, context: Context<'_>) -> Result<(), Failure> {
    let Some(hook) = hook else { return Ok(()) };
    let part = context.base.story.begin(traced::hook(reason));
    let ran = run_to_its_end(hook, reason, Context { place: part.place(), ..context }).await;
    part.end(&traced::error(&ran));
    ran
}

async fn run_to_its_end(hook: &Hook, reason: Reason, context: Context<'_>) -> Result<(), Failure> {
    let locks = context.base.locks.current();
    if !locks.allows_hooks() {
        return Err(Failure::hook_denied(&locks));
    }
    context.base.beat(hook.timeout + SLACK);
    if let Hands::Executor(client) = &context.base.hands {
        let id = CommandId::generate();
        context.write_down_run(id).await.map_err(|error| Failure::host(&error))?;
        return far::run(hook, reason, context, (client, id)).await;
    }
    let mut group = start(hook, reason, context)?;
    context.write_down(&group).await.map_err(|error| Failure::host(&error))?;
    attend(hook, reason, &mut group).await
}

/// Runs the hook of the way back. It returns without, where hooks are forbidden by
/// now, and without a note where the disk takes none.
pub(super) async fn run_back(hook: Option<&Hook>, context: Context<'_>) -> Result<(), Failure> {
    let Some(hook) = hook else { return Ok(()) };
    let part = context.base.story.begin(traced::hook(Reason::RollbackFailed));
    let ran = run_back_to_its_end(hook, Context { place: part.place(), ..context }).await;
    part.end(&traced::error(&ran));
    ran
}

async fn run_back_to_its_end(hook: &Hook, context: Context<'_>) -> Result<(), Failure> {
    let item = context.item;
    if !context.base.locks.current().allows_hooks() {
        tracing::warn!(item, "the files of {item} returned; its hook was not run: the lock file allows none");
        return Ok(());
    }
    context.base.beat(hook.timeout + SLACK);
    let warn = |error| tracing::warn!(item, %error, "could not write down the hook of {item}");
    if let Hands::Executor(client) = &context.base.hands {
        let id = CommandId::generate();
        context.write_down_run(id).await.unwrap_or_else(warn);
        return far::run(hook, Reason::RollbackFailed, context, (client, id)).await;
    }
    let mut group = start(hook, Reason::RollbackFailed, context)?;
    context.write_down(&group).await.unwrap_or_else(warn);
    attend(hook, Reason::RollbackFailed, &mut group).await
}

impl Context<'_> {
    async fn write_down(&self, group: &process::Group) -> io::Result<()> {
        let Some((journal, mark)) = self.journal.zip(group.mark()) else { return Ok(()) };
        let (journal, folder) = (Journal { hook: Some(mark), ..journal.clone() }, self.base.folder.clone());
        self.base.blocking(move || journal.save(&folder)).await
    }
}

/// Starts a hook, held back until it is released.
fn start(hook: &Hook, reason: Reason, context: Context<'_>) -> Result<process::Group, Failure> {
    let failed = |error| not_started(hook, reason, &error);
    if !hook.folder.is_dir() {
        let message = format!("its working directory {} is not there", hook.folder.display());
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, message)));
    }
    let mut command = process::gated(&hook.argv[0], &hook.environment).map_err(failed)?;
    command.args(&hook.argv[1..]).current_dir(&hook.folder);
    command.env("MUSTER_ITEM", context.item).env("MUSTER_VERSION", context.version);
    if let Some(stage) = context.stage {
        command.env("MUSTER_STAGE", stage);
    }
    if let Some(place) = context.place {
        command.env(trace::VARIABLE, place.to_string());
    }
    process::Group::spawn(command).map_err(failed)
}

fn not_started(hook: &Hook, reason: Reason, error: &io::Error) -> Failure {
    Failure::rejected(reason, Cause::Content, format!("{} could not be started: {error}", hook.argv[0]))
}

/// Releases a hook and waits for its end.
async fn attend(hook: &Hook, reason: Reason, group: &mut process::Group) -> Result<(), Failure> {
    let failed = |message: String| Failure::rejected(reason, Cause::Content, message);
    group.release().await.map_err(|error| not_started(hook, reason, &error))?;
    let (stdout, stderr) = group.outputs();
    let kept = parking_lot::Mutex::new(Vec::new());
    let mut listening = pin!(async {
        tokio::join!(listen(stdout, &kept), listen(stderr, &kept));
    });
    let mut ending = pin!(async {
        match tokio::time::timeout(hook.timeout, group.wait()).await {
            Ok(status) => status.map(Some),
            Err(_) => group.end(GRACE).await.map(|_| None),
        }
    });
    let ended = tokio::select! {
        ended = &mut ending => {
            let _ = tokio::time::timeout(LAST_WORDS, &mut listening).await;
            ended
        }
        () = &mut listening => ending.await,
    };
    let output = std::mem::take(&mut *kept.lock());
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(failed(format!("{} {}", hook.argv[0], how(status))).with_output(output)),
        Ok(None) => {
            let seconds = hook.timeout.as_secs();
            Err(failed(format!("{} did not end within {seconds} s", hook.argv[0])).with_output(output))
        }
        Err(error) => Err(failed(format!("{} was lost: {error}", hook.argv[0]))),
    }
}

/// How a hook ended that was no success.
fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(126 | 127) => {
            format!("ended with {status}: a shell says so of a program that it cannot execute or find")
        }
        _ => format!("ended with {status}"),
    }
}

/// Keeps the last part of what a pipe brings.
async fn listen(pipe: Option<impl AsyncRead + Unpin>, kept: &parking_lot::Mutex<Vec<u8>>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        let mut kept = kept.lock();
        kept.extend_from_slice(&piece[..read]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}
