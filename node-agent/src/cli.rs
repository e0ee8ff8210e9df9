//! The command line. Every way to end has one exit code; `exit` has the table.
#![allow(clippy::print_stdout, clippy::print_stderr)] // answers go to standard output, the rest to standard error

mod connect;
mod disconnect;
mod exit;
mod explain;
mod run;
mod show;
mod supervise;

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
    /// Tell where each item stands on this host and why, without the agent and without network.
    Explain(explain::Args),
    /// Take this host out of its fleet. Files that bundles brought stay as they are.
    Disconnect(disconnect::Args),
    /// What this binary is.
    Version,
    /// Watch over a script: the agent starts this.
    #[command(hide = true)]
    Supervise(supervise::Args),
    /// Become a script: `supervise` starts this.
    #[command(hide = true)]
    BecomeScript,
}

/// What every command but `version` works with.
struct Context {
    config: Config,
    state: StateDir,
}

impl Context {
    /// To change things.
    fn open(config: Option<&std::path::Path>) -> Result<Self, Failure> {
        let context = Self::look(config)?;
        let path = &context.config.state_dir;
        let made = StateDir::open(path);
        made.map_err(|error| Failure::told(exit::STATE, format!("cannot use {}: {error}", path.display())))?;
        Ok(context)
    }

    /// To look only: nothing is made, changed or locked.
    fn look(config: Option<&std::path::Path>) -> Result<Self, Failure> {
        let config = Config::load(config).map_err(|error| Failure::new(exit::CONFIG, &error))?;
        let state = StateDir::at(&config.state_dir);
        Ok(Self { config, state })
    }
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = cli.config.as_deref();
    let done = match &cli.command {
        Command::Version => {
            println!("{}", build_info::line("muster-node-agent"));
            Ok(())
        }
        Command::Connect(args) => Context::open(config).and_then(|context| connect::run(args, &context)),
        Command::Run(args) => Context::open(config).and_then(|context| run::run(args, context)),
        Command::Show(args) => Context::look(config).and_then(|context| show::run(args, &context)),
        Command::Explain(args) => Context::look(config).and_then(|context| explain::run(args, &context)),
        Command::Disconnect(args) => {
            Context::open(config).and_then(|context| disconnect::run(args, &context))
        }
        Command::Supervise(args) => supervise::run(args),
        Command::BecomeScript => Err(supervise::become_script()),
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
