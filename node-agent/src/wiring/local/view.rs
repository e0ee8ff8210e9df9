//! What is seen of a node while the host is in a fleet.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use tokio::sync::watch;

use crate::{
    extensions,
    identity::{self, Identity},
    ledger::{Entry, Shared},
    local_api::status::{self, Certificate, Command, Condition, Node},
    session::Status as Session,
    state::{self, CommandState, EffectiveSetting, Facts, ItemState},
    state_dir::Memo,
};

/// The parts of a running node that tell how it stands. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::wiring) struct View {
    pub(in crate::wiring) identity: watch::Receiver<Identity>,
    pub(in crate::wiring) session: watch::Receiver<Session>,
    pub(in crate::wiring) items: watch::Receiver<Arc<Vec<ItemState>>>,
    pub(in crate::wiring) commands: watch::Receiver<u64>,
    pub(in crate::wiring) ledger: Shared,
    pub(in crate::wiring) facts: watch::Receiver<Arc<Facts>>,
    pub(in crate::wiring) conditions: watch::Receiver<Vec<state::Condition>>,
    pub(in crate::wiring) settings: watch::Receiver<Vec<EffectiveSetting>>,
    /// What the control plane gave of them.
    pub(in crate::wiring) given: watch::Receiver<BTreeMap<String, String>>,
    /// Where its items are written down.
    pub(in crate::wiring) folder: PathBuf,
    pub(in crate::wiring) extensions: extensions::Handle,
}

impl View {
    /// Waits until something is another. Never returns once the node has ended.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.identity.changed() => {}
            Ok(()) = self.session.changed() => {}
            Ok(()) = self.items.changed() => {}
            Ok(()) = self.commands.changed() => {}
            Ok(()) = self.conditions.changed() => {}
            Ok(()) = self.settings.changed() => {}
            else => std::future::pending().await,
        }
    }

    /// What there is now is no news any more.
    pub(super) fn see(&mut self) {
        self.identity.mark_unchanged();
        self.session.mark_unchanged();
        self.items.mark_unchanged();
        self.commands.mark_unchanged();
        self.conditions.mark_unchanged();
        self.settings.mark_unchanged();
    }

    pub(super) fn node(&self, memo: Memo) -> Node {
        let identity = self.identity.borrow().clone();
        let renewed_from = identity::renew_at(identity.not_before, identity.not_after, 0.0);
        Node {
            id: identity.node,
            display_name: memo.display_name,
            trust_domain: identity.trust_domain.to_string(),
            epoch: memo.epoch,
            control_plane: identity.session_addresses,
            certificate: Certificate {
                generation: identity.certificate_generation,
                issued_at: identity.not_before,
                renewed_from,
                expires_at: identity.not_after,
            },
        }
    }

    pub(super) fn items(&self) -> Vec<status::Item> {
        self.items.borrow().iter().map(status::Item::from).collect()
    }

    /// Commands that are not over for the control plane.
    pub(super) async fn commands(&self) -> Vec<Command> {
        let told = |entry: &Entry| Command {
            id: entry.ticket.id.to_string(),
            kind: entry.ticket.kind.clone(),
            state: word(entry.state()).to_owned(),
            unacknowledged: entry.last_seq.saturating_sub(entry.acked),
        };
        self.ledger.with(move |ledger| ledger.entries().map(told).collect()).await
    }

    pub(super) fn conditions(&self) -> Vec<Condition> {
        let told = |it: &state::Condition| Condition {
            kind: it.kind.to_owned(),
            holds: it.holds,
            reason: it.reason.to_owned(),
            message: it.message.clone(),
            since: it.since,
        };
        self.conditions.borrow().iter().map(told).collect()
    }
}

const fn word(state: CommandState) -> &'static str {
    match state {
        CommandState::Delivered => "delivered",
        CommandState::Running => "running",
        CommandState::Succeeded => "succeeded",
        CommandState::Failed => "failed",
        CommandState::TimedOut => "timed-out",
        CommandState::Cancelled => "cancelled",
        CommandState::Interrupted => "interrupted",
        CommandState::Expired => "expired",
        CommandState::Denied => "denied",
    }
}
