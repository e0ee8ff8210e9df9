//! One open session, from Hello to its end.

use std::time::Duration;

use muster_common::{
    clock::{Clock, Instant},
    ids::SessionId,
};
use rand::RngExt as _;
use tokio::{sync::watch, time::sleep_until};

use super::{OPENS, Stop, TASK};
use crate::{
    session::{
        fit,
        frames::{
            CommandReport, Goodbye, Heartbeat, Inbound, ItemReport, Need, OpenCommand, Outbound, Reconnect,
            Tune,
        },
        machine::{Machine, Step},
        outbox::Outbox,
        ports::{Changes, Host, Order},
        transport::{Error, Link},
    },
    state::{ItemState, ItemStory, Line, Pulse},
};

/// Welcome must come within this.
const WELCOME: Duration = Duration::from_secs(20);
/// Output told in one turn, so that a heartbeat is never long behind it.
const TURN_BYTES: usize = 64 * 1024;
/// What a report takes besides its output.
const REPORT_BYTES: usize = 200;

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// This host was asked to stop.
    Stopped,
    /// The node was removed.
    Removed(String),
    /// Another session is wanted.
    Leave(Reconnect),
    /// This host wants another session, now.
    Anew,
    /// It broke.
    Lost(Error),
}

/// One open session.
pub(super) struct Talk<L> {
    link: L,
    machine: Machine,
    outbox: Outbox,
    clock: Clock,
    epoch: u64,
    tune: Option<Tune>,
    beats: u64,
    next_beat: Instant,
    items_seq: u64,
    nonce: String,
    max_message_bytes: usize,
    /// Commands may have more to tell than fitted into a turn.
    more: bool,
    /// Messages of kinds that this release does not know.
    unknown: u64,
    /// Where other sessions are asked for, and the ask that this one answers.
    line: (Line, u64),
    pulse: Pulse,
}

enum Event {
    Stop,
    Anew,
    Heard(Inbound),
    Beat,
    Changed(Changes),
}

impl<L: Link> Talk<L> {
    pub(super) fn new(
        link: L,
        items: &[ItemState],
        commands: &[OpenCommand],
        items_seq: u64,
        clock: Clock,
    ) -> Self {
        let mut outbox = Outbox::default();
        outbox.greeted(items, commands);
        Self {
            link,
            machine: Machine::Greeted,
            outbox,
            next_beat: clock.monotonic() + WELCOME,
            clock,
            epoch: 0,
            tune: None,
            beats: 0,
            items_seq,
            nonce: String::new(),
            max_message_bytes: 256 * 1024,
            more: !commands.is_empty(),
            unknown: 0,
            line: (Line::default(), 0),
            pulse: Pulse::default(),
        }
    }

    /// The same, ended by a newer ask than this.
    pub(super) fn answering(self, line: Line, asked: u64) -> Self {
        Self { line: (line, asked), ..self }
    }

    /// The same, telling that it gets on.
    pub(super) fn beating(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    pub(super) async fn run(
        &mut self,
        host: &mut impl Host,
        stop: &mut watch::Receiver<Stop>,
        opened: impl FnOnce(SessionId),
    ) -> End {
        let mut opened = Some(opened);
        loop {
            let (now, next) = (self.clock.monotonic(), self.next_beat);
            self.pulse.beat(TASK, now, next.saturating_duration_since(now) + OPENS);
            let event = match self.next(host, stop).await {
                Ok(event) => event,
                Err(error) => return End::Lost(error),
            };
            let done = match event {
                Event::Stop => return End::Stopped,
                Event::Anew => return End::Anew,
                Event::Heard(message) => self.hear(message, host).await,
                Event::Beat => self.beat(host).await,
                Event::Changed(changes) => self.tell(changes, host).await,
            };
            match done {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(Error::LastWord(message)) => return self.last_word(*message),
                Err(error) => return End::Lost(error),
            }
            if let (Machine::Live(session), Some(tell)) = (&self.machine, opened.take_if(|_| self.is_live()))
            {
                tell(*session);
            }
        }
    }

    /// What it was told while it had something to say.
    fn last_word(&mut self, message: Inbound) -> End {
        match self.machine.on(message) {
            Step::Leave(reconnect) => End::Leave(reconnect),
            Step::Removed(reason) => End::Removed(reason),
            _ => End::Lost(Error::Closed),
        }
    }

    async fn next(&mut self, host: &mut impl Host, stop: &mut watch::Receiver<Stop>) -> Result<Event, Error> {
        let live = self.is_live();
        let more = self.more && live;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop != Stop::No) => Ok(Event::Stop),
            () = self.line.0.asked_after(self.line.1), if live => Ok(Event::Anew),
            () = sleep_until(self.next_beat) => if live { Ok(Event::Beat) } else { Err(Error::Stuck) },
            message = self.link.next() => message.map(Event::Heard),
            () = std::future::ready(()), if more => Ok(Event::Changed(Changes { commands: true, ..Changes::default() })),
            changes = host.changed(), if live => Ok(Event::Changed(changes)),
        }
    }

    const fn is_live(&self) -> bool {
        matches!(self.machine, Machine::Live(_))
    }

    async fn hear(&mut self, message: Inbound, host: &mut impl Host) -> Result<Option<End>, Error> {
        match self.machine.on(message) {
            Step::Open(welcome) => {
                self.epoch = welcome.epoch;
                self.max_message_bytes = welcome.max_message_bytes;
                self.retune(welcome.tune.clone());
                let need = welcome.need;
                host.take(Order::Welcome(welcome)).await;
                self.report(need, host).await?;
            }
            Step::Tell(order) => {
                if let Order::Desired(desired) = &order {
                    self.nonce.clone_from(&desired.nonce);
                }
                host.take(order).await;
            }
            Step::Run(order, id, credit) => {
                self.outbox.ordered(id, credit);
                host.take(order).await;
            }
            Step::Stored(ack) => {
                self.outbox.stored(&ack);
                for (id, seq, _) in ack.commands {
                    host.take(Order::Acked(id, seq)).await;
                }
                self.more = true;
            }
            Step::Report(need) => self.report(need, host).await?,
            Step::Retune(tune) => {
                if !tune.display_name.is_empty() {
                    host.take(Order::Name(tune.display_name.clone())).await;
                }
                self.retune(tune);
            }
            Step::Unknown => {
                self.unknown += 1;
                if self.unknown == 1 {
                    tracing::info!("the control plane said something that this release does not know");
                }
            }
            Step::Leave(reconnect) => return Ok(Some(End::Leave(reconnect))),
            Step::Removed(reason) => return Ok(Some(End::Removed(reason))),
            Step::Broken(how) => {
                tracing::error!("the control plane broke the session's contract: {how}");
                return Err(Error::Closed);
            }
        }
        Ok(None)
    }

    async fn beat(&mut self, host: &mut impl Host) -> Result<Option<End>, Error> {
        let (load, conditions) = host.beat();
        self.beats += 1;
        let beat = Heartbeat {
            seq: self.beats,
            state_hash: self.outbox.state_hash(),
            load,
            conditions: self.outbox.conditions(conditions),
            epoch: self.epoch,
        };
        self.more |= self.outbox.beat();
        self.plan_beat(false);
        self.link.send(Outbound::Heartbeat(beat)).await.map(|()| None)
    }

    async fn tell(&mut self, changes: Changes, host: &mut impl Host) -> Result<Option<End>, Error> {
        if changes.certificate {
            let reason = "a new certificate is to be shown".to_owned();
            return Ok(Some(End::Leave(Reconnect { reason, ..Reconnect::default() })));
        }
        if changes.items {
            let news = self.outbox.items(host.items(), self.clock.now());
            let stories = if news.is_empty() { Vec::new() } else { host.stories() };
            self.send_items(news, false, stories).await?;
        }
        if changes.commands {
            self.tell_commands(host).await?;
        }
        if let Some(version) = changes.trust_bundle {
            self.link.send(Outbound::TrustBundle(version)).await?;
        }
        self.report(Need { facts: changes.facts, items: false }, host).await?;
        Ok(None)
    }

    async fn report(&mut self, need: Need, host: &mut impl Host) -> Result<(), Error> {
        if need.facts {
            self.link.send(Outbound::Facts(Box::new(host.facts()))).await?;
        }
        if need.items {
            let mut all = host.items();
            // One message if it can be: it is what makes the report complete.
            fit::trim(&mut all, self.room());
            self.outbox.items(all.clone(), self.clock.now());
            self.send_items(all, true, Vec::new()).await?;
        }
        Ok(())
    }

    async fn send_items(
        &mut self,
        items: Vec<ItemState>,
        complete: bool,
        mut stories: Vec<ItemStory>,
    ) -> Result<(), Error> {
        if items.is_empty() && !complete {
            return Ok(());
        }
        for (n, items) in fit::split(items, self.room()).into_iter().enumerate() {
            self.items_seq += 1;
            // "Complete" takes away what is not named: only the first part may, others add to it.
            let complete = complete && n == 0;
            let (nonce, seq, stories) = (self.nonce.clone(), self.items_seq, std::mem::take(&mut stories));
            let report = ItemReport { nonce, seq, items, complete, stories };
            self.link.send(Outbound::Items(report)).await?;
        }
        Ok(())
    }

    /// For the items of one message; a quarter is for what else is in it.
    const fn room(&self) -> usize {
        self.max_message_bytes / 4 * 3
    }

    async fn tell_commands(&mut self, host: &mut impl Host) -> Result<(), Error> {
        let open = host.commands().await;
        self.outbox.keep_only(&open);
        let whole = TURN_BYTES.min(self.max_message_bytes / 2);
        let mut room = whole;
        let mut left = false;
        for command in &open {
            let Some((after, credit)) = self.outbox.due(command) else { continue };
            if room > 0 {
                for report in host.reports(command.id, after, credit.min(room)).await {
                    room = room.saturating_sub(report.output_bytes() + REPORT_BYTES);
                    self.outbox.sent(command.id, &report);
                    self.link.send(Outbound::Command(CommandReport { command: command.id, report })).await?;
                }
            }
            left |= self.outbox.due(command).is_some();
        }
        // Whoever got less than a whole turn's room gets it in the next one. A turn in which
        // nothing went out ends it: then all wait for credit.
        self.more = left && room < whole;
        Ok(())
    }

    fn retune(&mut self, tune: Tune) {
        let planned = self.tune.replace(tune).map(|_| self.next_beat);
        self.plan_beat(self.beats == 0);
        // Not later than it was to come: whoever is tuned again and again would never beat.
        self.next_beat = planned.map_or(self.next_beat, |planned| planned.min(self.next_beat));
    }

    /// The next beat: an interval from now, spread; the first one anywhere within an interval.
    fn plan_beat(&mut self, first: bool) {
        let Some(tune) = &self.tune else { return };
        let wait = if first {
            tune.heartbeat_interval.mul_f64(rand::rng().random())
        } else {
            let spread = tune.heartbeat_jitter.mul_f64(rand::rng().random_range(0.0..=2.0));
            (tune.heartbeat_interval + spread).saturating_sub(tune.heartbeat_jitter)
        };
        self.next_beat = self.clock.monotonic() + wait;
    }

    /// Between heartbeats.
    pub(super) fn interval(&self) -> Duration {
        self.tune.as_ref().map_or(Duration::MAX, |tune| tune.heartbeat_interval)
    }

    /// The newest item report's number.
    pub(super) const fn items_seq(&self) -> u64 {
        self.items_seq
    }

    /// First and longest wait between sessions that the control plane asked for.
    pub(super) fn asked(&self) -> Option<(Duration, Duration)> {
        self.tune.as_ref().map(|tune| (tune.reconnect_min, tune.reconnect_max))
    }

    /// Says goodbye where there is somebody to hear it.
    pub(super) async fn finish(mut self, end: &End, goodbye: Goodbye) {
        if self.unknown > 0 {
            let count = self.unknown;
            tracing::info!(
                count,
                "{count} messages of this session were of kinds that this release does not know"
            );
        }
        let word = match end {
            End::Stopped => goodbye,
            End::Leave(_) | End::Anew => Goodbye::Reconnect,
            End::Removed(_) | End::Lost(_) => return,
        };
        if self.is_live() && self.link.send(Outbound::Goodbye(word)).await.is_ok() {
            self.link.finish().await;
        }
    }
}
