//! `serve`.

use std::fs::File;

use anyhow::Context as _;
use muster_common::telemetry;
use rustix::fs::{FlockOperation, flock};

use super::ConfigArg;
use crate::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let _level = telemetry::start(&config.log.filter, config.log.format)?;
    let path = config.state_dir.join("serve.lock");
    let lock = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another control plane serves {}", config.state_dir.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(wiring::serve(config))
}
