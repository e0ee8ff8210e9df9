//! From the configuration to the options of the store.

use anyhow::Context as _;
use muster_store::Options;

use crate::config::{Config, Store};

/// The store of this installation, as this replica or as who else opens it.
///
/// # Errors
/// If the URL is none, or the password cannot be read.
pub fn options(config: &Config, replica: &str) -> anyhow::Result<Options> {
    with(&config.store_url(), &config.store, replica)
}

/// A store at another URL, with the limits of this one.
///
/// # Errors
/// If the URL is none, or the password cannot be read.
pub fn with(url: &str, section: &Store, replica: &str) -> anyhow::Result<Options> {
    let parsed: Options = url.parse().context("cannot use store.url")?;
    let mut options = parsed.with_replica(replica);
    options.readers = section.readers;
    options.busy_timeout = section.lock_timeout;
    options.statement_timeout = section.statement_timeout;
    options.failover_within = section.failover_within;
    let password = section.password().context("cannot read store.password-file")?;
    Ok(match password {
        Some(password) => options.with_password(&password),
        None => options,
    })
}
