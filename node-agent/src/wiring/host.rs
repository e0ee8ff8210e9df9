//! The host behind the session: joins the rooms to the session's port.

use std::sync::Arc;

use muster_common::{
    clock::{Clock, Instant, UnixMillis},
    error_chain::Chain,
    ids::CommandId,
    tasks,
};
use rand::RngExt as _;
use tokio::sync::{Notify, watch};

use super::items::Items;
use crate::{
    commands, dial, identity,
    ledger::Shared,
    liveness::{Conditions, Seen},
    locks,
    platform::{host, process},
    session::{
        Changes, Host, Order,
        frames::{FactsReport, Introduction, OpenCommand},
        wire,
    },
    state::{Condition, Facts, ItemState, ItemStory, Load, Measured, Pauses, Report, ServerTime},
    state_dir::{Memo, StateDir},
};

/// What the host is made of.
pub(super) struct Parts {
    pub(super) state: StateDir,
    pub(super) store: identity::Store,
    pub(super) identity: Arc<watch::Sender<identity::Identity>>,
    pub(super) ledger: Shared,
    pub(super) commands: commands::Handle,
    pub(super) items: Items,
    pub(super) facts: watch::Receiver<Arc<Facts>>,
    pub(super) locks: locks::Reader,
    pub(super) pauses: Pauses,
    pub(super) server_time: ServerTime,
    pub(super) clock: Clock,
    pub(super) renew: identity::Wanted,
    pub(super) load: watch::Receiver<Measured>,
    /// From so many percent on a disk is nearly full.
    pub(super) disk_full: watch::Receiver<u32>,
    pub(super) beat: Arc<Notify>,
    /// What the control plane showed in the newest session.
    pub(super) server: watch::Receiver<dial::Chain>,
    /// To be told: all conditions, and the number of the certificate that a session shows.
    pub(super) conditions: watch::Sender<Vec<Condition>>,
    pub(super) in_use: watch::Sender<u64>,
}

/// The real host.
pub(super) struct NodeHost {
    parts: Parts,
    states: watch::Receiver<Arc<Vec<ItemState>>>,
    news: watch::Receiver<u64>,
    identity: watch::Receiver<identity::Identity>,
    certificate_generation: u64,
    /// When the newest session was asked for.
    asked: Instant,
    conditions: Conditions,
    memo: Memo,
    /// Where the control plane asked the next session to be opened.
    elsewhere: Vec<String>,
}

impl Parts {
    fn look(&self, conditions: &mut Conditions, ahead: Option<i64>, now: UnixMillis) -> Vec<Condition> {
        let measured = self.load.borrow();
        let seen = Seen {
            ahead_ms: ahead,
            lock_file: self.locks.error(),
            no_upgrades: self.locks.current().refuses_upgrades(),
            pause: self.pauses.now(),
            disks: &measured.disks,
            full_at: *self.disk_full.borrow(),
        };
        conditions.look(seen, now)
    }
}

impl NodeHost {
    pub(super) fn new(parts: Parts) -> Self {
        let identity = parts.identity.subscribe();
        let (node, certificate_generation) = {
            let now = identity.borrow();
            (now.node, now.certificate_generation)
        };
        let mut conditions = Conditions::default();
        let now = parts.clock.now();
        parts.conditions.send_replace(parts.look(&mut conditions, None, now));
        Self {
            states: parts.items.states(),
            news: parts.commands.changed(),
            memo: parts.state.memo(node),
            identity,
            certificate_generation,
            asked: parts.clock.monotonic(),
            conditions,
            elsewhere: Vec::new(),
            parts,
        }
    }

    /// Whether it is on the disk.
    async fn remember(&mut self, change: impl FnOnce(&mut Memo)) -> bool {
        let before = self.memo.clone();
        change(&mut self.memo);
        if self.memo == before {
            return true;
        }
        let (state, node, memo) = (self.parts.state.clone(), self.identity.borrow().node, self.memo.clone());
        let done = tasks::blocking(move || state.set_memo(node, &memo)).await;
        if let Err(error) = &done {
            tracing::warn!(%error, "could not remember what the control plane said");
        }
        done.is_ok()
    }

    async fn trust(&self, version: u64, roots_der: &[Vec<u8>], issuers_der: &[Vec<u8>]) {
        let (store, current) = (self.parts.store.clone(), Arc::clone(&self.parts.identity));
        let (server, now) = (self.parts.server.borrow().clone(), self.parts.clock.now());
        let node = self.identity.borrow().node;
        let trust = identity::Roots::of(roots_der, issuers_der);
        let change = move |held: &identity::Identity| held.with_trust(version, &trust?, &server, now);
        let tell = move |changed| {
            tracing::info!(version, "roots of version {version} are in force");
            current.send_replace(changed);
        };
        if let Err(error) = tasks::blocking(move || store.update(node, change, tell)).await {
            let error = Chain(&error);
            tracing::error!(version, "roots of version {version} cannot be used: {error}");
        }
    }
}

impl Host for NodeHost {
    async fn introduce(&mut self) -> Introduction {
        self.asked = self.parts.clock.monotonic();
        self.states.mark_unchanged();
        self.news.mark_unchanged();
        let ledger = self.parts.ledger.with(|ledger| ledger.mark()).await;
        let (certificate_generation, trust_bundle_version) = {
            let identity = self.identity.borrow_and_update();
            (identity.certificate_generation, identity.trust_bundle_version)
        };
        self.certificate_generation = certificate_generation;
        let kinds = commands::KINDS.iter().copied().chain([
            "bundle",
            "bundle-v2",
            "bundle-v3",
            "settings",
            "extensions-v1",
            "artifacts-v1",
            "release-v1",
        ]);
        Introduction {
            ledger,
            boot_id: process::boot_id(),
            machine_fingerprint: host::machine_fingerprint(),
            capabilities: kinds.map(str::to_owned).collect(),
            epoch: self.memo.epoch,
            newest: self.memo.newest,
            certificate_generation,
            trust_bundle_version,
            sealing_public_key: self.parts.items.sealing_key().to_vec(),
            facts_sha256: self.facts().sha256,
            items: self.items(),
            commands: self.commands().await,
        }
    }

    fn addresses(&self) -> Vec<String> {
        addresses(&self.elsewhere, &self.identity.borrow().session_addresses)
    }

    fn beat(&mut self) -> (Load, Vec<Condition>) {
        let now = self.parts.clock.now();
        let theirs = self.parts.server_time.at(self.parts.clock.monotonic());
        let ahead = theirs.map(|theirs| theirs.0.saturating_sub(now.0));
        self.parts.beat.notify_one(); // for the next one: measuring may wait for a disk
        let load = self.parts.load.borrow().load;
        let conditions = self.parts.look(&mut self.conditions, ahead, now);
        self.parts.conditions.send_if_modified(|told| {
            let is_news = *told != conditions;
            if is_news {
                told.clone_from(&conditions);
            }
            is_news
        });
        (load, conditions)
    }

    fn facts(&mut self) -> FactsReport {
        let facts = Facts::clone(&self.parts.facts.borrow_and_update());
        FactsReport { sha256: wire::facts_sha256(&facts), facts }
    }

    fn items(&mut self) -> Vec<ItemState> {
        self.states.borrow_and_update().to_vec()
    }

    fn stories(&mut self) -> Vec<ItemStory> {
        self.parts.items.stories()
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
                // What waited for a word may start with it: by then it is known what time it is.
                let now = self.parts.clock.monotonic();
                let theirs = self.parts.server_time.learn(welcome.server_time, self.asked, now);
                self.parts.commands.heard(welcome.withdrawn.clone()).await;
                self.parts.commands.limit_output(welcome.max_output_bytes);
                self.elsewhere.clear();
                self.parts.items.connected();
                self.parts.in_use.send_replace(self.certificate_generation);
                let ahead_ms = theirs.0.saturating_sub(self.parts.clock.now().0);
                self.remember(|memo| {
                    memo.heard_clock(ahead_ms);
                    memo.epoch = welcome.epoch;
                    memo.display_name = welcome.display_name;
                })
                .await;
            }
            Order::Name(name) => {
                self.remember(|memo| memo.display_name = name).await;
            }
            Order::Desired(desired) => {
                // Before anything of it is done: what was done is not forgotten.
                let before = self.memo.newest;
                if let Some(newest) = desired.newest().filter(|newest| *newest > before)
                    && !self.remember(|memo| memo.newest = newest).await
                {
                    // Of the items each says itself that there is no room for it.
                    self.memo.newest = before;
                }
                self.parts.items.desire(desired.offers, desired.removals);
            }
            Order::Command(ticket) => self.parts.commands.deliver(*ticket).await,
            Order::Cancel(id, force) => self.parts.commands.cancel(id, force).await,
            Order::Acked(id, seq) => self.parts.commands.acked(id, seq).await,
            Order::TrustBundle { version, roots_der, issuers_der } => {
                self.trust(version, &roots_der, &issuers_der).await;
            }
            Order::IdentityRefused => self.parts.renew.by(self.parts.clock.monotonic()),
            Order::Renew(spread) => {
                let wait = spread.mul_f64(rand::rng().random());
                self.parts.renew.by(self.parts.clock.monotonic() + wait);
            }
            Order::Quarantine(reason) => tracing::error!("this node is quarantined: {reason}"),
            Order::Addresses(addresses) => self.elsewhere = addresses,
        }
    }
}

/// Where the next session is opened: where the control plane asked for it, and
/// where sessions always are, in case that was a mistake.
fn addresses(elsewhere: &[String], always: &[String]) -> Vec<String> {
    let mut all = elsewhere.to_vec();
    all.extend(always.iter().filter(|address| !elsewhere.contains(address)).cloned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_first_and_the_way_home_stays_open() {
        let of = |list: &[&str]| -> Vec<String> { list.iter().map(|one| (*one).to_owned()).collect() };
        assert_eq!(addresses(&of(&["c", "a"]), &of(&["a", "b"])), of(&["c", "a", "b"]));
        assert_eq!(addresses(&[], &of(&["a", "b"])), of(&["a", "b"]));
    }
}
