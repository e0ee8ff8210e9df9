//! Keeps memory true to the store by following its change feed, whoever wrote:
//! this process, another one, a person at the command line.

mod orders;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_common::{
    clock::Instant,
    ids::{CommandId, NodeId, OperationId},
    reason::Reason,
};
use muster_domain::liveness::{self, Event};
use muster_store::{
    Change, ChangeKind, ReadAccess as _, ReadChanges as _, ReadCommands as _, ReadMeta as _, ReadNodes as _,
    ReadOperations as _,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{
    App, Error,
    catalog::{Changed, Contents, Reader},
    convergence::Convergence,
    fleet::Entry,
    speaker::NOT_KEPT,
};
use crate::session::{frames::Refusal, hub::Handle, ports::End};

/// Changes read in one go.
const BATCH: u32 = 1000;
/// How long a node that comes waits until it is sure that all is known of it.
const SURE_WITHIN: Duration = Duration::from_secs(2);

/// How far memory follows the store.
#[derive(Debug)]
pub struct Feed {
    applied: watch::Sender<u64>,
    /// Number of the newest wish to catch up.
    asked: AtomicU64,
    /// Number of the newest wish that was met.
    met: watch::Sender<u64>,
    wake: Notify,
    caught_up_at: Mutex<Option<Instant>>,
    /// Whoever follows: of two at once the one with the older look could take it in last.
    turn: tokio::sync::Mutex<()>,
    /// How long nodes take to answer what came.
    pub(super) convergence: Convergence,
}

impl Default for Feed {
    fn default() -> Self {
        let (applied, met) = (watch::Sender::new(0), watch::Sender::new(0));
        Self {
            applied,
            asked: AtomicU64::new(0),
            met,
            wake: Notify::new(),
            caught_up_at: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            convergence: Convergence::default(),
        }
    }
}

impl Feed {
    /// Waits until memory knows this revision; `false`: not within this time.
    pub async fn reached(&self, revision: u64, within: Duration) -> bool {
        let mut applied = self.applied.subscribe();
        // The sender lives in self: the waiting itself cannot fail.
        tokio::time::timeout(within, applied.wait_for(|applied| *applied >= revision)).await.is_ok()
    }

    /// The revision memory knows, and news of it.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Waits until somebody wants memory to catch up.
    pub async fn wanted(&self) {
        self.wake.notified().await;
    }

    /// Many who ask at once are answered by one look.
    async fn catches_up(&self) -> bool {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        let mut met = self.met.subscribe();
        tokio::time::timeout(SURE_WITHIN, met.wait_for(|met| *met >= number)).await.is_ok()
    }

    /// Before the store is asked: a look that begins now meets these.
    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn has_caught_up(&self, asked: u64, now: Instant) {
        *self.caught_up_at.lock() = Some(now);
        self.met.send_if_modified(|met| {
            let newer = asked > *met;
            *met = asked.max(*met);
            newer
        });
    }

    fn caught_up_at(&self) -> Option<Instant> {
        *self.caught_up_at.lock()
    }

    fn advance(&self, revision: u64) {
        self.applied.send_if_modified(|applied| {
            let newer = revision > *applied;
            *applied = revision.max(*applied);
            newer
        });
    }
}

/// How far some changes reach, of a feed that ends at `newest`: they are what one
/// question for `limit` of them was answered. The store never cuts a revision in
/// two, so the last one is whole, however large it is.
pub(super) fn reach(changes: &[Change], limit: u32, newest: u64) -> u64 {
    match changes.last() {
        Some(last) if changes.len() >= limit as usize => last.revision,
        last => last.map_or(newest, |last| last.revision.max(newest)),
    }
}

/// What some changes are about.
#[derive(Debug, Default)]
struct Touched {
    nodes: Vec<NodeId>,
    operations: Vec<OperationId>,
    commands: Vec<CommandId>,
    catalog: bool,
    releases: bool,
    leases: bool,
    rollouts: bool,
    access: bool,
    authority: bool,
    revocations: bool,
    told: bool,
    traces: bool,
}

impl Touched {
    fn by(changes: &[Change]) -> Self {
        let mut touched = Self::default();
        for change in changes {
            match change.kind {
                ChangeKind::Node => touched.nodes.extend(change.id.parse::<NodeId>()),
                ChangeKind::Operation => touched.operations.extend(change.id.parse::<OperationId>()),
                ChangeKind::Command => touched.commands.extend(change.id.parse::<CommandId>()),
                ChangeKind::Assignment | ChangeKind::Group | ChangeKind::Profile => touched.catalog = true,
                ChangeKind::Release => (touched.catalog, touched.releases) = (true, true),
                ChangeKind::Lease => touched.leases = true,
                ChangeKind::Rollout => touched.rollouts = true,
                ChangeKind::Caller | ChangeKind::Binding => touched.access = true,
                ChangeKind::Authority => touched.authority = true,
                ChangeKind::Revocation => touched.revocations = true,
                ChangeKind::Traces => touched.traces = true,
                // Of nodes that this process holds it was in memory before it was stored.
                ChangeKind::NodeReport | ChangeKind::NodeSession => touched.told = true,
                // These are read when somebody asks for them.
                ChangeKind::Bundle
                | ChangeKind::Extension
                | ChangeKind::Artifacts
                | ChangeKind::JoinToken
                | ChangeKind::JoinRequest
                | ChangeKind::Schedule
                | ChangeKind::Alert
                | ChangeKind::Unknown => {}
            }
        }
        unique(&mut touched.nodes);
        unique(&mut touched.operations);
        unique(&mut touched.commands);
        touched
    }
}

fn unique<T: Ord>(ids: &mut Vec<T>) {
    ids.sort_unstable();
    ids.dedup();
}

impl App {
    /// Reads everything once, before anybody is served.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn load(&self) -> Result<(), Error> {
        let (app, now, ttl) = (self.clone(), self.clock.now(), self.fixed.node_certificate_ttl);
        let (revision, removed, commands, operations) = self
            .store
            .read_own(move |tx| {
                let revision = tx.revision()?;
                app.load_nodes(tx)?;
                let removed = tx.removed_node_since(now - ttl)?;
                Ok::<_, Error>((revision, removed, tx.command_open_all()?, tx.operation_open_all()?))
            })
            .await?;
        for (id, at) in removed {
            self.fleet.remove(id, at + ttl, now);
        }
        self.adopt_operations(operations);
        for command in commands {
            self.fleet.with(command.node, |mut entry| entry.tickets.push((&command).into()));
        }
        self.reload_catalog().await?;
        self.reload_releases().await?;
        self.reload_rollouts().await?;
        self.reload_access().await?;
        self.reload_revocations().await?;
        self.reload_trace_sampling().await?;
        self.feed.advance(revision);
        Ok(())
    }

    /// Takes in what was committed since last time.
    ///
    /// # Errors
    /// If the store fails; nothing is skipped, the next call tries again.
    pub async fn follow(&self) -> Result<(), Error> {
        let _turn = self.feed.turn.lock().await;
        let asked = self.feed.asked();
        loop {
            let from = *self.feed.applied.borrow();
            let (changes, revision, floor) = self
                .store
                .read_own(move |tx| {
                    let (revision, floor) = (tx.revision()?, tx.changes_floor()?);
                    Ok::<_, Error>((tx.changes_since(from, BATCH)?, revision, floor))
                })
                .await?;
            if from < floor {
                // It was away for longer than what is kept: the others did not wait for it.
                let text = format!("the change feed begins with {floor} now, and memory ends with {from}");
                self.replicas.end(text.clone());
                return Err(Error::refused(Reason::StateConflict, text));
            }
            let reached = reach(&changes, BATCH, revision);
            let touched = Touched::by(&changes);
            let told = touched.told && self.replicas.is_shared();
            if touched.catalog || !touched.nodes.is_empty() {
                self.feed.convergence.begins(from, reached, self.clock.monotonic());
            }
            self.take_in(touched).await?;
            if told {
                self.take_in_told(from, reached).await?;
            }
            self.feed.advance(reached);
            if reached >= revision {
                self.feed.has_caught_up(asked, self.clock.monotonic());
                return Ok(());
            }
        }
    }

    /// Waits until memory knows all that was stored when this was called. `false`: it could not
    /// be had within a moment.
    pub async fn catches_up(&self) -> bool {
        !self.replicas.is_shared() || self.feed.catches_up().await
    }

    /// Since when memory has not been seen to follow the store.
    #[must_use]
    pub fn behind_for(&self) -> Duration {
        self.clock.monotonic() - self.feed.caught_up_at().unwrap_or_else(|| self.clock.monotonic())
    }

    async fn take_in(&self, touched: Touched) -> Result<(), Error> {
        if touched.catalog {
            self.reload_catalog().await?;
        }
        if touched.releases {
            self.reload_releases().await?;
        }
        if touched.leases {
            self.dispatch.leases_changed();
        }
        if touched.rollouts {
            self.reload_rollouts().await?;
        }
        if touched.access {
            self.reload_access().await?;
        }
        if touched.revocations {
            self.reload_revocations().await?;
        }
        if touched.traces {
            self.reload_trace_sampling().await?;
        }
        if touched.authority
            && let Err(error) = self.reload_authority().await
        {
            // Told where it happened; the rest of the feed must not wait for files.
            self.metrics.authority_behind();
            drop(error);
        }
        if !touched.nodes.is_empty() {
            self.reload_nodes(touched.nodes).await?;
        }
        // After the nodes that hold them.
        if !(touched.operations.is_empty() && touched.commands.is_empty()) {
            self.reload_orders(touched.operations, touched.commands).await?;
        }
        Ok(())
    }

    pub(super) fn reader(&self) -> Reader {
        Reader { paths: self.fixed.bundle_paths, blobs: self.fixed.bundle_blobs }
    }

    async fn reload_catalog(&self) -> Result<(), Error> {
        let (known, reader) = (self.catalog.now(), self.reader());
        let read = self.store.read_own(move |tx| Contents::read(tx, &known, reader));
        let after = Arc::new(read.await?);
        let before = self.catalog.replace(Arc::clone(&after));
        // To wake a session costs many times what it costs to see that it need not be.
        let changed = Changed::between(&before, &after);
        self.hub.for_each(|session| {
            if self.fleet.with(session.node(), |entry| changed.concerns(&entry.node)) == Some(true) {
                session.hint_desired();
            }
        });
        Ok(())
    }

    async fn reload_access(&self) -> Result<(), Error> {
        let read = self.store.read_own(|tx| Ok::<_, Error>((tx.caller_all()?, tx.binding_all()?)));
        let (callers, bindings) = read.await?;
        for (principal, serial) in self.access.replace(callers, &bindings) {
            self.lines.cut_others(&principal, serial.as_deref());
        }
        Ok(())
    }

    /// Tells a session what changed; one that is the node's no more is ended.
    fn hint_or_end(&self, session: &Handle) {
        let is_turned_away =
            |entry: parking_lot::MutexGuard<'_, Entry>| entry.live.is_none() && entry.node.kept.is_some();
        if self.fleet.with(session.node(), is_turned_away) == Some(true) {
            let (lost, now) = (Event::StreamClosed(liveness::Closed::Lost), self.clock.monotonic());
            self.fleet.with(session.node(), |mut entry| self.observe(&mut entry, lost, now));
            return session.end(End::Refuse(Refusal::new(Reason::Quarantined, NOT_KEPT)));
        }
        session.hint_tune();
        session.hint_trust();
        session.hint_desired();
        session.hint_tickets();
    }

    pub(super) async fn reload_nodes(&self, ids: Vec<NodeId>) -> Result<(), Error> {
        let (as_of, found) = self
            .store
            .read_own(move |tx| {
                let found = ids.into_iter().map(|id| Ok((id, tx.node_get(id)?)));
                let found = found.collect::<Result<Vec<_>, muster_store::Error>>()?;
                Ok::<_, muster_store::Error>((tx.revision()?, found))
            })
            .await?;
        for (id, node) in found {
            match node {
                Some(node) => {
                    self.fleet.put(node, as_of, |node| self.tracker_of_new(node));
                    let now = self.clock.monotonic();
                    self.fleet.with(id, |mut entry| self.observe_quarantine(&mut entry, now));
                    if let Some(session) = self.hub.get(id) {
                        self.hint_or_end(&session);
                        self.dispatch.add(id); // it may have been released
                    }
                }
                None => self.forget_node(id),
            }
        }
        Ok(())
    }
}
