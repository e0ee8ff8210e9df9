//! `ca`: the life of the certificate authority. The same moves as
//! `muster.admin.v1.IdentityService` makes; a serving control plane follows.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use muster_common::{error_chain::Chain, tls::pin};
use muster_domain::authority::{Authority, Holders, Move, Phase, Progress};
use muster_store::{ReadAuthority as _, Store};

use super::{ConfigArg, open_store, stamp};
use crate::{
    app::{
        self,
        authority::{self, Place, Source},
    },
    ca,
    config::Config,
    vault::{KeyFile, Vault},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Slots, phase, and how far the fleet is.
    Status {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Make a new slot, and have every node trust it beside the one that is there.
    Prepare(Prepare),
    /// Issue from the new slot, and have nodes renew.
    Activate(Forced),
    /// Take back `activate`, or `prepare`.
    Rollback(Forced),
    /// End the trust in the old slot, and remove its keys.
    Retire(Forced),
}

#[derive(Debug, clap::Args)]
pub(super) struct Prepare {
    #[command(flatten)]
    config: ConfigArg,
    /// What is made anew.
    #[arg(long, value_enum, default_value = "issuing", conflicts_with_all = ["chain", "key"])]
    scope: ScopeArg,
    /// Chain of another authority: its issuing certificate first, its root last.
    #[arg(long, requires = "key")]
    chain: Option<PathBuf>,
    /// Key of that issuing certificate.
    #[arg(long, requires = "chain")]
    key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Forced {
    #[command(flatten)]
    config: ConfigArg,
    /// Go on although nodes or callers would be lost.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeArg {
    /// An issuing certificate under the root that is there.
    Issuing,
    /// A root, signed by the one before, and an issuing certificate.
    Root,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Status { config } => status(&config.load()?),
        Command::Prepare(args) => {
            let source = match (args.chain, args.key) {
                (Some(chain), Some(key)) => Source::Files { chain, key },
                _ => Source::Own(match args.scope {
                    ScopeArg::Issuing => ca::Scope::Issuing,
                    ScopeArg::Root => ca::Scope::Root,
                }),
            };
            step(&args.config.load()?, Move::Prepare, Some(&source), false)
        }
        Command::Activate(args) => step(&args.config.load()?, Move::Activate, None, args.force),
        Command::Rollback(args) => step(&args.config.load()?, Move::Rollback, None, args.force),
        Command::Retire(args) => step(&args.config.load()?, Move::Retire, None, args.force),
    }
}

fn step(config: &Config, step: Move, source: Option<&Source>, force: bool) -> anyhow::Result<()> {
    let store = open_store(config)?;
    let dir = config.ca_dir();
    let recovers = config.enrollment.recover;
    let file = KeyFile::at(&config.secrets_path());
    let vault = if file.exists()? { file.open()? } else { Vault::locked() };
    let place = Place {
        dir: &dir,
        trust_domain: &config.trust_domain,
        vault: store.is_shared().then_some(&vault),
        recovers,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let stamp = stamp(&format!("authority.{}", step.as_str()));
    let done = runtime.block_on(async {
        match source {
            Some(source) => authority::prepare(&store, place, source, stamp).await,
            None => authority::go(&store, place, step, force, stamp).await,
        }
    });
    drop(runtime);
    let done = match done {
        Ok(_) => print(&store, recovers),
        Err(app::Error::Refused { reason, message }) => bail!("{reason}: {message}"),
        Err(error) => bail!("{}", Chain(&error)),
    };
    store.close_blocking()?;
    done
}

fn status(config: &Config) -> anyhow::Result<()> {
    let store = open_store(config)?;
    let done = print(&store, config.enrollment.recover);
    store.close_blocking()?;
    done
}

fn print(store: &Store, recovers: bool) -> anyhow::Result<()> {
    let (authority, progress) = store.read_blocking(move |tx| {
        let authority = tx.authority_get()?;
        let progress = authority::progress(tx, &authority, recovers)?;
        Ok::<_, muster_store::Error>((authority, progress))
    })?;
    println!("phase\t{}", authority.phase().as_str());
    println!("trust bundle\t{}", authority.bundle_version);
    for slot in &authority.slots {
        let pin = pin::of_certificate(&slot.root_der).map(|pin| pin.to_string()).unwrap_or_default();
        println!(
            "slot {}\t{}\troot of slot {} {pin}\tissues until {}",
            slot.number,
            slot.standing.as_str(),
            slot.root_of,
            slot.not_after
        );
    }
    hint(&authority, &progress);
    Ok(())
}

fn hint(authority: &Authority, progress: &Progress) {
    match authority.phase() {
        Phase::Steady => {}
        Phase::Prepared => {
            println!(
                "next\tactivate, when all have acknowledged: {} of {} connected nodes have not",
                progress.unacknowledged.count, progress.live
            );
            println!("or\trollback: {}", held(&progress.on_next, progress.recovers));
        }
        Phase::Activated => {
            println!(
                "next\tretire, when all have renewed: {}",
                held(&progress.on_previous, progress.recovers)
            );
        }
    }
}

fn held(holders: &Holders, recovers: bool) -> String {
    format!(
        "{} connected nodes and {} callers ({}) hold certificates of that slot; {} that are away {} recover",
        holders.live.count,
        holders.callers.len(),
        holders.callers.join(", "),
        holders.absent.count,
        if recovers { "will" } else { "cannot" },
    )
}
