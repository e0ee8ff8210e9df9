//! `token`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Subcommand;
use muster_common::{clock::Clock, digest::Sha256, ids::JoinTokenId, join::JoinString};
use muster_domain::{
    audit::Note,
    join_token::{JoinToken, Terms, check_description},
    labels::{Labels, check_labels},
    page::Page,
    requestable::Requestable,
    violation::Violation,
};
use muster_store::{ReadJoinTokens as _, WriteJoinTokens as _};

use super::{ConfigArg, open_ca, open_store, stamp};
use crate::config::{Addresses, Config};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token; prints its join string, this one time.
    Create(Create),
    /// All tokens, without their secrets.
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// End a token; nodes that came with it stay.
    Revoke {
        #[command(flatten)]
        config: ConfigArg,
        /// Id of the token.
        id: JoinTokenId,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    config: ConfigArg,
    /// How long it can be used.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// How many hosts can use it.
    #[arg(long, default_value_t = 1)]
    uses: i32,
    /// Label for its nodes, KEY=VALUE; repeat for more.
    #[arg(long = "label", value_parser = label)]
    labels: Vec<(String, String)>,
    /// For people.
    #[arg(long, default_value = "")]
    description: String,
    /// Network from which it can be used; repeat for more.
    #[arg(long = "cidr")]
    cidrs: Vec<String>,
    /// Each host waits until a person says yes (JoinTokensService.ApproveJoinRequest).
    #[arg(long)]
    require_approval: bool,
    /// Label that its hosts may ask for with `connect --labels`: KEY for any value, KEY=VALUE
    /// for that one, KEY=START* for those that start so; repeat for more.
    #[arg(long = "requestable-label", value_name = "KEY[=VALUE]")]
    requestable: Vec<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args),
        Command::List { config } => list(&config.load()?),
        Command::Revoke { config, id } => revoke(&config.load()?, id),
    }
}

fn create(args: Create) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let now = Clock::System.now();
    let labels: Labels = args.labels.into_iter().collect();
    check_labels(&labels)?;
    check_description(&args.description).map_err(|violation| anyhow::anyhow!(violation.description))?;
    let told = |violation: Violation| anyhow::anyhow!("{}: {}", violation.field, violation.description);
    let terms = Terms::check(now, args.uses, Some(args.ttl), &args.cidrs).map_err(told)?;
    let requestable = Requestable::read("requestable-label", &args.requestable).map_err(told)?;
    let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let token = JoinToken {
        id: JoinTokenId::generate(),
        description: args.description,
        secret_sha256: Sha256::of(secret.as_bytes()).as_bytes().to_vec(),
        labels,
        max_uses: terms.max_uses,
        uses: 0,
        created_at: now,
        expires_at: terms.expires_at,
        revoked_at: None,
        allowed: terms.allowed,
        require_approval: args.require_approval,
        requestable,
    };
    let store = open_store(&config)?;
    let ca_pin = open_ca(&config, &store)?.pin();
    let join = JoinString { addresses: addresses(&config)?, ca_pin, secret };
    store.write_blocking(stamp("join-tokens.create"), move |tx| {
        tx.join_token_insert(&token)?;
        tx.audit(Note {
            subject: format!("join-token/{}", token.id),
            after: serde_json::json!({
                "labels": token.labels, "max_uses": token.max_uses, "require_approval": token.require_approval,
                "requestable_labels": token.requestable.written(),
            })
            .to_string(),
            ..Note::default()
        })
    })?;
    store.close_blocking()?;
    println!("{join}");
    eprintln!("on the host, with that line in a file:");
    eprintln!("  muster-node-agent connect --join-file FILE");
    Ok(())
}

/// Where hosts find the enrollment port.
fn addresses(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut bound = config.listen.enrollment;
    if bound.port() == 0 && config.public.enrollment_addresses.is_empty() {
        let told = Addresses::read(&config.state_dir);
        bound =
            told.context("the port of enrollment is chosen by the system: start `serve` first")?.enrollment;
    }
    Ok(config.told(&config.public.enrollment_addresses, bound))
}

fn list(config: &Config) -> anyhow::Result<()> {
    let store = open_store(config)?;
    let mut page = Page { size: 1000, after: None };
    loop {
        let asked = page.clone();
        let listed = store.read_blocking(move |tx| tx.join_token_list(&asked))?;
        for token in listed.rows {
            let end = if token.revoked_at.is_some() { "revoked" } else { "" };
            println!(
                "{}\t{}/{}\t{}\t{}\t{end}",
                token.id, token.uses, token.max_uses, token.expires_at, token.description
            );
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return Ok(()),
        }
    }
}

fn revoke(config: &Config, id: JoinTokenId) -> anyhow::Result<()> {
    let store = open_store(config)?;
    let found = store.write_blocking(stamp("join-tokens.revoke"), move |tx| {
        let found = tx.join_token_get(id)?.is_some();
        if found {
            tx.join_token_revoke(id, Clock::System.now())?;
            tx.audit(Note { subject: format!("join-token/{id}"), ..Note::default() })?;
        }
        Ok::<_, muster_store::Error>(found)
    })?;
    store.close_blocking()?;
    if !found.value {
        bail!("join token {id} does not exist");
    }
    Ok(())
}
