//! `disconnect`.

use super::{
    Context,
    exit::{self, Failure},
    runtime,
};
use crate::{
    identity::{self, Store},
    wiring,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Forget the identity without telling the control plane: it will see this
    /// node as offline until an operator deletes it.
    #[arg(long)]
    local_only: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let store = Store::new(context.state.path());
    let identity = store.load()?.ok_or(identity::Error::None)?;
    if !args.local_only {
        runtime()?.block_on(identity::leave(&identity, "disconnected on the host")).or_else(|error| {
            match error.reason() {
                // It has been removed there already: what is left to do is to forget.
                Some(muster_common::reason::Reason::NodeRemoved) => Ok(()),
                _ => Err(error),
            }
        })?;
    }
    store.forget(identity.node)?;
    forget_node(context, &identity)?;
    println!("{}", identity.node);
    eprintln!("this host is in no fleet any more; files that bundles brought stay as they are");
    Ok(())
}

/// A running agent sees that its identity is gone and clears up by itself.
fn forget_node(context: &Context, identity: &identity::Identity) -> Result<(), Failure> {
    let unusable =
        |error| Failure::told(exit::STATE, format!("cannot use {}: {error}", context.state.path().display()));
    match context.state.lock().map_err(unusable)? {
        Some(_nobody_runs) => {
            let forgotten = wiring::forget(&context.config, &context.state, identity.node);
            runtime()?.block_on(forgotten).map_err(|error| Failure::new(exit::STATE, &error))
        }
        None => Ok(()),
    }
}
