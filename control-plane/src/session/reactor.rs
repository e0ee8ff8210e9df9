//! The response stream of one session. Polled by the HTTP/2 layer whenever the
//! node sent something, a hint arrived, or there is room to send.
//!
//! One poll: hints first (an end is obeyed before anything else is read), then
//! what the node sent, until a frame is ready to go out or there is nothing to
//! do. Nothing here waits; nothing here spawns.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use muster_common::{
    clock::{Clock, Instant},
    ids::SessionId,
    reason::Reason,
};
use muster_domain::liveness;
use tokio::time::Sleep;

use super::{
    frames::{Ack, Caller, CommandReport, Desired, Inbound, Outbound, Refusal},
    hub::Handle,
    machine::{Machine, Step},
    ports::{Closed, Desk, End, Hints, Inbox, Opened},
    rate::Pace,
};

/// How long a stream may stay without Hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How long reports wait for room, if they must: first, at most between two looks, and in
/// all, until one is taken again. Nothing is read meanwhile, heartbeats neither; so it has an
/// end, after which reports are left out, and their host says them again when no
/// acknowledgement comes.
const ROOM: (Duration, Duration, Duration) =
    (Duration::from_millis(25), Duration::from_millis(400), Duration::from_secs(5));

/// Messages read in one poll before others get their turn.
const TURN: usize = 32;

/// A message is kept well under what an agent accepts.
const DESIRED_BYTES: usize = 128 * 1024;
/// Of one removal, at most.
const REMOVAL_BYTES: usize = 192;

/// The ports of a session, shared by all.
#[derive(Clone)]
pub struct Ports {
    /// What nodes tell us.
    pub inbox: Arc<dyn Inbox>,
    /// What nodes should get.
    pub desk: Arc<dyn Desk>,
}

/// What goes out.
#[derive(Debug, PartialEq)]
pub struct Frame {
    /// On every message.
    pub session: SessionId,
    /// The message.
    pub body: Outbound,
}

/// One session, as a stream of what goes out.
pub struct Reactor<S> {
    inbound: S,
    ports: Ports,
    caller: Option<Caller>, // until Hello
    handle: Handle,
    machine: Machine,
    outbox: VecDeque<Outbound>,
    hello_by: Option<Pin<Box<Sleep>>>, // until Hello
    pace: Pace,
    rest: Option<Pin<Box<Sleep>>>, // while it has said too much, or nobody can take more
    held: Option<Box<CommandReport>>, // until there is room for it
    full_since: Option<Instant>,   // no report was taken since
    end: Option<Closed>,
    opened: bool,
    done: bool,
}

impl<S> Reactor<S>
where
    S: Stream<Item = Result<Inbound, Refusal>> + Unpin,
{
    /// A session that waits for its Hello.
    pub fn new(caller: Caller, inbound: S, ports: Ports) -> Self {
        Self {
            inbound,
            ports,
            handle: Handle::new(caller.node, caller.line.clone()),
            caller: Some(caller),
            machine: Machine::Waiting,
            outbox: VecDeque::new(),
            hello_by: Some(Box::pin(tokio::time::sleep(HELLO_WITHIN))),
            pace: Pace::new(),
            rest: None,
            held: None,
            full_since: None,
            end: None,
            opened: false,
            done: false,
        }
    }

    fn obey(&mut self, hints: Hints) {
        if let Some(end) = hints.end {
            return self.finish(end);
        }
        if !self.opened {
            return;
        }
        if hints.ack != Ack::default() {
            self.outbox.push_back(Outbound::Ack(hints.ack));
        }
        let kill = |command| Outbound::Cancel { command, force: true };
        self.outbox.extend(hints.given_up.into_iter().map(kill));
        if hints.tune {
            self.outbox.push_back(Outbound::Tune(self.ports.desk.tune(&self.handle)));
        }
        if hints.trust {
            self.tell_trust();
        }
        if hints.tickets {
            self.hand_out_tickets();
        }
        if hints.desired {
            self.offer();
        }
    }

    fn finish(&mut self, end: End) {
        // What was still to be said is said again in the next session.
        self.outbox.clear();
        self.end = Some(match end {
            End::Refuse(refusal) => Closed::Refused(refusal),
            End::Removed(reason) => {
                self.outbox.push_back(Outbound::Removed { reason });
                Closed::Refused(Refusal::new(Reason::NodeRemoved, "the node was removed"))
            }
            End::Reconnect { after, spread, addresses, reason } => {
                self.outbox.push_back(Outbound::Reconnect { after, spread, addresses, reason });
                Closed::Goodbye(liveness::Closed::Moved)
            }
        });
    }

    fn tell_trust(&mut self) {
        let trust = self.ports.desk.trust(&self.handle);
        let quarantine = trust.quarantine.map(|(reason, message)| Outbound::Quarantine { reason, message });
        let renew = trust.renew.map(|(spread, reason)| Outbound::Renew { spread, reason });
        // Roots first: the new certificate may be under one of them.
        self.outbox.extend(trust.bundle.map(Outbound::TrustBundle));
        self.outbox.extend(renew);
        self.outbox.extend(quarantine);
    }

    fn hand_out_tickets(&mut self) {
        for ticket in self.ports.desk.tickets(&self.handle) {
            let (command, cancel, force) = (ticket.id, ticket.cancel, ticket.force);
            self.outbox.push_back(Outbound::Command(Box::new(ticket)));
            if cancel {
                self.outbox.push_back(Outbound::Cancel { command, force });
            }
        }
    }

    fn offer(&mut self) {
        let difference = self.ports.desk.desired(&self.handle);
        if let Some(difference) = self.machine.fresh(difference) {
            self.outbox.extend(split(difference).into_iter().map(Outbound::Desired));
        }
    }

    fn read(&mut self, message: Inbound) {
        match self.machine.on(&message) {
            Step::Greet(protocol) => self.greet(message, protocol),
            Step::Heard(need) => {
                if need.any() {
                    self.outbox.push_back(Outbound::Need(need));
                }
                self.deliver(message);
            }
            Step::Take => self.deliver(message),
            Step::Left => {
                let how = match message {
                    Inbound::Goodbye(goodbye) => goodbye.how,
                    _ => liveness::Closed::Lost,
                };
                self.end = Some(Closed::Goodbye(how));
            }
            Step::Refuse(refusal) => self.end = Some(Closed::Refused(refusal)),
        }
    }

    fn greet(&mut self, message: Inbound, protocol: u32) {
        let (Inbound::Hello(hello), Some(caller)) = (message, self.caller.take()) else { return };
        self.hello_by = None;
        match self.ports.inbox.opened(&self.handle, &caller, &hello, protocol) {
            Ok(Opened { welcome, state_hash }) => {
                self.opened = true;
                self.machine.opened(state_hash);
                self.outbox.push_back(Outbound::Welcome(Box::new(welcome)));
                self.tell_trust();
                self.hand_out_tickets();
                self.offer();
            }
            Err(refusal) => self.end = Some(Closed::Refused(refusal)),
        }
    }

    fn deliver(&mut self, message: Inbound) {
        let inbox = &self.ports.inbox;
        match message {
            Inbound::Heartbeat(beat) => inbox.heard(&self.handle, beat),
            Inbound::Facts(report) => inbox.facts(&self.handle, *report),
            Inbound::Items(report) => {
                let hash = inbox.items(&self.handle, report);
                self.machine.reported(hash);
                // Whatever was refused or finished may make room for something newer.
                self.offer();
            }
            Inbound::Command(report) => {
                let taken = inbox.command(&self.handle, report);
                self.taken(taken);
            }
            Inbound::TrustBundle(version) => inbox.trust_bundle(&self.handle, version),
            Inbound::Unknown => inbox.unknown(&self.handle),
            Inbound::Hello(_) | Inbound::Goodbye(_) => {} // the machine took them
        }
    }

    /// Holds a report that was not taken, unless none was for long.
    fn taken(&mut self, taken: Result<(), Box<CommandReport>>) {
        let Err(report) = taken else {
            self.full_since = None;
            return;
        };
        let now = Clock::System.monotonic();
        let full_for = now - *self.full_since.get_or_insert(now);
        if full_for < ROOM.2 {
            // As long again as it has waited: twice as long each time.
            self.rest = Some(Box::pin(tokio::time::sleep(full_for.clamp(ROOM.0, ROOM.1))));
            self.held = Some(report);
        }
    }

    fn poll_inbound(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURN {
            ready!(self.poll_pace(context));
            if let Some(report) = self.held.take() {
                let taken = self.ports.inbox.command(&self.handle, *report);
                self.taken(taken);
                continue;
            }
            match ready!(Pin::new(&mut self.inbound).poll_next(context)) {
                Some(Ok(message)) => {
                    self.pace.take(Clock::System.monotonic());
                    self.read(message);
                }
                Some(Err(refusal)) => self.end = Some(Closed::Refused(refusal)),
                None => self.end = Some(Closed::Lost),
            }
            if self.end.is_some() || !self.outbox.is_empty() {
                return Poll::Ready(());
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when another message may be read.
    fn poll_pace(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(context));
                self.rest = None;
            }
            match self.pace.wait(Clock::System.monotonic()) {
                Some(wait) => self.rest = Some(Box::pin(tokio::time::sleep(wait))),
                None => return Poll::Ready(()),
            }
        }
    }

    fn poll_hello(&mut self, context: &mut Context<'_>) {
        if let Some(hello_by) = &mut self.hello_by
            && hello_by.as_mut().poll(context).is_ready()
        {
            self.hello_by = None;
            let refusal = Refusal::new(Reason::HelloMissing, "no Hello within 10 s");
            self.end = Some(Closed::Refused(refusal));
        }
    }

    fn next_out(&mut self) -> Option<Option<Result<Frame, Refusal>>> {
        if let Some(body) = self.outbox.pop_front() {
            if self.outbox.is_empty() {
                self.outbox = VecDeque::new(); // an idle session keeps no buffer
            }
            return Some(Some(Ok(Frame { session: self.handle.id(), body })));
        }
        let end = self.end.as_ref()?;
        self.done = true;
        Some(match end {
            Closed::Refused(refusal) => Some(Err(refusal.clone())),
            Closed::Goodbye(_) | Closed::Lost => None,
        })
    }
}

impl<S> Stream for Reactor<S>
where
    S: Stream<Item = Result<Inbound, Refusal>> + Unpin,
{
    type Item = Result<Frame, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        if this.end.is_none() {
            let hints = this.handle.take(context.waker());
            this.obey(hints);
        }
        loop {
            if let Some(out) = this.next_out() {
                return Poll::Ready(out);
            }
            this.poll_hello(context);
            if this.end.is_none() {
                ready!(this.poll_inbound(context));
            }
        }
    }
}

impl<S> Drop for Reactor<S> {
    fn drop(&mut self) {
        if self.opened {
            let why = self.end.take().unwrap_or(Closed::Lost);
            self.ports.inbox.closed(&self.handle, &why);
        }
    }
}

/// Cuts a difference into messages of bearable size; only the last is complete.
fn split(difference: Desired) -> Vec<Desired> {
    let nonce = difference.nonce;
    let mut bytes = difference.removals.len() * REMOVAL_BYTES;
    let mut frames = vec![Desired { nonce, removals: difference.removals, ..Desired::default() }];
    for upsert in difference.upserts {
        bytes += upsert.bytes();
        let holds_any = |frame: &Desired| !frame.upserts.is_empty() || !frame.removals.is_empty();
        if bytes > DESIRED_BYTES && frames.last().is_some_and(holds_any) {
            bytes = upsert.bytes();
            frames.push(Desired { nonce, ..Desired::default() });
        }
        if let Some(frame) = frames.last_mut() {
            frame.upserts.push(upsert);
        }
    }
    if let Some(last) = frames.last_mut() {
        last.complete = true;
    }
    frames
}
