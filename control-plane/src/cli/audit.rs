//! `audit`.

mod export;
mod verify;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Walk every chain with its signatures and tell the first record that does not hold.
    Verify(verify::Args),
    /// Write entries and checkpoints as lines of JSON, to be kept and checked elsewhere.
    Export(export::Args),
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Verify(args) => verify::run(args),
        Command::Export(args) => export::run(args),
    }
}
