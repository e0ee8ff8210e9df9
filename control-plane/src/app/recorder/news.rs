//! What is newer of nodes in memory than in the store.

use std::{collections::HashMap, sync::Arc};

use muster_common::{
    clock::UnixMillis,
    error_chain::Chain,
    ids::{CommandId, NodeId, ReplicaId},
};
use muster_domain::{
    command::{self, Command, Event},
    facts::{Facts, Known},
    item::{ItemName, ItemState},
    node::Node,
    session::HeldBy,
};
use muster_store::{
    ReadCommands as _, ReadNodeSessions as _, WriteCommands as _, WriteNodeSessions as _, WriteNodes as _,
    WriteTx,
};

use super::{
    Ended,
    apart::{Became, write_apart},
    drop_what_others_know, end_operations,
    promote::promote,
};
use crate::app::{
    App, Error,
    events::{self, Ends, Telling},
    fleet::{Claim, Dirty, Entry, Holder, ToldFacts},
};

/// One node's news, as they go to the store.
pub(super) struct News {
    node: Node,
    dirty: Dirty,
    facts: Option<Box<ToldFacts>>,
    /// Whether selectors see the node differently with those facts.
    can_tell: bool,
    upserts: Vec<ItemState>,
    gone: Vec<ItemName>,
    /// Orders that end with the memory of its host.
    lost: Vec<CommandId>,
    /// What memory knew when a session began that is told of for the first time.
    known: Option<u64>,
    /// What happened to it.
    told: Vec<Telling>,
    /// That this replica holds it; `None`: it does not, or nothing is to be told of that.
    held: Option<HeldBy>,
}

/// What became of one node's news.
#[derive(Default)]
struct Written {
    revision: u64,
    /// The store had another certificate for it than memory.
    was_replaced: bool,
    interrupted: Vec<Command>,
    ended: Ended,
    /// It is another replica's by now: nothing was written.
    is_others: bool,
    /// It is a node no more.
    is_gone: bool,
}

/// Of which nodes the store is to be read.
#[derive(Default)]
struct Again {
    /// Another replica took them: nothing was written.
    others: Vec<NodeId>,
    /// Another one took them before this one could say that it holds them.
    disputed: Vec<Arc<News>>,
    /// The store has another certificate for them.
    replaced: Vec<Arc<News>>,
}

/// Whose word of which node counts.
#[derive(Default)]
struct Fence {
    /// This replica, if there may be others.
    us: Option<ReplicaId>,
    /// Nodes that others took, and when.
    taken: HashMap<NodeId, u64>,
    /// What memory knew of the store before the news were put together.
    known: u64,
}

impl App {
    /// Writes nodes' news down; those that cannot be written wait for more news of their node.
    ///
    /// # Errors
    /// If the store takes nothing at all now; all the news wait then.
    pub(super) async fn record_nodes(&self, nodes: &[NodeId]) -> Result<(), Error> {
        // Before the news: who took a node later than that is asked of the store.
        let known = *self.feed.applied().borrow();
        let news = |id| self.fleet.with(id, |mut entry| self.news(&mut entry)).flatten();
        let mut all: Vec<News> = nodes.iter().filter_map(|id| news(*id)).collect();
        self.share(all.iter_mut().flat_map(|news| &mut news.told));
        let all: Vec<Arc<News>> = all.into_iter().map(Arc::new).collect();
        let mut again = Again::default();
        let became = |became: Became<Arc<News>, Vec<Written>>| match became {
            Became::Written(all, written) => {
                muster_common::crash::point("app.record.before-ack");
                for (news, written) in all.iter().zip(written) {
                    if written.is_others {
                        self.barred(news);
                        again.others.push(news.node.id);
                        continue;
                    }
                    if written.was_replaced {
                        again.replaced.push(Arc::clone(news));
                    }
                    if self.recorded(news, &written) {
                        again.disputed.push(Arc::clone(news));
                    }
                }
            }
            Became::Refused(news, error) => {
                let (node, error) = (news.node.id, Chain(&error));
                tracing::warn!(%node, %error, "what node {node} reports cannot be stored");
                self.keep(&news);
            }
        };
        let left = write_apart(all, |batch| self.write_news(batch, known), became).await;
        if let Err(left) = &left {
            left.batch.iter().for_each(|news| self.unrecorded(news));
        }
        let read = self.read_again(again).await;
        left.map_err(|left| left.error).and(read)
    }

    /// Reads what was found to be otherwise in the store. What cannot be read now is asked for again with
    /// the next news of its node, which are due at once.
    async fn read_again(&self, again: Again) -> Result<(), Error> {
        let Again { mut others, disputed, replaced } = again;
        let ids = |all: &[Arc<News>]| all.iter().map(|news| news.node.id).collect::<Vec<_>>();
        others.extend(ids(&disputed));
        let looked = if others.is_empty() { Ok(()) } else { self.look_again(others).await };
        if looked.is_err() {
            for news in disputed {
                self.fleet.with(news.node.id, |mut entry| entry.is_disputed = true);
                self.unrecorded(&news);
            }
        }
        let reloaded = if replaced.is_empty() { Ok(()) } else { self.reload_nodes(ids(&replaced)).await };
        if reloaded.is_err() {
            replaced.iter().for_each(|news| self.unrecorded(news));
        }
        looked.and(reloaded)
    }

    async fn write_news(&self, batch: Vec<Arc<News>>, known: u64) -> Result<Vec<Written>, Error> {
        let (now, us) = (self.clock.now(), self.replicas.is_shared().then(|| self.replicas.id()));
        let write = self.store.write(self.own_stamp("nodes.report"), move |tx| {
            let fence = Fence::read(tx, us, known, &batch)?;
            let written = batch
                .iter()
                .map(|news| write_news(tx, news, &fence, now))
                .collect::<Result<Vec<_>, Error>>()?;
            let stays = |it: &(_, &Written)| !it.1.is_others && !it.1.is_gone;
            let there = batch.iter().zip(&written).filter(stays);
            events::tell_shared(tx, there.flat_map(|(news, _)| &news.told))?;
            Ok::<_, Error>(written)
        });
        Ok(write.await?.value)
    }

    /// Answers whether another replica took the node meanwhile.
    fn recorded(&self, news: &News, written: &Written) -> bool {
        self.metrics.reports_stored(1);
        let session = self.hub.get(news.node.id);
        if let Some(stored) = &news.facts {
            let mut was_due = false;
            self.fleet.with(news.node.id, |mut entry| {
                if entry.told.as_deref() == Some(stored) {
                    entry.told = None;
                }
                was_due = entry.live.as_mut().is_some_and(|live| std::mem::take(&mut live.facts_due));
                // Somebody edited the node since, and what was read then has these facts, too.
                if written.revision < entry.node.selector_revision {
                    return;
                }
                let (labels, facts) = (entry.node.labels.clone(), stored.facts.clone().into());
                self.fleet.sees(&mut entry, labels, self.fleet.shared(facts));
                entry.node.facts_sha256 = stored.sha256.as_slice().into();
                if news.can_tell {
                    entry.node.selector_revision = written.revision;
                }
            });
            if was_due {
                self.dispatch.add(news.node.id); // preconditions may have waited for them
            }
            if let (true, Some(session)) = (news.can_tell, &session) {
                session.hint_desired();
            }
        }
        let mut is_disputed = false;
        if let Some(held) = &news.held {
            self.fleet.with(news.node.id, |mut entry| {
                is_disputed = std::mem::take(&mut entry.is_disputed);
                let is_same = held.session.as_ref().is_none_or(|told| entry.is_live(told.id));
                if is_same && entry.holder == Holder::Us {
                    entry.held_since = Some(written.revision);
                }
            });
        }
        self.moved(&written.interrupted);
        self.all_ended(&written.ended);
        self.items_stored(news.node.id, &news.node.display_name, &news.upserts);
        self.items_gone(news.node.id, &news.node.display_name, &news.gone);
        if news.dirty.items_seq > 0 {
            self.metrics.item_report_stored();
            if let Some(session) = &session {
                session.ack_items(news.dirty.items_seq);
            }
        }
        is_disputed
    }

    /// Another replica took the node. It may have let go of it since: then the news are still to be written,
    /// and with them that this one holds it, and how it is.
    fn barred(&self, news: &News) {
        self.fleet.with(news.node.id, |mut entry| {
            if entry.holder == Holder::Us {
                entry.dirty.liveness = true;
                entry.dirty.session = entry.dirty.session.max(Some(Claim::Again));
            }
        });
        self.unrecorded(news);
    }

    /// To be tried again.
    fn unrecorded(&self, news: &News) {
        self.keep(news);
        self.fleet.with(news.node.id, |mut entry| self.recorder.node(&mut entry));
    }

    /// Not to be forgotten: it goes with the next news of this node.
    fn keep(&self, news: &News) {
        self.fleet.with(news.node.id, |mut entry| {
            let is_there = |held: &HeldBy| held.session.as_ref().is_some_and(|told| entry.is_live(told.id));
            let session = match news.dirty.session {
                Some(Claim::Anew) if !news.held.as_ref().is_some_and(is_there) => Some(Claim::Again),
                session => session,
            };
            let dirty = &mut entry.dirty;
            dirty.liveness |= news.dirty.liveness;
            dirty.ledger |= news.dirty.ledger;
            dirty.certificate |= news.dirty.certificate;
            dirty.trust_bundle |= news.dirty.trust_bundle;
            dirty.facts |= news.dirty.facts;
            dirty.session = dirty.session.max(session);
            dirty.items_seq = dirty.items_seq.max(news.dirty.items_seq);
            let lost = news.dirty.items.iter().filter(|item| !dirty.items.contains(item)).cloned();
            let lost: Vec<ItemName> = lost.collect();
            dirty.items.extend(lost);
            let noted = std::mem::replace(&mut dirty.noted, news.dirty.noted.clone());
            noted.into_iter().for_each(|noted| dirty.note(noted));
            drop_what_others_know(&mut entry);
        });
    }

    /// `None`: nothing is to be written any more.
    fn news(&self, entry: &mut Entry) -> Option<News> {
        drop_what_others_know(entry);
        let dirty = Dirty { queued: false, ..std::mem::take(&mut entry.dirty) };
        if dirty == Dirty::default() {
            return None;
        }
        let (mut upserts, mut gone) = (Vec::new(), Vec::new());
        for item in &dirty.items {
            match entry.reported(item) {
                Some(state) => upserts.push(state.clone()),
                None => gone.push(item.clone()),
            }
        }
        let facts = if dirty.facts { entry.told.clone() } else { None };
        let can_tell = facts.as_ref().is_some_and(|told| selectors_can_tell(&entry.node.facts, &told.facts));
        let lost = if dirty.ledger { entry.lost() } else { Vec::new() };
        let held = dirty.session.and_then(|_| self.held(entry));
        let begins = dirty.session == Some(Claim::Anew);
        let known = entry.live.as_ref().filter(|_| begins).map(|live| live.known);
        let told = dirty.noted.iter().filter_map(|noted| noted.happened(&entry.node)).map(Telling::from);
        let told = told.collect();
        Some(News {
            node: entry.node.clone(),
            dirty,
            facts,
            can_tell,
            upserts,
            gone,
            lost,
            known,
            told,
            held,
        })
    }
}

impl Fence {
    fn read(
        tx: &mut WriteTx<'_>,
        us: Option<ReplicaId>,
        known: u64,
        batch: &[Arc<News>],
    ) -> Result<Self, Error> {
        let Some(replica) = us else { return Ok(Self::default()) };
        let oldest = batch.iter().filter_map(|news| news.known).chain([known]).min().unwrap_or(known);
        let taken = tx.node_session_taken_by_others(replica, oldest)?.into_iter().collect();
        Ok(Self { us, taken, known })
    }

    /// Whoever took a node after this replica knew enough to judge may have the newer session: of
    /// two the one that was stored first stays, and the other one's host comes again.
    fn bars(&self, news: &News) -> bool {
        let known = news.known.unwrap_or(self.known);
        self.taken.get(&news.node.id).is_some_and(|taken| *taken > known)
    }
}

fn selectors_can_tell(before: &Known, after: &Facts) -> bool {
    Facts::SELECTABLE.iter().any(|name| before.lookup(name) != after.lookup(name))
}

fn write_news(tx: &mut WriteTx<'_>, news: &News, fence: &Fence, now: UnixMillis) -> Result<Written, Error> {
    let (node, dirty) = (&news.node, &news.dirty);
    if fence.bars(news) {
        return Ok(Written { is_others: true, ..Written::default() });
    }
    let mut written = Written::default();
    if let Some(us) = fence.us {
        write_session(tx, news, us)?;
    }
    if dirty.liveness {
        written.is_gone |= !tx.node_set_liveness(node.id, &node.liveness)?;
    }
    if let (true, Some(ledger)) = (dirty.ledger, node.ledger) {
        tx.node_set_ledger(node.id, ledger)?;
        // In the same write: if only the mark were there after a crash, nobody
        // would see any more that these may have run, and they would be sent again.
        interrupt(tx, news, now, &mut written)?;
    }
    if let Some(told) = &news.facts {
        tx.node_set_facts(node.id, &told.facts, &told.sha256, news.can_tell)?;
    }
    if dirty.certificate {
        written.was_replaced = !promote(tx, node)?;
    }
    if dirty.trust_bundle {
        tx.node_set_trust_bundle(node.id, node.trust_bundle_version)?;
    }
    if !dirty.items.is_empty() {
        written.is_gone |= !tx.node_set_items(node.id, &news.upserts, &news.gone)?;
    }
    written.revision = tx.revision();
    Ok(written)
}

/// What the other replicas are to know besides.
fn write_session(tx: &mut WriteTx<'_>, news: &News, us: ReplicaId) -> Result<(), Error> {
    match (&news.held, news.dirty.session) {
        (Some(held), _) => tx.node_session_put(news.node.id, held)?,
        (None, Some(_)) => tx.node_session_end(news.node.id, us)?,
        (None, None) if news.dirty.ledger || news.dirty.trust_bundle => {
            tx.node_session_changed(news.node.id);
        }
        (None, None) => {}
    }
    Ok(())
}

/// Ends what the host has lost.
fn interrupt(tx: &mut WriteTx<'_>, news: &News, now: UnixMillis, written: &mut Written) -> Result<(), Error> {
    let (mut operations, mut ended, mut ends) = (Vec::new(), Vec::new(), Ends::default());
    for id in &news.lost {
        let Some(before) = tx.command_get(*id)? else { continue };
        if let Ok(after) = command::apply(&before, &Event::LedgerWentBack, now) {
            if after != before {
                tx.command_put(&after)?;
                ends.saw(before.state, &after);
                if !operations.contains(&after.operation) {
                    operations.push(after.operation);
                }
                ended.push(after.clone());
            }
            written.interrupted.push(after);
        }
    }
    ends.tell(tx)?;
    written.ended = end_operations(tx, operations, now)?.and(ended);
    Ok(())
}
