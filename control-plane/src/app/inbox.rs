//! What nodes tell us, taken in without waiting: memory first, then a note for
//! the recorder.

use muster_common::{digest::Sha256, generation::Generation, ids::CommandId, reason::Reason};
use muster_domain::{
    certificate::Shown,
    command,
    liveness::{self, Event},
    sighting::{Quarantine, Sighting, Suspicion},
};
use parking_lot::MutexGuard;

use super::{
    App,
    convergence::answers,
    fleet::{Claim, Entry, ItemsRefused, Live, ToldFacts},
    recorder::Full,
    speaker::{only_kept, superseded},
};
use crate::session::{
    frames::{Caller, CommandReport, FactsReport, Heartbeat, Hello, ItemReport, Need, Refusal, Welcome},
    hub::Handle,
    ports::{Closed, End, Inbox, Opened},
};

/// Conditions kept of one node.
const MAX_CONDITIONS: usize = 32;

impl Inbox for App {
    fn opened(
        &self,
        handle: &Handle,
        caller: &Caller,
        hello: &Hello,
        protocol: u32,
    ) -> Result<Opened, Refusal> {
        let now = self.clock.monotonic();
        let opened = self.fleet.with(caller.node, |mut entry| {
            let seen = self.sighting(caller, hello);
            // Before anything else: the other one must not become the node by a certificate
            // that it got meanwhile.
            if let Err((reason, message)) = only_kept(&entry.node, Some(hello.instance), &caller.serial) {
                entry.turned_away.look(seen, &[]);
                return Err(Refusal::new(reason, message));
            }
            self.admit(&mut entry, caller)?;
            let newest = newest_told(hello);
            self.recognize(&mut entry, caller, seen, newest);
            self.take_hello(&mut entry, hello)?;
            entry.note_replaced(hello.instance);
            entry.live = Some(Box::new(Live {
                session: handle.id(),
                instance: hello.instance,
                serial: caller.serial.clone(),
                remote: caller.remote,
                key_exchange: caller.key_exchange.into(),
                newest,
                capabilities: self.fleet.capabilities(&hello.capabilities),
                agent_version: hello.agent_version.clone(),
                facts_due: needs_facts(&entry, hello),
                sealing_key: hello.sealing_key.clone(),
                unsealed: std::sync::Arc::default(),
                since: self.clock.now(),
                known: *self.feed.applied().borrow(),
                replica: None,
            }));
            self.take_hold(&mut entry, Claim::Anew);
            entry.last_heard = Some(self.clock.now());
            self.observe(&mut entry, Event::Connected, now);
            self.observe_quarantine(&mut entry, now);
            // Under the entry's lock: of two Hellos at once, the one that the hub
            // has is the one that speaks for the node. The older session is only
            // told here; what its end has to do, it does later and by itself.
            self.hub.register(handle);
            let (mut held, mut welcome) =
                (ended_here(&entry, hello), self.welcome(&entry, handle, hello, protocol));
            if caller.is_unsure {
                // What is not known here may be open with another replica: the next Hello tells.
                held.clear();
                welcome.withdrawn.clear();
            }
            Ok((welcome, entry.state_hash(), held))
        });
        let (welcome, state_hash, held) = opened.unwrap_or_else(|| Err(self.stranger(caller)))?;
        self.stop_given_up(handle, held);
        self.dispatch.add(caller.node);
        self.metrics.session_opened();
        // Who ends the sessions began with it before this one was there, or meets it.
        if self.is_draining() {
            handle.end(self.last_word());
        }
        Ok(Opened { welcome, state_hash })
    }

    fn heard(&self, session: &Handle, beat: Heartbeat) {
        self.metrics.heartbeat();
        self.live(session, |mut entry| {
            entry.last_heard = Some(self.clock.now());
            entry.load = beat.load;
            let mut has_news = false;
            for condition in beat.conditions {
                let known = entry.conditions.iter().position(|old| old.kind == condition.kind);
                match known {
                    Some(n) if entry.conditions[n] == condition => continue,
                    Some(n) => entry.conditions[n] = condition,
                    None if entry.conditions.len() < MAX_CONDITIONS => {
                        entry.conditions.reserve_exact(1);
                        entry.conditions.push(condition);
                    }
                    None => continue,
                }
                has_news = true;
            }
            if has_news {
                self.tell_session(&mut entry, Claim::Again);
            }
            let now = self.clock.monotonic();
            if let Some(before) = entry.tracker.heard() {
                self.metrics
                    .heartbeat_late((now - before).saturating_sub(self.fixed.session.heartbeat_interval));
            }
            self.observe(&mut entry, Event::Heard, now);
        });
    }

    fn facts(&self, session: &Handle, report: FactsReport) {
        let known = self.live(session, |mut entry| {
            if entry.facts_sha256() == report.sha256 {
                // Stored, they are its facts after all, whatever its Hello said.
                let is_stored = entry.told.is_none();
                return is_stored
                    && entry.live.as_mut().is_some_and(|live| std::mem::take(&mut live.facts_due));
            }
            entry.told = Some(Box::new(ToldFacts { facts: report.facts, sha256: report.sha256 }));
            entry.dirty.facts = true;
            self.note(&mut entry);
            false
        });
        if known == Some(true) {
            self.dispatch.add(session.node()); // preconditions may have waited for them
        }
    }

    fn items(&self, session: &Handle, report: ItemReport) -> Sha256 {
        self.items_done(session.node(), report.traces);
        let taken = self.live(session, |mut entry| {
            let answers = answers(&entry, &report.items, self.fixed.history.epoch);
            if let Err(refused) = entry.take_items(report.items, report.complete, self.clock.now()) {
                session.end(End::Refuse(refused_items(refused)));
                return entry.state_hash();
            }
            self.converged(&answers);
            entry.dirty.items_seq = entry.dirty.items_seq.max(report.seq);
            self.note(&mut entry);
            entry.state_hash()
        });
        taken.unwrap_or_default()
    }

    fn command(&self, session: &Handle, mut report: CommandReport) -> Result<(), Box<CommandReport>> {
        if !(self.traces.is_on() && report.state.is_end()) {
            report.spans = Vec::new(); // told with the end, and only where somebody collects
        }
        self.live(session, |mut entry| {
            if let Some(ledger) = &mut entry.node.ledger
                && ledger.seq < report.ledger_seq
            {
                ledger.seq = report.ledger_seq;
                entry.dirty.ledger = true;
                self.note(&mut entry);
            }
        });
        let Err(refused) = self.recorder.step(session.node(), report) else { return Ok(()) };
        self.metrics.queue_full(refused.full.word());
        match refused.full {
            Full::Everybody | Full::Node => Err(refused.report),
            // It said more than it was to say, and may say it again when it has credit.
            Full::Credit => Ok(()),
        }
    }

    fn trust_bundle(&self, session: &Handle, version: u64) {
        self.live(session, |mut entry| self.trusts(&mut entry, version));
    }

    fn unknown(&self, _: &Handle) {
        self.metrics.unknown_message();
    }

    fn closed(&self, session: &Handle, why: &Closed) {
        self.metrics.session_closed(ended(why));
        if !self.hub.unregister(session) {
            return; // fenced: the newer session speaks for the node
        }
        self.traces.items().left(session.node());
        let now = self.clock.monotonic();
        if *why == Closed::Lost {
            self.herd.broke(now, self.liveness_limits().grace);
        }
        self.live(session, |mut entry| {
            entry.live = None;
            for ticket in &mut entry.tickets {
                ticket.to_send = false; // the next Hello decides anew
            }
            self.observe(&mut entry, Event::StreamClosed(how(why)), now);
            // It has none now; and one that is over is not newer than any other.
            entry.dirty.session = entry.dirty.session.and(Some(Claim::Again));
            self.tell_session(&mut entry, Claim::Again);
            self.let_go_if_gone(&mut entry);
        });
    }
}

impl App {
    fn live<T>(&self, session: &Handle, look: impl FnOnce(MutexGuard<'_, Entry>) -> T) -> Option<T> {
        self.fleet.with(session.node(), |entry| entry.is_live(session.id()).then(|| look(entry))).flatten()
    }

    fn note(&self, entry: &mut MutexGuard<'_, Entry>) {
        self.recorder.node(entry);
    }

    fn stranger(&self, caller: &Caller) -> Refusal {
        if self.fleet.was_removed(caller.node) {
            return Refusal::new(Reason::NodeRemoved, format!("node {} was removed", caller.node));
        }
        // Not NODE_REMOVED: that would make the agent forget itself for good.
        Refusal::new(Reason::CertificateRevoked, format!("node {} is not known here", caller.node))
    }

    fn admit(&self, entry: &mut MutexGuard<'_, Entry>, caller: &Caller) -> Result<(), Refusal> {
        self.judge(entry, caller)?;
        // It has a certificate of its own: what it had in common with its twin goes. Until
        // that is stored, memory knows, too, who was kept.
        if let Some(kept) = entry.node.kept.as_deref().filter(|kept| !kept.shares(&caller.serial)) {
            self.revoke_replaced(caller.node, kept.clone());
        }
        Ok(())
    }

    fn judge(&self, entry: &mut MutexGuard<'_, Entry>, caller: &Caller) -> Result<(), Refusal> {
        match entry.node.certificate.judge(&caller.serial) {
            Shown::Current => Ok(()),
            Shown::Next => {
                entry.node.certificate = entry.node.certificate.clone().promoted();
                entry.dirty.certificate = true;
                self.note(entry);
                Ok(())
            }
            Shown::Superseded => Err(Refusal::new(Reason::CertificateRevoked, superseded(&caller.serial))),
        }
    }

    fn trusts(&self, entry: &mut MutexGuard<'_, Entry>, version: u64) {
        if entry.node.trust_bundle_version != version {
            entry.node.trust_bundle_version = version;
            entry.dirty.trust_bundle = true;
            self.note(entry);
        }
    }

    fn sighting(&self, caller: &Caller, hello: &Hello) -> Sighting {
        Sighting {
            instance: hello.instance,
            boot_id: hello.boot_id.clone(),
            machine_fingerprint: hello.machine_fingerprint.clone(),
            remote: caller.remote.ip(),
            at: self.clock.now(),
            serial: caller.serial.clone(),
        }
    }

    /// Whether this is the host that the node always was.
    fn recognize(
        &self,
        entry: &mut MutexGuard<'_, Entry>,
        caller: &Caller,
        seen: Sighting,
        newest: Generation,
    ) {
        let (at, remote) = (seen.at, seen.remote);
        let machine = entry.node.machine_fingerprint;
        // Who could not look how far the store is knows of nothing that it has forgotten.
        let forgotten = !caller.is_unsure && self.has_forgotten(&entry.node, newest);
        let knows_more = forgotten.then_some(Suspicion::NewerThanStore);
        let suspicion = entry.sightings.look(seen, &machine).or(knows_more);
        if let (Some(reason), None) = (suspicion, &entry.node.quarantine) {
            let seen = entry.sightings.last_two();
            let quarantine = Quarantine {
                reason,
                since: at,
                seen,
                newest: (reason == Suspicion::NewerThanStore).then_some(newest),
            };
            entry.node.quarantine = Some(Box::new(quarantine.clone()));
            entry.locking = true;
            self.lock_up_soon(entry.node.id, quarantine, remote);
        }
    }

    /// What Hello changes.
    fn take_hello(&self, entry: &mut MutexGuard<'_, Entry>, hello: &Hello) -> Result<(), Refusal> {
        let answers = answers(entry, &hello.items, self.fixed.history.epoch);
        entry.take_items(hello.items.clone(), true, self.clock.now()).map_err(refused_items)?;
        self.converged(&answers);
        let went_back = entry.node.ledger.is_some_and(|mark| mark.went_back(hello.ledger));
        if went_back {
            let node = entry.node.id;
            tracing::warn!(%node, "the ledger of node {node} went back: what was delivered is not repeated");
        }
        self.trusts(entry, hello.trust_bundle_version);
        entry.node.ledger = Some(hello.ledger);
        entry.dirty.ledger = true;
        for ticket in &mut entry.tickets {
            let held = hello.open_commands.iter().any(|open| open.id == ticket.command);
            match ticket.state {
                // An earlier Hello has said so, and it is not written down yet: no later one revives it.
                _ if ticket.lost => ticket.to_send = false,
                command::State::Queued => ticket.to_send = false,
                // It may have been lost on the way; the host knows ids and answers twice for once.
                command::State::Delivered if !went_back => ticket.to_send = !held || ticket.cancel,
                // One that went back tells another story under the numbers of the first.
                command::State::Running if held && !went_back => ticket.to_send = ticket.cancel,
                _ => {
                    ticket.to_send = false;
                    ticket.lost = true;
                }
            }
        }
        self.note(entry);
        Ok(())
    }

    fn welcome(&self, entry: &Entry, handle: &Handle, hello: &Hello, protocol: u32) -> Welcome {
        Welcome {
            session: handle.id(),
            node: entry.node.id,
            display_name: entry.node.display_name.clone(),
            epoch: self.fixed.history.epoch,
            protocol,
            server_time: self.clock.now(),
            tune: self.rhythm(entry.node.display_name.clone()),
            output_limit: self.fixed.output_limit,
            need: Need { facts: needs_facts(entry, hello), items: false },
            withdrawn: withdrawn(entry, hello),
        }
    }
}

/// Orders that a host has not ended and that have ended here.
fn ended_here(entry: &Entry, hello: &Hello) -> Vec<CommandId> {
    let is_known = |id| entry.tickets.iter().any(|ticket| ticket.command == id);
    let held = hello
        .open_commands
        .iter()
        .filter(|open| !open.state.is_some_and(command::State::is_end) && !is_known(open.id));
    held.map(|open| open.id).collect()
}

/// Orders that the host holds and has not started, and that are over here: it may be set
/// back to before it ran them. What nobody here knows of is over, too.
fn withdrawn(entry: &Entry, hello: &Hello) -> Vec<CommandId> {
    let is_open = |id| entry.tickets.iter().any(|ticket| ticket.command == id && !ticket.lost);
    let waits = hello.open_commands.iter().filter(|open| open.state == Some(command::State::Delivered));
    waits.map(|open| open.id).filter(|id| !is_open(*id)).collect()
}

/// What a host was told: what it says, and, of one that does not say it or has lost its note, what
/// its items tell.
fn newest_told(hello: &Hello) -> Generation {
    let versions = hello.items.iter().flat_map(|state| state.running.iter().chain(&state.attempted));
    versions.map(|version| version.generation).fold(hello.newest, Generation::max)
}

fn needs_facts(entry: &Entry, hello: &Hello) -> bool {
    hello.facts_sha256.is_empty() || hello.facts_sha256 != entry.facts_sha256()
}

fn refused_items(refused: ItemsRefused) -> Refusal {
    Refusal::new(refused.reason(), refused.to_string())
}

fn how(why: &Closed) -> liveness::Closed {
    match why {
        Closed::Goodbye(how) => *how,
        Closed::Refused(_) | Closed::Lost => liveness::Closed::Lost,
    }
}

/// How a session ended, in one word, for metrics.
fn ended(why: &Closed) -> &'static str {
    match why {
        Closed::Goodbye(how) => how.word(),
        Closed::Refused(refusal) => refusal.reason.as_str(),
        Closed::Lost => liveness::Closed::Lost.word(),
    }
}
