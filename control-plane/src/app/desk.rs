//! What a node should get, as its session asks for it.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use muster_common::{clock::UnixMillis, reason::Reason};
use muster_domain::{command, effective, item::ItemName};

use super::{
    App,
    catalog::Wanted,
    fleet::{Entry, OpenTicket},
    operations::OpenOperation,
};
use crate::session::{
    frames::{Desired, Removal, Ticket, Trust, TrustBundle, Tune, Upsert},
    hub::Handle,
    ports::Desk,
};

/// Output a host may send of one command before the first acknowledgement.
pub const OUTPUT_CREDIT: u32 = 64 * 1024;

/// An agent with this capability can do all that a bundle may ask for: nothing has to be decoded.
const NEWEST: &str = muster_domain::bundle::THIRD;

impl Desk for App {
    fn desired(&self, session: &Handle) -> Desired {
        let look = |entry: parking_lot::MutexGuard<'_, Entry>| {
            let quarantined = entry.node.quarantine.is_some();
            (entry.is_live(session.id()) && !quarantined).then(|| self.difference(&entry))
        };
        let mut desired = self.fleet.with(session.node(), look).flatten().unwrap_or_default();
        self.items_given(session.node(), &mut desired);
        desired
    }

    fn tickets(&self, session: &Handle) -> Vec<Ticket> {
        let take = |mut entry: parking_lot::MutexGuard<'_, Entry>| {
            if !entry.is_live(session.id()) || entry.node.quarantine.is_some() {
                return Vec::new();
            }
            let is_due = |ticket: &OpenTicket| {
                ticket.to_send && !ticket.lost && ticket.state != command::State::Queued
            };
            let due = entry.tickets.iter_mut().filter(|ticket| is_due(ticket));
            due.filter_map(|ticket| {
                ticket.to_send = false;
                let operation = self.operation_open(ticket.operation)?;
                let given = self.ticket(ticket, &operation);
                ticket.was_sent = true;
                Some(given)
            })
            .collect()
        };
        self.fleet.with(session.node(), take).unwrap_or_default()
    }

    fn trust(&self, session: &Handle) -> Trust {
        let bundle = self.ca.trust_bundle();
        let active = self.ca.active();
        let look = |entry: parking_lot::MutexGuard<'_, Entry>| {
            let certificate = &entry.node.certificate;
            let renew = match () {
                () if entry
                    .node
                    .kept
                    .as_ref()
                    .is_some_and(|kept| kept.shares(&certificate.current.serial.to_string())) =>
                {
                    Some((std::time::Duration::ZERO, "released"))
                }
                // Also one that waits: as long as it does, its slot cannot be dropped.
                () if certificate.issuers().any(|issuer| issuer != active) => {
                    Some((self.fixed.renew_spread, "new-issuer"))
                }
                () => None,
            };
            Trust {
                bundle: (entry.node.trust_bundle_version < bundle.version).then(|| trust_bundle(&bundle)),
                renew,
                quarantine: entry.node.quarantine.as_ref().map(|q| (q.reason.as_str(), q.reason.describe())),
            }
        };
        self.fleet.with(session.node(), look).unwrap_or_default()
    }

    fn tune(&self, session: &Handle) -> Tune {
        let name = self.fleet.with(session.node(), |entry| entry.node.display_name.clone());
        self.rhythm(name.unwrap_or_default())
    }
}

impl App {
    /// What differs between what a node should have and what it last said.
    #[must_use]
    pub fn difference(&self, entry: &Entry) -> Desired {
        let catalog = self.catalog.now();
        let epoch = self.fixed.history.epoch;
        let wanted = catalog.wanted(&entry.node, epoch);
        let unwanted = entry.node.items.iter().filter(|state| {
            !wanted.iter().any(|wanted| wanted.item == state.item) // few items: no map is worth it
        });
        let removals = unwanted
            .filter_map(|state| {
                let generation = catalog.generation(&state.item, &entry.node, epoch);
                let (item, traceparent) = (state.item.clone(), String::new());
                effective::should_remove(state, generation).then_some(Removal {
                    item,
                    generation,
                    traceparent,
                })
            })
            .collect();
        let upserts = wanted
            .into_iter()
            .filter(|wanted| effective::should_offer(&wanted.version, entry.reported(&wanted.item)))
            .filter(|wanted| self.withheld(entry, wanted).is_none())
            .filter_map(|wanted| self.upsert(entry, wanted))
            .collect();
        Desired { nonce: 0, complete: true, upserts, removals }
    }

    fn upsert(&self, entry: &Entry, wanted: Wanted) -> Option<Upsert> {
        match self.sealed(entry, &wanted) {
            Ok(sealed) => {
                let Wanted { item, version, payload, .. } = wanted;
                Some(Upsert { item, version, payload, sealed, traceparent: String::new() })
            }
            Err(error) => {
                // Once in a session: whoever brings it about could fill the log with it.
                let is_new = entry.live.as_ref().is_some_and(|live| !live.unsealed.swap(true, Relaxed));
                let (node, item) = (entry.node.id, wanted.item);
                if is_new {
                    tracing::error!(%node, %item, %error, "node {node} does not get {item}: {error}");
                }
                None
            }
        }
    }

    /// Why a node does not get what it should have. Its agent may be too old for it: it
    /// would pass over a part, and call that the whole. Nothing is said of a node without a
    /// session: who comes back may be another agent.
    pub(super) fn withheld(&self, entry: &Entry, wanted: &Wanted) -> Option<Reason> {
        let live = entry.live.as_ref()?;
        let lacks = |need: &&str| !live.capabilities.iter().any(|known| known == need);
        let is_too_old = match wanted.item {
            ItemName::Settings => false,
            ItemName::Release | ItemName::Extension(_) => lacks(&wanted.item.capability()),
            ItemName::Bundle(_) => {
                lacks(&NEWEST) && (self.fixed.bundle_needs)(&wanted.payload).iter().any(lacks)
            }
        };
        if is_too_old || (!wanted.secrets.is_empty() && live.sealing_key.is_empty()) {
            return Some(Reason::ItemKindUnknown);
        }
        let failed = !wanted.secrets.is_empty() && live.unsealed.load(Relaxed);
        (failed || !self.can_seal(wanted)).then_some(Reason::ProtectedUnreadable)
    }

    /// The rhythm of now, with a node's name.
    pub(crate) fn rhythm(&self, display_name: String) -> Tune {
        let rules = &self.fixed.session;
        Tune {
            heartbeat_interval: rules.heartbeat_interval,
            heartbeat_jitter: rules.heartbeat_jitter,
            reconnect_min: rules.reconnect_min,
            reconnect_max: rules.reconnect_max,
            display_name,
        }
    }

    fn ticket(&self, open: &OpenTicket, operation: &OpenOperation) -> Ticket {
        let begin = operation.not_before.unwrap_or(UnixMillis(0)).max(self.clock.now());
        Ticket {
            id: open.command,
            operation: operation.id,
            kind: operation.kind.clone(),
            args: Bytes::clone(&operation.args),
            not_before: operation.not_before,
            deliver_by: operation.deliver_by,
            finish_by: Some(begin + operation.run_timeout),
            trace_id: operation.trace_id.clone(),
            traceparent: self.order_given(open, operation),
            output_credit: OUTPUT_CREDIT,
            epoch: self.fixed.history.epoch,
            retry_of: open.retry_of,
            cancel: open.cancel,
            force: open.force,
            lane: operation.lane.clone(),
        }
    }
}

fn trust_bundle(bundle: &crate::ca::TrustBundle) -> TrustBundle {
    let ders = |all: &[rustls::pki_types::CertificateDer<'_>]| {
        all.iter().map(|der| Bytes::copy_from_slice(der)).collect()
    };
    TrustBundle { version: bundle.version, roots: ders(&bundle.roots), issuers: ders(&bundle.issuers) }
}
