//! `watchdog`: drives an upgrade of the agent to its end. Not for people.

use std::path::PathBuf;

use muster_common::{clock::Clock, telemetry};

use super::exit::{self, Failure};
use crate::upgrader::{record::Folder, watch};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the plan is.
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    telemetry::start("info", telemetry::Format::Text)
        .map_err(|error| Failure::new(exit::INTERNAL, &error))?;
    watch(&Folder::at(&args.folder), Clock::System).map(drop).map_err(|error| {
        let folder = args.folder.display();
        Failure::told(exit::INTERNAL, format!("cannot go on with the upgrade in {folder}: {error}"))
    })
}
