//! The host behind the session: joins the rooms to the session's port.

use std::{sync::Arc, time::Duration};

use muster_common::{
    clock::Clock,
    drain::Drain,
    error_chain::Chain,
    ids::CommandId,
    tasks::{Kind, Tasks},
};
use rand::RngExt as _;
use tokio::sync::{Notify, watch};

use crate::{
    applier, commands, identity,
    ledger::Shared,
    liveness::Conditions,
    locks,
    platform::{host, load::Meter, process},
    session::{
        Changes, Host, Order,
        frames::{FactsReport, Introduction, OpenCommand},
        wire,
    },
    state::{Condition, Facts, ItemState, Load, Report, ServerTime},
    state_dir::{Memo, StateDir},
};

/// What the host is made of.
pub(super) struct Parts {
    pub(super) state: StateDir,
    pub(super) store: identity::Store,
    pub(super) identity: Arc<watch::Sender<identity::Identity>>,
    pub(super) ledger: Shared,
    pub(super) commands: commands::Handle,
    pub(super) applier: applier::Handle,
    pub(super) facts: watch::Receiver<Arc<Facts>>,
    pub(super) locks: locks::Reader,
    pub(super) server_time: ServerTime,
    pub(super) clock: Clock,
    pub(super) renew: Arc<Notify>,
    pub(super) tasks: Tasks,
    pub(super) drain: Drain,
}

/// The real host.
pub(super) struct NodeHost {
    parts: Parts,
    states: watch::Receiver<Arc<Vec<ItemState>>>,
    news: watch::Receiver<u64>,
    identity: watch::Receiver<identity::Identity>,
    certificate_generation: u64,
    conditions: Conditions,
    meter: Meter,
    memo: Memo,
    /// Where the control plane asked the next session to be opened.
    elsewhere: Vec<String>,
}

impl NodeHost {
    pub(super) fn new(parts: Parts) -> Self {
        let identity = parts.identity.subscribe();
        let (node, certificate_generation) = {
            let now = identity.borrow();
            (now.node, now.certificate_generation)
        };
        Self {
            states: parts.applier.states(),
            news: parts.commands.changed(),
            memo: parts.state.memo(node),
            identity,
            certificate_generation,
            conditions: Conditions::default(),
            meter: Meter::default(),
            elsewhere: Vec::new(),
            parts,
        }
    }

    fn remember(&mut self, change: impl FnOnce(&mut Memo)) {
        let before = self.memo.clone();
        change(&mut self.memo);
        let node = self.identity.borrow().node;
        if self.memo != before
            && let Err(error) = self.parts.state.set_memo(node, &self.memo)
        {
            tracing::warn!(%error, "could not remember what the control plane said");
        }
    }

    fn trust(&self, version: u64, roots_der: &[Vec<u8>]) {
        let trusted = self.identity.borrow().with_roots(version, roots_der).and_then(|changed| {
            self.parts.store.save(&changed)?;
            Ok(changed)
        });
        match trusted {
            Ok(changed) => {
                tracing::info!(version, "roots of version {version} are in force");
                self.parts.identity.send_replace(changed);
            }
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(version, "roots of version {version} cannot be used: {error}");
            }
        }
    }

    fn renew_within(&self, spread: Duration) {
        let wait = spread.mul_f64(rand::rng().random());
        let (renew, drain) = (Arc::clone(&self.parts.renew), self.parts.drain.clone());
        self.parts.tasks.spawn("renew later", Kind::BestEffort, async move {
            tokio::select! {
                () = drain.begun() => {}
                () = tokio::time::sleep(wait) => renew.notify_one(),
            }
        });
    }
}

impl Host for NodeHost {
    async fn introduce(&mut self) -> Introduction {
        self.states.mark_unchanged();
        self.news.mark_unchanged();
        let ledger = self.parts.ledger.with(|ledger| ledger.mark()).await;
        let (certificate_generation, trust_bundle_version) = {
            let identity = self.identity.borrow_and_update();
            (identity.certificate_generation, identity.trust_bundle_version)
        };
        self.certificate_generation = certificate_generation;
        let kinds = commands::KINDS.iter().copied().chain(["bundle", "settings"]);
        Introduction {
            ledger,
            boot_id: process::boot_id(),
            machine_fingerprint: host::machine_fingerprint(),
            capabilities: kinds.map(str::to_owned).collect(),
            epoch: self.memo.epoch,
            certificate_generation,
            trust_bundle_version,
            facts_sha256: self.facts().sha256,
            items: self.items(),
            commands: self.commands().await,
        }
    }

    fn addresses(&self) -> Vec<String> {
        if self.elsewhere.is_empty() {
            self.identity.borrow().session_addresses.clone()
        } else {
            self.elsewhere.clone()
        }
    }

    fn beat(&mut self) -> (Load, Vec<Condition>) {
        let now = self.parts.clock.now();
        let theirs = self.parts.server_time.at(self.parts.clock.monotonic());
        let ahead = theirs.map(|theirs| theirs.0.saturating_sub(now.0));
        (self.meter.sample(), self.conditions.look(ahead, self.parts.locks.error(), now))
    }

    fn facts(&mut self) -> FactsReport {
        let facts = Facts::clone(&self.parts.facts.borrow_and_update());
        FactsReport { sha256: wire::facts_sha256(&facts), facts }
    }

    fn items(&mut self) -> Vec<ItemState> {
        self.states.borrow_and_update().to_vec()
    }

    async fn commands(&mut self) -> Vec<OpenCommand> {
        self.news.mark_unchanged();
        let open = |open: commands::Open| OpenCommand {
            id: open.id,
            state: open.state,
            acked: open.acked,
            last: open.last,
        };
        self.parts.commands.open().await.into_iter().map(open).collect()
    }

    async fn reports(&mut self, id: CommandId, after: u64, bytes: usize) -> Vec<Report> {
        self.parts.commands.reports(id, after, bytes).await
    }

    async fn changed(&mut self) -> Changes {
        let none = Changes::default();
        tokio::select! {
            Ok(()) = self.states.changed() => Changes { items: true, ..none },
            Ok(()) = self.news.changed() => Changes { commands: true, ..none },
            Ok(()) = self.parts.facts.changed() => Changes { facts: true, ..none },
            Ok(()) = self.identity.changed() => {
                let now = self.identity.borrow_and_update();
                let certificate = now.certificate_generation != self.certificate_generation;
                Changes { certificate, trust_bundle: Some(now.trust_bundle_version), ..none }
            }
            // All of them ended: the process is ending, too.
            else => std::future::pending().await,
        }
    }

    async fn take(&mut self, order: Order) {
        match order {
            Order::Welcome(welcome) => {
                self.parts.server_time.learn(welcome.server_time, self.parts.clock.monotonic());
                self.parts.commands.limit_output(welcome.max_output_bytes);
                self.elsewhere.clear();
                let now = self.parts.clock.now();
                self.remember(|memo| {
                    memo.heard_clock(welcome.server_time.0.saturating_sub(now.0));
                    memo.epoch = welcome.epoch;
                    memo.display_name = welcome.display_name;
                });
            }
            Order::Name(name) => self.remember(|memo| memo.display_name = name),
            Order::Desired(desired) => self.parts.applier.desire(desired.offers, desired.removals),
            Order::Command(ticket) => self.parts.commands.deliver(*ticket).await,
            Order::Cancel(id) => self.parts.commands.cancel(id).await,
            Order::Acked(id, seq) => self.parts.commands.acked(id, seq).await,
            Order::TrustBundle { version, roots_der } => self.trust(version, &roots_der),
            Order::Renew(spread) => self.renew_within(spread),
            Order::Quarantine(reason) => tracing::error!("this node is quarantined: {reason}"),
            Order::Addresses(addresses) => self.elsewhere = addresses,
        }
    }
}
