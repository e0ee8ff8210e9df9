//! `extension`.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{clock::Clock, reason::Reason};
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    output::Output,
    runtime,
    status::{said, time},
};
use crate::{
    extensions::PREFIX,
    local_api::{
        client::{Client, Error},
        status::{Item, Status},
    },
    state::Outcome,
};

/// Between looks whether it is gone.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Tell which extensions this host has, and how they stand.
    List,
    /// Take an extension off this host: disable it, uninstall it, delete its files. Everything
    /// else goes on. The control plane is told, and another version brings it again.
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// Which, as `extension list` says.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    name: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// For all of it.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    time_limit: Duration,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    match &args.what {
        What::List => list(context),
        What::Remove(remove) => runtime()?.block_on(take_away(remove, context)),
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let status = runtime()?.block_on(async {
        let mut client = Client::connect(&context.config.sockets()).await?;
        client.status().await
    });
    let status = status.map_err(|error| said(&error))?;
    let extensions = extensions(&status);
    let out = context.out;
    if out.is_json() {
        out.document("extension-list/1", &json!({ "extensions": extensions }));
        return Ok(());
    }
    if extensions.is_empty() {
        out.line("this host has no extensions");
    }
    for item in extensions {
        tell(item, out);
    }
    Ok(())
}

fn tell(item: &Item, out: Output) {
    let name = name(item);
    let running = if item.running.is_empty() { "nothing" } else { item.running.as_str() };
    out.line(&format!("{name}: {running} runs, {:?} since {}", item.outcome, time(item.changed_at)));
    if let Some(reason) = item.reason {
        out.line(&format!("  {}: {reason}: {}", item.attempted, item.message));
    }
}

async fn take_away(args: &Remove, context: &Context) -> Result<(), Failure> {
    let mut client = Client::connect(&context.config.sockets()).await.map_err(|error| said(&error))?;
    let status = client.status().await.map_err(|error| said(&error))?;
    // What was broken before is no answer to this.
    let before: BTreeMap<_, _> =
        extensions(&status).into_iter().map(|item| (name(item).to_owned(), item.changed_at)).collect();
    let names = match &args.name {
        Some(name) => vec![name.strip_prefix(PREFIX).unwrap_or(name).to_owned()],
        None => extensions(&status)
            .into_iter()
            .filter(|item| is_here(item))
            .map(|item| name(item).to_owned())
            .collect(),
    };
    for name in &names {
        match client.remove_extension(name.clone()).await {
            // What the control plane took away meanwhile is gone, and that was all that was asked for.
            Err(error) if args.all && is_unknown(&error) => {}
            asked => asked.map_err(|error| unknown(&error))?,
        }
    }
    let until = Clock::System.monotonic() + args.time_limit;
    let (mut left, mut status) = (names.clone(), status);
    while !left.is_empty() {
        status = client.status().await.map_err(|error| said(&error))?;
        left.retain(|left| extensions(&status).iter().any(|item| name(item) == left && is_here(item)));
        let stuck = extensions(&status).into_iter().find(|item| {
            item.outcome == Outcome::Broken
                && before.get(name(item)) != Some(&item.changed_at)
                && left.iter().any(|left| left == name(item))
        });
        if let Some(stuck) = stuck {
            return Err(Failure::told(exit::NOT_REMOVED, format!("{}: {}", stuck.item, stuck.message)));
        }
        if !left.is_empty() && Clock::System.monotonic() >= until {
            let message = format!("{} is still being removed; the agent goes on", left.join(", "));
            return Err(Failure::told(exit::TIME_LIMIT, message));
        }
        tokio::time::sleep(if left.is_empty() { Duration::ZERO } else { LOOK }).await;
    }
    let here = extensions(&status).into_iter().filter(|item| is_here(item)).map(name);
    tell_removed(&names, &here.map(str::to_owned).collect::<Vec<_>>(), context.out);
    Ok(())
}

/// What was removed, what of its kind is left, and how one who wants the agent gone goes on.
fn tell_removed(removed: &[String], left: &[String], out: Output) {
    let next = if left.is_empty() {
        "muster-node-agent disconnect"
    } else {
        "muster-node-agent extension remove --all"
    };
    if out.is_json() {
        out.document("extension-remove/1", &json!({ "removed": removed, "left": left, "next": next }));
        return;
    }
    match removed {
        [] => out.line("this host has no extensions"),
        [one] => out.line(&format!("{one} was removed; another version brings it again")),
        all => out.line(&format!("{} were removed; other versions bring them again", all.join(", "))),
    }
    if left.is_empty() {
        out.note(&format!("no extension is left; to take this host out of its fleet, too: {next}"));
    } else {
        out.note(&format!("left on this host: {}; to remove them, too: {next}", left.join(", ")));
    }
}

fn extensions(status: &Status) -> Vec<&Item> {
    status.items.iter().filter(|item| item.item.starts_with(PREFIX)).collect()
}

fn name(item: &Item) -> &str {
    item.item.strip_prefix(PREFIX).unwrap_or(&item.item)
}

fn is_here(item: &Item) -> bool {
    !item.running.is_empty() || item.outcome == Outcome::Broken
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Refused { reason: Some(Reason::NotFound), .. })
}

fn unknown(error: &Error) -> Failure {
    match error {
        Error::Refused { reason: Some(Reason::NotFound), message } => {
            Failure::told(exit::EXTENSION, message.clone()).because(Some(Reason::NotFound))
        }
        other => said(other),
    }
}
