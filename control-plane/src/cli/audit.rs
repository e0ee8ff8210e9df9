//! `audit`.

use anyhow::bail;
use clap::Subcommand;
use muster_store::ReadAudit as _;

use super::{ConfigArg, open_store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Walk every chain and tell the first entry that does not fit.
    Verify {
        #[command(flatten)]
        config: ConfigArg,
    },
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Verify { config } = command;
    let store = open_store(&config.load()?)?;
    for replica in store.read_blocking(|tx| tx.audit_replicas())? {
        let chain = replica.clone();
        match store.read_blocking(move |tx| tx.audit_verify(&chain))? {
            None => println!("{replica}: every entry fits the one before"),
            Some(seq) => bail!("the audit of {replica} was changed: entry {seq} does not fit the one before"),
        }
    }
    Ok(())
}
