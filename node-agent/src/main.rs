//! `muster-node-agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_node_agent::cli::main()
}
