//! The command line. Every way to end has one exit code; `exit` has the table.
#![allow(clippy::print_stdout, clippy::print_stderr)] // answers go to standard output, the rest to standard error

mod connect;
mod disconnect;
mod exit;
mod run;
mod show;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use muster_common::build_info;

use crate::{config::Config, state_dir::StateDir};
use exit::Failure;

/// Muster's node agent: keeps this host in the state its control plane wants.
#[derive(Debug, Parser)]
#[command(name = "muster-node-agent", version, propagate_version = true, after_help = exit::TABLE)]
struct Cli {
    /// Configuration file.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring this host into a fleet.
    Connect(connect::Args),
    /// Run the agent.
    Run(run::Args),
    /// Tell what this host is and how its agent stands.
    Show(show::Args),
    /// Take this host out of its fleet. Files that bundles brought stay as they are.
    Disconnect(disconnect::Args),
    /// What this binary is.
    Version,
}

/// What every command but `version` works with.
struct Context {
    config: Config,
    state: StateDir,
}

impl Context {
    fn open(config: Option<&std::path::Path>) -> Result<Self, Failure> {
        let config = Config::load(config).map_err(|error| Failure::new(exit::CONFIG, &error))?;
        let state = StateDir::open(&config.state_dir).map_err(|error| {
            let told = format!("cannot use {}: {error}", config.state_dir.display());
            Failure::told(exit::STATE, told)
        })?;
        Ok(Self { config, state })
    }
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Version => {
            println!("{}", build_info::line("muster-node-agent"));
            Ok(())
        }
        command => Context::open(cli.config.as_deref()).and_then(|context| match command {
            Command::Connect(args) => connect::run(args, &context),
            Command::Run(args) => run::run(args, context),
            Command::Show(args) => show::run(args, &context),
            Command::Disconnect(args) => disconnect::run(args, &context),
            Command::Version => Ok(()),
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// A runtime for one short conversation.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::told(exit::INTERNAL, format!("cannot start: {error}")))
}
