//! The command line. Exit codes: 0 done; 1 refused or failed, with the cause on
//! standard error; 2 the command line itself was wrong.
#![allow(clippy::print_stdout, clippy::print_stderr)] // answers go to standard output, hints to standard error

mod audit;
mod backup;
mod ca;
mod config;
mod console_link;
mod init;
mod operator;
mod restore;
mod secrets;
mod serve;
mod store;
mod token;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use muster_common::{build_info, clock::Clock};
use muster_domain::audit::Stamp;
use muster_store::Store;

use crate::{app, ca::Ca, config::Config, wiring};

/// Muster's control plane: keeps a fleet of hosts in the state its operators want.
#[derive(Debug, Parser)]
#[command(name = "muster-control-plane", version = build_info::version(), propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new installation: certificate authority, store, first operator, configuration.
    Init(init::Args),
    /// Serve.
    Serve(serve::Args),
    /// Join tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// Operators, their certificates and what they may do.
    #[command(subcommand)]
    Operator(operator::Command),
    /// Services: programs that call the operators' API.
    #[command(subcommand)]
    Service(operator::Command),
    /// The certificate authority.
    #[command(subcommand)]
    Ca(ca::Command),
    /// The audit.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The keys of protected contents.
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Print a one-time link that lets a browser into the fleet console.
    ConsoleLink(console_link::Args),
    /// Write all that the control plane is into one file, while it serves.
    Backup(backup::Args),
    /// Bring a control plane back from a backup. Its store begins another history.
    Restore(restore::Args),
    /// The store.
    #[command(subcommand)]
    Store(store::Command),
    /// The configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// What this binary is.
    Version,
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// Configuration file.
    #[arg(long, default_value = "/etc/muster/control-plane.toml")]
    config: PathBuf,
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Init(args) => init::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Token(command) => token::run(command),
        Command::Operator(command) => operator::run(operator::Kind::Operator, command),
        Command::Service(command) => operator::run(operator::Kind::Service, command),
        Command::Ca(command) => ca::run(command),
        Command::Audit(command) => audit::run(&command),
        Command::Secrets(command) => secrets::run(&command),
        Command::ConsoleLink(args) => console_link::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Store(command) => store::run(&command),
        Command::Config(command) => config::run(&command),
        Command::Version => {
            println!("{}", build_info::line("muster-control-plane"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl ConfigArg {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.config)?)
    }
}

/// Opens the store beside a control plane that may be serving it.
fn open_store(config: &Config) -> anyhow::Result<Store> {
    Ok(Store::open(&wiring::store::options(config, "cli")?)?)
}

/// Opens the authority that the store knows.
fn open_ca(config: &Config, store: &Store) -> anyhow::Result<Ca> {
    app::authority::open(store, &config.ca_dir(), &config.trust_domain)
}

/// Whoever sits at the command line.
fn stamp(action: &str) -> Stamp {
    let user =
        std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "root".to_owned());
    Stamp {
        actor: format!("cli/{user}"),
        action: action.to_owned(),
        at: Clock::System.now(),
        remote_address: String::new(),
        trace_id: String::new(),
    }
}
