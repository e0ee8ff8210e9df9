//! The key that signs the audit: there from the first start on.

use anyhow::Context as _;
use muster_common::clock::Clock;
use muster_domain::audit::{Filter, Stamp, checkpoint::Rhythm};
use muster_store::{ReadAudit as _, Store};

use crate::{
    app::audit::{Signer, key_note},
    ca::audit_key::AuditKey,
    config::Config,
};

/// Opens the key; an installation that has none gets one, and the audit says so.
pub(super) async fn signer(config: &Config, store: &Store, clock: &Clock) -> anyhow::Result<Signer> {
    let key = AuditKey::open_or_create(&config.ca_dir()).context("cannot use the key of the audit")?;
    let note = key_note(&key);
    let stamp = Stamp {
        actor: format!("control-plane/{}", config.replica),
        action: "audit.create-key".to_owned(),
        at: clock.now(),
        remote_address: String::new(),
        trace_id: String::new(),
    };
    let told = Filter { subject: note.subject.clone(), ..Filter::default() };
    // Asked of the store, not of the file: the last start may have died between the two.
    let is_told = store.read::<_, muster_store::Error, _>(move |tx| tx.audit_after(0, &told, 1)).await?;
    if is_told.is_empty() {
        store.write::<_, muster_store::Error, _>(stamp, move |tx| tx.audit(note.clone())).await?;
        tracing::info!(key = %key.id(), "the audit is signed with key {} from now on", key.id());
    }
    let rhythm =
        Rhythm { entries: config.audit.checkpoint_every_entries, time: config.audit.checkpoint_every };
    Ok(Signer::new(key, rhythm))
}
