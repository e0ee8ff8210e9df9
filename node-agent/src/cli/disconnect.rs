//! `disconnect`: takes this host out of its fleet, and says what stays on it.

use std::time::Duration;

use muster_common::reason::Reason;
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    halves, runtime,
    stages::Stages,
};
use crate::{
    applier::explain,
    dial::Dialer,
    identity::{self, Identity, Store},
    locks::Locks,
    wiring,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Forget the identity without telling the control plane: it will see this
    /// node as offline until an operator deletes it.
    #[arg(long)]
    local_only: bool,
    /// How long all of it may take.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    time_limit: Duration,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let identity = Store::new(context.state.path()).load()?.ok_or(identity::Error::None)?;
    let left = left(context, &identity);
    let mut stages = Stages::new(context.out, "disconnect/1", args.time_limit);
    let told = runtime()?.block_on(disconnect(args, context, &identity, &mut stages));
    let told = told.map_err(|failure| stages.failed(failure))?;
    let out = context.out;
    if out.is_json() {
        let node = identity.node;
        stages.document(json!({ "node-id": node, "control-plane-told": told, "left-on-host": left }));
        return Ok(());
    }
    out.line(&identity.node);
    out.note("this host is in no fleet any more; files that bundles brought stay as they are:");
    for what in left {
        out.note(&format!("  {what}"));
    }
    Ok(())
}

/// Answers whether the control plane knows.
async fn disconnect(
    args: &Args,
    context: &Context,
    identity: &Identity,
    stages: &mut Stages,
) -> Result<bool, Failure> {
    if args.local_only {
        stages.skip("control-plane", "not told; it sees this node as offline until an operator deletes it");
    } else {
        stages.stage("control-plane", leave(identity, Dialer::fixed(context.proxies()))).await?;
    }
    let forget = async {
        Store::new(context.state.path()).forget(identity.node)?;
        Ok(((), "key and certificate are gone".to_owned()))
    };
    stages.stage("identity", forget).await?;
    stages.stage("state", clear(context, identity)).await?;
    Ok(!args.local_only)
}

async fn leave(identity: &Identity, dialer: Dialer) -> Result<((), String), Failure> {
    match identity::leave(identity, "disconnected on the host", &dialer).await {
        Ok(()) => Ok(((), "the node is removed there".to_owned())),
        // What is left to do is to forget.
        Err(error) if error.reason() == Some(Reason::NodeRemoved) => {
            Ok(((), "the node had been removed there already".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// A running agent sees that its identity is gone and clears up by itself.
async fn clear(context: &Context, identity: &Identity) -> Result<((), String), Failure> {
    match context.state.lock().map_err(|error| context.unusable(&error))? {
        Some(_nobody_runs) => {
            let hands = halves::hands();
            let forgotten = wiring::forget(&context.config, &context.state, identity.node, &hands);
            forgotten.await.map_err(|error| Failure::new(exit::STATE, &error))?;
            Ok(((), "ledger and records of items are gone".to_owned()))
        }
        None => Ok(((), "the running agent clears up by itself".to_owned())),
    }
}

/// What stays on the host: what bundles brought, and what belongs to the agent itself.
fn left(context: &Context, identity: &Identity) -> Vec<String> {
    let locks = Locks::load(&context.config.locks_file).unwrap_or_default();
    let items = explain::explain(&context.state.node(identity.node).join("items"), &locks);
    let items = items.unwrap_or_default().into_iter().filter(|item| item.item != "settings");
    let files = [&context.config.path, &context.config.locks_file];
    let files = files.into_iter().filter(|path| path.exists()).map(|path| path.display().to_string());
    let state = context.state.path().display().to_string();
    items.map(|item| format!("files of {}", item.item)).chain(files).chain([state]).collect()
}
