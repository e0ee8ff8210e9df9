//! A host without a disk: every item is applied at once, every command succeeds.

use std::sync::{Arc, atomic::Ordering};

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::{CommandId, LedgerId},
};
use muster_node_agent::{
    session::{
        Changes, Host, Order,
        frames::{FactsReport, Introduction, OpenCommand},
    },
    state::{CommandState, Condition, Facts, ItemState, Load, Offer, Outcome, Report},
};

use super::{Counters, kept::Kept};

/// One host of a swarm.
#[derive(Debug)]
pub struct SwarmHost {
    address: String,
    counters: Arc<Counters>,
    ledger: (LedgerId, u64),
    items: Vec<ItemState>,
    commands: Vec<OpenCommand>,
    news: Changes,
    kept: Option<Kept>,
}

impl SwarmHost {
    /// A host whose control plane is there.
    #[must_use]
    pub fn new(address: String, counters: Arc<Counters>) -> Self {
        Self {
            address,
            counters,
            ledger: (LedgerId::generate(), 1),
            items: Vec::new(),
            commands: Vec::new(),
            news: Changes::default(),
            kept: None,
        }
    }

    /// The same with an identity that it keeps.
    pub(super) fn keeping(self, kept: Kept) -> Self {
        Self { kept: Some(kept), ..self }
    }

    fn apply(&mut self, offer: Offer) {
        self.items.retain(|state| state.item != offer.item);
        self.items.push(ItemState {
            item: offer.item,
            running: Some(offer.version.clone()),
            attempted: Some(offer.version),
            outcome: Outcome::Applied,
            error: None,
            changed_at: UnixMillis(0),
            drift: Vec::new(),
        });
        self.items.sort_by(|a, b| a.item.cmp(&b.item));
        self.news.items = true;
        self.counters.received.fetch_add(1, Ordering::Relaxed);
    }
}

impl Host for SwarmHost {
    async fn introduce(&mut self) -> Introduction {
        let (certificate_generation, trust_bundle_version) =
            self.kept.as_mut().map_or((1, u64::MAX), Kept::introduce);
        Introduction {
            ledger: self.ledger,
            boot_id: "swarm".to_owned(),
            machine_fingerprint: Sha256::ZERO,
            capabilities: vec!["bundle".to_owned(), "settings".to_owned()],
            epoch: 0,
            certificate_generation,
            trust_bundle_version,
            sealing_public_key: Vec::new(),
            facts_sha256: Sha256::ZERO,
            items: self.items.clone(),
            commands: self.commands.clone(),
        }
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.address.clone()]
    }

    fn beat(&mut self) -> (Load, Vec<Condition>) {
        self.counters.beats.fetch_add(1, Ordering::Relaxed);
        (Load { cpu: 100, memory: 400, disk: 300 }, Vec::new())
    }

    fn facts(&mut self) -> FactsReport {
        let facts = Facts { hostname: "swarm".to_owned(), os: "debian".to_owned(), ..Facts::default() };
        FactsReport { facts, sha256: Sha256::ZERO }
    }

    fn items(&mut self) -> Vec<ItemState> {
        self.items.clone()
    }

    async fn commands(&mut self) -> Vec<OpenCommand> {
        self.commands.clone()
    }

    async fn reports(&mut self, _: CommandId, after: u64, _: usize) -> Vec<Report> {
        let steps = [CommandState::Running, CommandState::Succeeded];
        let report = |(n, state): (u64, CommandState)| Report::new(n, state, UnixMillis(0));
        (1..).zip(steps).filter(|(n, _)| *n > after).map(report).collect()
    }

    async fn changed(&mut self) -> Changes {
        if self.news != Changes::default() {
            return std::mem::take(&mut self.news);
        }
        match &mut self.kept {
            Some(kept) => kept.changed().await,
            None => std::future::pending().await,
        }
    }

    async fn take(&mut self, order: Order) {
        if let Some(kept) = &self.kept {
            match &order {
                Order::TrustBundle { version, roots_der, issuers_der } => {
                    kept.trust(*version, roots_der, issuers_der);
                }
                Order::Renew(spread) => kept.renew(*spread),
                Order::IdentityRefused => kept.failed("refused"),
                _ => {}
            }
        }
        match order {
            Order::Welcome(_) => {
                self.counters.opened.fetch_add(1, Ordering::Relaxed);
            }
            Order::Desired(desired) => {
                desired.offers.into_iter().for_each(|offer| self.apply(offer));
                for removal in desired.removals {
                    self.items.retain(|state| state.item != removal.item);
                    self.news.items = true;
                }
            }
            Order::Command(ticket) if !self.commands.iter().any(|open| open.id == ticket.id) => {
                self.ledger.1 += 1;
                self.commands.push(OpenCommand {
                    id: ticket.id,
                    state: CommandState::Succeeded,
                    acked: 0,
                    last: 2,
                });
                self.news.commands = true;
            }
            Order::Acked(id, 2) => self.commands.retain(|open| open.id != id),
            _ => {}
        }
    }
}
