//! `executor`.

use std::path::{Path, PathBuf};

use muster_common::{clock::Clock, telemetry};

use super::{
    exit::{self, Failure},
    halves::USER,
    runtime,
};
use crate::{
    admission,
    config::Config,
    executor::{self, Executor, Options},
    locks,
    platform::accounts,
    upgrader::order,
    wiring,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it keeps what must outlive it.
    #[arg(long, default_value = "/var/lib/muster/executor")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args, config: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(config).map_err(|error| Failure::new(exit::CONFIG, &error))?;
    let level = config.settings.get("log-level").map_or("info", String::as_str);
    telemetry::start(level, config.log_format).map_err(|error| Failure::new(exit::CONFIG, &error))?;
    let user = accounts::user(USER).map_err(|error| Failure::new(exit::USER, &error))?;
    let program = std::env::current_exe().map_err(|error| Failure::new(exit::INTERNAL, &error))?;
    let locks = locks::Reader::new(config.locks_file.clone());
    let options = Options {
        artifacts: admission::Options {
            folder: args.folder.join("artifacts"),
            root: config.artifacts_root.clone(),
            quota: wiring::artifacts::quota(&config, &locks),
            clock: Clock::System,
        },
        upgrades: order::Options {
            state_dir: config.state_dir.clone(),
            config: config.path.clone(),
            limits: wiring::release::limits(&config),
            locks: locks.clone(),
        },
        user,
        protected: executor::own_places(&config),
        locks,
        folder: args.folder.clone(),
        program,
    };
    let unusable = |error| {
        let folder = args.folder.display();
        Failure::told(exit::STATE, format!("the executor cannot use {folder}: {error}"))
    };
    let executor = Executor::open(options).map_err(unusable)?;
    runtime()?.block_on(async {
        let listener = executor::listener().map_err(|error| {
            Failure::told(exit::NO_SOCKET, format!("there is no socket to listen on: {error}"))
        })?;
        executor.run(listener).await.map_err(|error| Failure::new(exit::INTERNAL, &error))
    })
}
