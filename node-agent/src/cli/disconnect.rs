//! `disconnect`: takes this host out of its fleet, and says what stays on it.

use std::time::Duration;

use muster_common::{ids::NodeId, reason::Reason};
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    halves,
    output::Output,
    runtime,
    stages::Stages,
};
use crate::{
    applier::explain,
    dial::Dialer,
    identity::{self, Identity, Store},
    locks::Locks,
    platform::packages,
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
    // What only root may read first; the store is its owner's.
    let locks = Locks::load(&context.config.locks_file).unwrap_or_default();
    let dialer = Dialer::fixed(context.proxies());
    context.become_owner()?;
    let Some(identity) = Store::new(context.state.path()).load()? else { return go_on(args, context) };
    let left = left(context, &identity, &locks);
    let mut stages = Stages::new(context.out, "disconnect/1", args.time_limit);
    let told = runtime()?.block_on(disconnect(args, context, &identity, dialer, &mut stages));
    let told = told.map_err(|failure| stages.failed(failure))?;
    let out = context.out;
    if out.is_json() {
        let node = identity.node;
        let next = packages::removal();
        stages.document(
            json!({ "node-id": node, "control-plane-told": told, "left-on-host": left, "next": next }),
        );
        return Ok(());
    }
    out.line(&identity.node);
    out.note("this host is in no fleet any more; files that bundles brought stay as they are:");
    for what in left {
        out.note(&format!("  {what}"));
    }
    tell_next(out);
    Ok(())
}

/// What is left to do for one who wants the agent gone, too.
fn tell_next(out: Output) {
    if let Some(next) = packages::removal() {
        out.note(&format!("the agent waits for another fleet; to remove it, too: {next}"));
    }
}

/// One that was cut when the identity was gone already: what is left is cleared away.
fn go_on(args: &Args, context: &Context) -> Result<(), Failure> {
    let nodes = context.state.nodes().map_err(|error| context.unusable(&error))?;
    let Some(last) = nodes.last().copied() else { return Err(identity::Error::None.into()) };
    let mut stages = Stages::new(context.out, "disconnect/1", args.time_limit);
    for over in ["control-plane", "identity"] {
        stages.skip(over, "there is no identity any more");
    }
    let runtime = runtime()?;
    for node in nodes {
        let cleared = runtime.block_on(stages.stage("state", Box::pin(clear(context, node))));
        cleared.map_err(|failure| stages.failed(failure))?;
    }
    if context.out.is_json() {
        let left: [String; 0] = [];
        let next = packages::removal();
        stages.document(
            json!({ "node-id": last, "control-plane-told": null, "left-on-host": left, "next": next }),
        );
    } else {
        context.out.line(&last);
        tell_next(context.out);
    }
    Ok(())
}

/// Answers whether the control plane knows.
async fn disconnect(
    args: &Args,
    context: &Context,
    identity: &Identity,
    dialer: Dialer,
    stages: &mut Stages,
) -> Result<bool, Failure> {
    if args.local_only {
        stages.skip("control-plane", "not told; it sees this node as offline until an operator deletes it");
    } else {
        stages.stage("control-plane", leave(identity, dialer)).await?;
    }
    let forget = async {
        Store::new(context.state.path()).forget(identity.node)?;
        Ok(((), "key and certificate are gone".to_owned()))
    };
    stages.stage("identity", forget).await?;
    stages.stage("state", Box::pin(clear(context, identity.node))).await?;
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
async fn clear(context: &Context, node: NodeId) -> Result<((), String), Failure> {
    match context.state.lock().map_err(|error| context.unusable(&error))? {
        Some(_nobody_runs) => {
            let hands = halves::hands();
            let forgotten = wiring::forget(&context.config, &context.state, node, &hands);
            forgotten.await.map_err(|error| Failure::new(exit::STATE, &error))?;
            Ok(((), "ledger and records of items are gone".to_owned()))
        }
        None => Ok(((), "the running agent clears up by itself".to_owned())),
    }
}

/// What stays on the host: what bundles brought, and what belongs to the agent itself.
fn left(context: &Context, identity: &Identity, locks: &Locks) -> Vec<String> {
    let items = explain::explain(&context.state.node(identity.node).join("items"), locks);
    let items = items.unwrap_or_default().into_iter().filter(|item| item.item != "settings");
    let files = [&context.config.path, &context.config.locks_file];
    let files = files.into_iter().filter(|path| path.exists()).map(|path| path.display().to_string());
    let state = context.state.path().display().to_string();
    items.map(|item| format!("files of {}", item.item)).chain(files).chain([state]).collect()
}
