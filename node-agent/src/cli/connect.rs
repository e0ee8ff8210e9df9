//! `connect`.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{error_chain::Chain, join::JoinString};

use super::{
    Context,
    exit::{self, Failure},
    runtime,
};
use crate::{
    identity::{self, Wish},
    platform::host,
};

/// Longest file that can hold a join string.
const MAX_FILE: u64 = 16 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The join string, as `token create` printed it. Others on this host can see
    /// it here while the command runs; `--join-file` hides it.
    #[arg(required_unless_present = "join_file", conflicts_with = "join_file")]
    join: Option<String>,
    /// File that holds the join string; `-`: standard input.
    #[arg(long, value_name = "FILE")]
    join_file: Option<PathBuf>,
    /// How people are to call this node; the host name by default.
    #[arg(long, default_value = "")]
    display_name: String,
    /// How long to wait for a person to approve this host, if its token asks for that.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let join: JoinString = text(args)?.parse().map_err(|error| Failure::new(exit::JOIN, &error))?;
    let wish = Wish {
        display_name: args.display_name.clone(),
        hostname: host::hostname(),
        machine_fingerprint: host::machine_fingerprint(),
    };
    let store = identity::Store::new(context.state.path());
    eprintln!("connecting to {}", join.addresses.join(", "));
    let connect = identity::enroll_when_approved(&store, &join, &wish, args.wait, |waiting| {
        eprintln!("this host's key is SHA256 {}", waiting.key_sha256);
        if let Some(pause) = waiting.pause {
            eprintln!("  {}; asking again in {pause:.0?}", Chain(waiting.why));
        }
    });
    let identity = runtime()?.block_on(connect)?;
    println!("{}", identity.node);
    eprintln!(
        "this host is node {} of {}; `muster-node-agent run` keeps it there",
        identity.node, identity.trust_domain
    );
    Ok(())
}

fn text(args: &Args) -> Result<String, Failure> {
    let Some(path) = &args.join_file else { return Ok(args.join.clone().unwrap_or_default()) };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::told(exit::JOIN, format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}
