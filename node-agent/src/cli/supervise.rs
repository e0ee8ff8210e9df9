//! `supervise` and `become-script`: what the agent starts for a script. Not for people.

use std::path::PathBuf;

use super::{
    exit::{self, Failure},
    runtime,
};
use crate::platform::supervise;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the script's order is.
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let ended = runtime()?.block_on(supervise::supervise(&args.folder));
    ended.map_err(|error| {
        let folder = args.folder.display();
        Failure::told(exit::INTERNAL, format!("cannot watch over the script in {folder}: {error}"))
    })
}

pub(super) fn become_script() -> Failure {
    let error = supervise::become_script();
    Failure::told(exit::INTERNAL, error.to_string())
}
