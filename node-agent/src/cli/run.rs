//! `run`.

use std::{io, os::unix::process::CommandExt as _, path::PathBuf, process::Command, time::Duration};

use muster_common::telemetry;

use super::{
    Context,
    exit::{self, Failure},
    halves, runtime,
};
use crate::{
    verbs::Hands,
    wiring::{self, Exit, Process},
};

/// For work on the disk that is under way when the agent ends.
const LAST_WRITES: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do everything in this one process, with the rights of its user: for a
    /// laptop, a container, a test. Without it, what needs root is asked of the executor.
    #[arg(long)]
    single_process: bool,
}

pub(super) fn run(args: &Args, context: Context) -> Result<(), Failure> {
    let hands = if args.single_process { Hands::Here } else { halves::executor() };
    if !args.single_process && rustix::process::geteuid().is_root() {
        let cause = "this half of the agent is to run as a user without rights, and was started by root";
        return Err(Failure::told(exit::RUNS_AS_ROOT, cause.to_owned()));
    }
    let Context { config, state, .. } = context;
    // Now: once another file has its name, the kernel calls this program deleted.
    let program = std::env::current_exe();
    let level = config.settings.get("log-level").map_or("info", String::as_str);
    let level =
        telemetry::start(level, config.log_format).map_err(|error| Failure::new(exit::CONFIG, &error))?;
    let unusable =
        |error| Failure::told(exit::STATE, format!("cannot use {}: {error}", state.path().display()));
    let lock = state.lock().map_err(unusable)?.ok_or_else(|| {
        Failure::told(exit::BUSY, format!("another agent runs with {}", state.path().display()))
    })?;
    let runtime = runtime()?;
    let ended = runtime.block_on(wiring::run(
        config,
        state,
        Process { level, program: program.as_ref().ok().cloned(), hands },
    ));
    runtime.shutdown_timeout(LAST_WRITES); // a disk that hangs must not keep it
    match ended {
        Ok(Exit::Stopped) => Ok(()),
        Ok(Exit::Restart) => {
            drop(lock);
            Err(restart(program))
        }
        Err(error) => Err(Failure::new(exit::INTERNAL, &error)),
    }
}

/// This process becomes the newly installed agent. Comes back only if that fails.
fn restart(program: io::Result<PathBuf>) -> Failure {
    tracing::info!("the agent starts anew");
    let told = |error: io::Error| Failure::told(exit::INTERNAL, format!("cannot start anew: {error}"));
    match program {
        Ok(program) => told(Command::new(program).args(std::env::args_os().skip(1)).exec()),
        Err(error) => told(error),
    }
}
