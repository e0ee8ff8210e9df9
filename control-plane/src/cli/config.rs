//! `config`.

use clap::Subcommand;

use super::ConfigArg;
use crate::{config::render, wiring};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether the file can be used, and everything that is wrong with it.
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Print what is in effect, defaults included.
    Print {
        #[command(flatten)]
        config: ConfigArg,
    },
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Check { config } => {
            wiring::store::options(&config.load()?, "cli")?;
            println!("{} can be used", config.config.display());
        }
        Command::Print { config } => print!("{}", render(&config.load()?)),
    }
    Ok(())
}
