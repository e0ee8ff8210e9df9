//! The command line. Every way to end has one exit code; `exit` has the table. How
//! commands answer is in `output`.

mod check;
mod completions;
mod config;
mod connect;
mod disconnect;
mod executor;
mod exit;
mod explain;
mod extension;
mod halves;
mod join;
mod locks;
mod log_level;
mod logs;
mod metrics;
mod output;
mod pause;
mod progress;
mod proxy;
mod rename;
mod run;
mod show;
mod stages;
mod status;
mod supervise;
mod upgrade;
mod version;
mod watchdog;
mod workload;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use muster_common::{
    build_info, clock,
    error_chain::Chain,
    telemetry::{self, Format},
};

use crate::{
    config::{Config, Error},
    state_dir::StateDir,
};
use exit::Failure;
use output::Output;

/// Of this program.
const NAME: &str = "muster-node-agent";

/// What `--verbose` tells.
const VERBOSE: &str = "debug,h2=info,hyper=info,tower=info";

/// Heading of the flags that all commands have.
const COMMON: &str = "Common options";

/// Muster's node agent: keeps this host in the state its control plane wants.
#[derive(Debug, Parser)]
#[command(name = NAME, version = build_info::version(), propagate_version = true, after_long_help = exit::help())]
struct Cli {
    /// Configuration file; /etc/muster/node-agent.toml by default, which need not exist.
    #[arg(long, global = true, value_name = "FILE", help_heading = COMMON)]
    config: Option<PathBuf>,
    /// Answer as one JSON object on standard output, errors too.
    #[arg(long, global = true, help_heading = COMMON)]
    json: bool,
    /// No colour, also where a terminal is; so does NO_COLOR in the environment.
    #[arg(long, global = true, help_heading = COMMON)]
    no_color: bool,
    /// Tell on standard error what the parts of the program do. For `run`: see the option log-level.
    #[arg(long, short, global = true, help_heading = COMMON)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring this host into a fleet.
    Connect(connect::Args),
    /// Run the agent: in its fleet whenever this host has an identity, waiting for one otherwise.
    Run(run::Args),
    /// Tell what this host is and how its agent stands.
    Show(show::Args),
    /// Look at the way to the control plane, step by step. An open session stays as it is.
    Check(check::Args),
    /// Tell where each item (settings, a bundle) stands on this host and why, without the agent
    /// and without network.
    Explain(explain::Args),
    /// Tell how the agent stands; the exit status is for health checkers.
    Status(status::Args),
    /// Tell how the agent stands as numbers, in the format of OpenMetrics.
    Metrics,
    /// Tell which extensions this host has, and take them away.
    Extension(extension::Args),
    /// Hold back changes and commands of the control plane, for a time or until `resume`.
    Pause(pause::Args),
    /// End a pause: what rested goes on.
    Resume,
    /// Change how much the running agent logs.
    LogLevel(log_level::Args),
    /// Tell and change the settings of this host, take changes back.
    Config(config::Args),
    /// Tell what this host's lock file allows, and whether a new one could be put in place.
    Locks(locks::Args),
    /// Give this node another display name. Everything goes on as it was.
    Rename(rename::Args),
    /// Take this host out of its fleet. Files that bundles brought stay as they are.
    Disconnect(disconnect::Args),
    /// Collect logs and state into one archive, for whoever looks into a problem; credentials
    /// are taken out.
    Logs(logs::Args),
    /// Give the agent's service a proxy, take it away, or tell which one is used.
    Proxy(proxy::Args),
    /// Bring this host's agent to another version; it returns to the one before by itself if
    /// the new one does not work. Needs root.
    #[command(disable_version_flag = true)] // it has one of its own
    Upgrade(upgrade::Args),
    /// Get an identity of a program of this host, for scripts: as certificate or as token.
    Workload(workload::Args),
    /// Tell which release this is and which versions of the protocol it speaks.
    Version,
    /// Print the script by which a shell completes this command line.
    Completions(completions::Args),
    /// Write manual pages, for those who make packages.
    #[command(hide = true)]
    Man(completions::ManArgs),
    /// Do what needs root for an agent whose `run` has another user: systemd starts this.
    Executor(executor::Args),
    /// Watch over a script: the agent starts this.
    #[command(hide = true)]
    Supervise(supervise::Args),
    /// Watch over an upgrade of the agent: `upgrade` and the agent start this.
    #[command(hide = true)]
    Watchdog(watchdog::Args),
    /// Become a script: `supervise` starts this.
    #[command(hide = true)]
    BecomeScript,
}

/// What every command but `version` works with.
struct Context {
    config: Config,
    state: StateDir,
    out: Output,
}

impl Context {
    /// To change things.
    fn open(cli: &Cli) -> Result<Self, Failure> {
        let context = Self::look(cli)?;
        let made = StateDir::open(&context.config.state_dir);
        made.map_err(|error| context.unusable(&error))?;
        Ok(context)
    }

    /// From here on works as the owner of the state directory, if root asks: what root
    /// alone may read is read before.
    fn become_owner(&self) -> Result<(), Failure> {
        let path = self.state.path();
        halves::become_owner(path).map_err(|error| {
            Failure::told(exit::STATE, format!("cannot work as the owner of {}: {error}", path.display()))
        })
    }

    /// To look only: nothing is made, changed or locked.
    fn look(cli: &Cli) -> Result<Self, Failure> {
        let config =
            Config::load(cli.config.as_deref()).map_err(|error| Failure::new(exit::CONFIG, &error))?;
        let state = StateDir::at(&config.state_dir);
        Ok(Self { config, state, out: cli.output() })
    }

    /// As `look_past_faults`, for what the agent is asked by its socket: that needs no options.
    fn ask(cli: &Cli) -> Result<Self, Failure> {
        Self::look_past_faults(cli).map(|(context, _)| context)
    }

    /// As `look`, and with a file whose options cannot be used, or that of the host that this
    /// user may not read: without it, and why.
    fn look_past_faults(cli: &Cli) -> Result<(Self, Option<String>), Failure> {
        let read = Config::read(cli.config.as_deref());
        let past = past_faults(read, cli.config.is_some());
        let (config, fault) = past.map_err(|error| Failure::new(exit::CONFIG, &error))?;
        let state = StateDir::at(&config.state_dir);
        Ok((Self { config, state, out: cli.output() }, fault))
    }

    /// As `look_past_faults`, and with a file that is no configuration at all: logs are wanted
    /// most where nothing works.
    fn look_past_everything(cli: &Cli) -> Result<(Self, Option<String>), Failure> {
        let salvaged = match Config::salvage(cli.config.as_deref()) {
            Ok((config, Some(fault))) => Ok((config, Some(Chain(&fault).to_string()))),
            Ok((config, None)) => past_faults(Ok(config), cli.config.is_some()),
            Err(error) => past_faults(Err(error), cli.config.is_some()),
        };
        let (config, fault) = salvaged.map_err(|error| Failure::new(exit::CONFIG, &error))?;
        let state = StateDir::at(&config.state_dir);
        Ok((Self { config, state, out: cli.output() }, fault))
    }

    /// The state directory does not do what it should.
    fn unusable(&self, error: &std::io::Error) -> Failure {
        Failure::told(exit::STATE, format!("cannot use {}: {error}", self.state.path().display()))
    }
}

/// The file as far as it can be used, and why not all of it. One that was `named` may be
/// of another agent than that of the host.
fn past_faults(read: Result<Config, Error>, named: bool) -> Result<(Config, Option<String>), Error> {
    match read {
        Ok(mut config) => {
            let fault = config.check().err().map(|error| Chain(&error).to_string());
            if fault.is_some() {
                config.settings.clear();
            }
            Ok((config, fault))
        }
        Err(error) if !named && error.is_about_rights() => {
            Ok((Config::default(), Some(Chain(&error).to_string())))
        }
        Err(error) => Err(error),
    }
}

impl Cli {
    fn output(&self) -> Output {
        Output::new(self.json, self.no_color, self.verbose)
    }

    fn run(&self) -> Result<(), Failure> {
        if self.verbose && !matches!(self.command, Command::Run(_)) {
            // What `run` logs is an option of the agent.
            telemetry::start(VERBOSE, Format::Text).map_err(|error| Failure::new(exit::INTERNAL, &error))?;
        }
        match &self.command {
            Command::Connect(args) => connect::run(args, &Context::open(self)?),
            Command::Run(args) => run::run(args, Context::open(self)?),
            Command::Check(args) => check::run(args, &Context::look(self)?),
            Command::Status(args) => status::run(args, &Context::ask(self)?),
            Command::Metrics => metrics::run(&Context::ask(self)?),
            Command::Extension(args) => extension::run(args, &Context::ask(self)?),
            Command::Pause(args) => pause::run(args, &Context::ask(self)?),
            Command::Resume => pause::resume(&Context::ask(self)?),
            Command::LogLevel(args) => log_level::run(args, &Context::ask(self)?),
            Command::Show(args) => {
                let (context, fault) = Context::look_past_faults(self)?;
                show::run(args, &context, fault.as_deref())
            }
            Command::Explain(args) => explain::run(args, &Context::look(self)?),
            Command::Config(args) => config::run(args, self),
            Command::Locks(args) => locks::run(args, &Context::look(self)?),
            Command::Rename(args) => rename::run(args, &Context::look(self)?),
            Command::Disconnect(args) => disconnect::run(args, &Context::open(self)?),
            Command::Proxy(args) => proxy::run(args, &Context::look(self)?),
            Command::Upgrade(args) => upgrade::run(args, &Context::look(self)?),
            Command::Watchdog(args) => watchdog::run(args),
            Command::Workload(args) => workload::run(args, &Context::ask(self)?),
            Command::Version => {
                version::run(self.output());
                Ok(())
            }
            Command::Logs(args) => {
                let (context, fault) = Context::look_past_everything(self)?;
                logs::run(args, &context, fault.as_deref())
            }
            Command::Completions(args) => {
                completions::run(args, self.output());
                Ok(())
            }
            Command::Man(args) => completions::man(args),
            Command::Executor(args) => executor::run(args, self.config.as_deref()),
            Command::Supervise(args) => supervise::run(args),
            Command::BecomeScript => Err(supervise::become_script()),
        }
    }
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return misread(&told),
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(cli.output()),
    }
}

/// Help that was asked for, or a command line that cannot be read.
fn misread(told: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|word| word == "--json");
    if !told.use_stderr() || !json {
        let _ = told.print(); // who does not listen does not want to know
        return if told.use_stderr() { ExitCode::from(exit::COMMAND_LINE.number) } else { ExitCode::SUCCESS };
    }
    let cause = told.to_string();
    let cause = cause.trim().trim_start_matches("error: ").to_owned();
    Failure::told(exit::COMMAND_LINE, cause).tell(Output::new(true, true, false))
}

/// How long a thread for the disk is kept: from one heartbeat to the next.
const KEPT: Duration = Duration::from_secs(30);

/// A runtime with one thread, beside those for the disk.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut one = tokio::runtime::Builder::new_current_thread();
    one.enable_all().thread_keep_alive(KEPT);
    clock::begin(|| one.build())
        .map_err(|error| Failure::told(exit::INTERNAL, format!("cannot start: {error}")))
}

#[cfg(test)]
mod tests {
    use std::io;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_and_flag_fits_the_others() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_hosts_file_that_this_user_may_not_read_is_gone_past_and_no_other() {
        let error = |kind: io::ErrorKind| Error::Read { path: PathBuf::from("x"), source: kind.into() };
        let (config, fault) = past_faults(Err(error(io::ErrorKind::PermissionDenied)), false).unwrap();
        assert_eq!((config, fault.is_some()), (Config::default(), true));
        assert!(past_faults(Err(error(io::ErrorKind::PermissionDenied)), true).is_err(), "it was named");
        assert!(past_faults(Err(error(io::ErrorKind::InvalidData)), false).is_err());
        let settings = [("log-level".to_owned(), "loud".to_owned())].into();
        let (config, fault) = past_faults(Ok(Config { settings, ..Config::default() }), true).unwrap();
        assert!(config.settings.is_empty() && fault.is_some_and(|fault| fault.contains("loud")));
    }
}
