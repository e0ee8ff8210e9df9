//! The issuers of programs' identities: there from the first start on.

use std::sync::Arc;

use anyhow::Context as _;
use muster_common::clock::Clock;
use muster_domain::audit::Stamp;
use muster_store::Store;

use crate::{app::workloads, ca::workload::Issuers, config::Config, console::Published, vault::Vault};

/// Opens them; an installation that has none gets one.
pub(super) async fn open(
    config: &Config,
    store: &Store,
    vault: &Vault,
    clock: &Clock,
) -> anyhow::Result<Arc<Issuers>> {
    let stamp = Stamp {
        actor: format!("control-plane/{}", config.replica),
        action: "workload.create-issuer".to_owned(),
        at: clock.now(),
        remote_address: String::new(),
        trace_id: String::new(),
    };
    let (dir, rules) = (config.ca_dir(), config.workload.rules());
    let issuers = workloads::open(store, vault, &dir, &config.trust_domain, rules, stamp).await;
    Ok(Arc::new(issuers.context("cannot use the issuers of programs' identities")?))
}

/// What the console says of them.
pub(super) fn published(config: &Config, issuers: &Arc<Issuers>) -> Published {
    Published {
        workloads: config.workload.enabled.then(|| Arc::clone(issuers)),
        fresh_for: config.workload.bundle_refresh,
    }
}
