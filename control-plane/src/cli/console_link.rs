//! `console-link`: lets a browser into the fleet console of this host, or has one go.

use std::time::Duration;

use anyhow::{Context as _, bail};
use muster_common::clock::Clock;
use muster_domain::{access::Role, audit::Note};
use serde_json::json;

use super::{ConfigArg, open_store, operator::role, stamp};
use crate::{
    config::{Addresses, Config},
    fleet_console::links::Links,
};

/// Longest that a link may wait.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// What whoever uses it may see, as an operator with this role: viewer; security-admin
    /// sees the audit, too. Nothing can be changed in any role.
    #[arg(long, default_value = "viewer", value_parser = role)]
    role: Role,
    /// How long the link can be used; at most 1h.
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Ends the link with this name, as the audit has it, and whoever came by it.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["role", "ttl", "end_all"])]
    end: Option<String>,
    /// Ends all links of this host, and all who came by one.
    #[arg(long, conflicts_with_all = ["role", "ttl"])]
    end_all: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if args.end.is_some() || args.end_all {
        return end(args);
    }
    if args.ttl > LONGEST {
        bail!("--ttl is {}; a link can wait for 1h at most", humantime::format_duration(args.ttl));
    }
    let config = args.config.load()?;
    let address = address(&config)?;
    let (store, now) = (open_store(&config)?, Clock::System.now());
    let until = now + args.ttl;
    let made = Links::at(&config.state_dir).make(args.role, now, until)?;
    let (subject, role) = (format!("console-link/{}", made.name), args.role.as_str());
    store.write_blocking(stamp("console-links.create"), move |tx| {
        let after = json!({ "role": role, "until": until }).to_string();
        tx.audit(Note { subject: subject.clone(), after, ..Note::default() })
    })?;
    store.close_blocking()?;
    println!("https://{address}/link/{}", made.secret);
    eprintln!("one browser can use it, once, within {}", humantime::format_duration(args.ttl));
    Ok(())
}

/// `serve` sees it within a second or so.
fn end(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let only = args.end.as_deref().map(|name| name.strip_prefix("console-link/").unwrap_or(name));
    let store = open_store(&config)?;
    let ended = Links::at(&config.state_dir).end(only, Clock::System.now());
    let ended = ended.context("there is no fleet console, or its links cannot be removed")?;
    if let (Some(name), true) = (only, ended.is_empty()) {
        bail!("there is no link {name:?} on this host, and nobody who came by one of that name");
    }
    for name in &ended {
        let subject = format!("console-link/{name}");
        store.write_blocking(stamp("console-links.end"), move |tx| {
            tx.audit(Note { subject: subject.clone(), ..Note::default() })
        })?;
        println!("{name}");
    }
    store.close_blocking()?;
    eprintln!("{} ended", ended.len());
    Ok(())
}

/// Where browsers find the fleet console of this host.
fn address(config: &Config) -> anyhow::Result<String> {
    let Some(mut bound) = config.fleet_console.listen else {
        bail!("there is no fleet console: set listen in [fleet-console] and start `serve` anew");
    };
    if bound.port() == 0 {
        let told = Addresses::read(&config.state_dir).ok().and_then(|told| told.fleet_console);
        bound = told.context("the port is chosen by the system: start `serve` first")?;
    }
    Ok(config.told(&[], bound).remove(0))
}
