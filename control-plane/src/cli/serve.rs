//! `serve`.

use std::{fs::File, os::unix::fs::OpenOptionsExt as _};

use anyhow::Context as _;
use muster_common::telemetry;
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{ConfigArg, restore};
use crate::{config::Config, wiring};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let _level = telemetry::start(&config.log.filter, config.log.format)?;
    let descriptors = raise_descriptors();
    let _alone = alone(&config)?;
    if let Some(stage) = restore::is_unfinished(&config.state_dir) {
        anyhow::bail!("a restore did not end: {} is there; run the same restore once more", stage.display());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(wiring::serve(config, descriptors))
}

/// Keeps others from serving this state directory, for as long as the file is held.
pub(super) fn alone(config: &Config) -> anyhow::Result<File> {
    let path = config.state_dir.join("serve.lock");
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path);
    let lock = opened.with_context(|| format!("cannot open {}", path.display()))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another control plane serves {}", config.state_dir.display()))?;
    Ok(lock)
}

/// Allows itself as many open files as the system allows: every session is one.
/// Answers how many these are.
fn raise_descriptors() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised: {error}");
            current
        }
    };
    allowed.map_or(usize::MAX, |allowed| usize::try_from(allowed).unwrap_or(usize::MAX))
}
