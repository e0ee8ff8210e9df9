//! `rename`.

use serde_json::json;

use super::{Context, exit::Failure, runtime};
use crate::{
    dial::Dialer,
    identity::{self, Store},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The new name: 1 to 128 characters. It may be another node's, too.
    name: String,
}

/// The control plane tells a running agent by itself; what runs goes on.
pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let identity = Store::new(context.state.path()).load()?.ok_or(identity::Error::None)?;
    let dialer = Dialer::fixed(context.proxies());
    let name = runtime()?.block_on(identity::rename(&identity, &args.name, &dialer))?;
    if context.out.is_json() {
        let renamed = json!({ "node-id": identity.node, "display-name": name });
        context.out.document("rename/1", &renamed);
    } else {
        context.out.line(&name);
    }
    Ok(())
}
