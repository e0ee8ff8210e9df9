//! `muster-repository`: makes and signs the repository from which hosts take extensions and
//! releases. It works on a folder that any web server can serve as it is, and speaks to
//! nobody. The keys are elsewhere, in folders that are named where they are needed.
#![allow(clippy::print_stdout)] // it is a command

mod add;
mod cli;
mod folder;
mod init;
mod keys;
mod rotate;
mod sign;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            // With its causes: each says what the one before tried.
            let error = format!("{error:#}");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("error: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}
