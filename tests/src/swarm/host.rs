//! A host without a disk: items are applied as its temper is, every command says a word and succeeds.

use std::sync::{Arc, atomic::Ordering};

use muster_common::{
    clock::{Clock, Instant, UnixMillis},
    digest::Sha256,
    ids::{CommandId, LedgerId},
    reason::Reason,
};
use muster_node_agent::{
    session::{
        Changes, Host, Order,
        frames::{FactsReport, Introduction, OpenCommand},
    },
    state::{
        Cause, Chunk, CommandState, Condition, Facts, ItemError, ItemState, Load, Offer, Outcome, Report,
    },
};

use super::{Counters, Probe, Temper, kept::Kept};

/// Reports of one command: that it runs, what it says, how it ended.
const LAST: u64 = 3;

/// One host of a swarm.
#[derive(Debug)]
pub struct SwarmHost {
    addresses: Vec<String>,
    counters: Arc<Counters>,
    probe: Arc<Probe>,
    ledger: (LedgerId, u64),
    items: Vec<ItemState>,
    /// What a slow host applies then, the first first.
    later: Vec<(Instant, Offer)>,
    commands: Vec<OpenCommand>,
    news: Changes,
    kept: Option<Kept>,
}

impl SwarmHost {
    /// A host whose control plane is there.
    #[must_use]
    pub fn new(addresses: Vec<String>, counters: Arc<Counters>, probe: Arc<Probe>) -> Self {
        Self {
            addresses,
            counters,
            probe,
            ledger: (LedgerId::generate(), 1),
            items: Vec::new(),
            later: Vec::new(),
            commands: Vec::new(),
            news: Changes::default(),
            kept: None,
        }
    }

    /// The same with an identity that it keeps.
    pub(super) fn keeping(self, kept: Kept) -> Self {
        Self { kept: Some(kept), ..self }
    }

    pub(super) fn probe(&self) -> Arc<Probe> {
        Arc::clone(&self.probe)
    }

    fn offered(&mut self, offer: Offer) {
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        self.later.retain(|(_, waiting)| waiting.item != offer.item);
        match self.probe.temper() {
            Temper::Prompt => self.apply(offer),
            Temper::Slow(time) => {
                self.later.push((Clock::System.monotonic() + time, offer));
                self.later.sort_by_key(|(at, _)| *at);
            }
            Temper::Rejecting => self.reject(offer),
        }
    }

    fn apply(&mut self, offer: Offer) {
        self.settle(ItemState {
            item: offer.item,
            running: Some(offer.version.clone()),
            attempted: Some(offer.version),
            outcome: Outcome::Applied,
            error: None,
            changed_at: UnixMillis(0),
            drift: Vec::new(),
            progress: None,
            health: None,
        });
    }

    fn reject(&mut self, offer: Offer) {
        let before = self.items.iter().find(|state| state.item == offer.item);
        let running = before.and_then(|state| state.running.clone());
        let error = ItemError {
            reason: Reason::ValidateFailed,
            cause: Cause::Content,
            message: "this host rejects whatever it is offered".to_owned(),
            output: Vec::new(),
        };
        self.settle(ItemState {
            item: offer.item,
            running,
            attempted: Some(offer.version),
            outcome: Outcome::Rejected,
            error: Some(error),
            changed_at: UnixMillis(0),
            drift: Vec::new(),
            progress: None,
            health: None,
        });
    }

    fn settle(&mut self, state: ItemState) {
        self.items.retain(|known| known.item != state.item);
        self.items.push(state);
        self.items.sort_by(|a, b| a.item.cmp(&b.item));
        self.news.items = true;
    }

    /// Waits for what a slow host has put off, and applies it.
    async fn put_off(&mut self) -> Changes {
        let Some((at, _)) = self.later.first() else { return std::future::pending().await };
        tokio::time::sleep_until(*at).await;
        let (_, offer) = self.later.remove(0);
        self.apply(offer);
        std::mem::take(&mut self.news)
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
            capabilities: ["bundle", "bundle-v2", "settings"].map(str::to_owned).to_vec(),
            epoch: 0,
            newest: muster_common::generation::Generation::default(),
            certificate_generation,
            trust_bundle_version,
            sealing_public_key: Vec::new(),
            facts_sha256: Sha256::ZERO,
            items: self.items.clone(),
            commands: self.commands.clone(),
        }
    }

    fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
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
        let output = Some(Chunk { stderr: false, data: b"done\n".to_vec(), dropped: 0 });
        let [started, said, ended] = [
            Report::new(1, CommandState::Running, UnixMillis(0)),
            Report { output, ..Report::new(2, CommandState::Running, UnixMillis(0)) },
            Report { exit_code: Some(0), ..Report::new(3, CommandState::Succeeded, UnixMillis(0)) },
        ];
        [started, said, ended].into_iter().filter(|report| report.seq > after).collect()
    }

    async fn changed(&mut self) -> Changes {
        if self.news != Changes::default() {
            return std::mem::take(&mut self.news);
        }
        if !self.later.is_empty() {
            return self.put_off().await;
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
                desired.offers.into_iter().for_each(|offer| self.offered(offer));
                for removal in desired.removals {
                    self.later.retain(|(_, waiting)| waiting.item != removal.item);
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
                    last: LAST,
                });
                self.news.commands = true;
                self.counters.ordered.fetch_add(1, Ordering::Relaxed);
                self.probe.ordered();
            }
            Order::Acked(id, LAST) => {
                let open = self.commands.len();
                self.commands.retain(|open| open.id != id);
                if self.commands.len() < open {
                    self.counters.answered.fetch_add(1, Ordering::Relaxed);
                    self.probe.finished();
                }
            }
            _ => {}
        }
    }
}
