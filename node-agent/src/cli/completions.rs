//! `completions` and `man`: made from the same definitions as the command line itself.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::{
    Cli, NAME,
    exit::{self, Failure},
    output::Output,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For which shell.
    shell: Shell,
}

/// Prints what the shell is to read.
pub(super) fn run(args: &Args, out: Output) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    if out.is_json() {
        out.document("completions/1", &json!({ "shell": args.shell.to_string(), "script": script }));
    } else {
        out.line(script.trim_end());
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Folder in which the pages are written, one for each command; it must be there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes the manual pages.
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    clap_mangen::generate_to(Cli::command(), &args.out).map_err(|error| {
        Failure::told(exit::OUTPUT, format!("cannot write manual pages to {}: {error}", args.out.display()))
    })
}
