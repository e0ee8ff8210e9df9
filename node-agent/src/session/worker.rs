//! Drives sessions: opens one, speaks and listens until it ends, opens the next.

mod talk;

use std::time::Duration;

use muster_common::{
    backoff::Backoff,
    clock::{Clock, UnixMillis},
    error_chain::Chain,
    ids::{InstanceId, SessionId},
    reason::Reason,
};
use rand::RngExt as _;
use tokio::sync::watch;

use super::{
    fit,
    frames::{Goodbye, Hello, Outbound, Reconnect},
    ports::{Host, Order},
    transport::{Error, Transport},
};
use talk::{End, Talk};

use crate::state::{Line, Pulse};

/// Shortest wait before a session that is wanted instead of another.
const LEAVE: Duration = Duration::from_millis(100);
/// Longest wait that a refusal can ask for.
const REFUSED: Duration = Duration::from_secs(3600);

/// A session opens within this, or does not; and what comes of a message is done.
const OPENS: Duration = Duration::from_secs(180);
/// By which it is known whether it gets on.
const TASK: &str = "session";

/// What a worker needs besides its host and its transport.
#[derive(Debug, Clone)]
pub struct Options {
    /// This process.
    pub instance: InstanceId,
    /// What time it is.
    pub clock: Clock,
    /// First and longest wait between tries, as the host has it; the control
    /// plane may ask for longer ones.
    pub reconnect: watch::Receiver<(Duration, Duration)>,
    /// Asked to stop, and what to say then.
    pub stop: watch::Receiver<Stop>,
    /// Who wants a new session, and to whom it is told that one is open.
    pub line: Line,
}

/// Whether to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// Say this, then stop.
    Say(Goodbye),
}

/// Where the conversation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// A session is being opened.
    Connecting,
    /// A session is open.
    Connected {
        /// Which.
        session: SessionId,
        /// Since when, by the host's clock.
        since: UnixMillis,
    },
    /// The next try comes later.
    Waiting {
        /// Since when, by the host's clock.
        since: UnixMillis,
        /// Then.
        until: UnixMillis,
        /// Why the last session ended or did not open.
        error: String,
    },
}

/// Why the worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It was asked to.
    Stopped,
    /// The control plane removed this node.
    Removed(String),
}

/// Where to begin in the list of addresses: a fleet spreads itself over all of them.
fn anywhere() -> usize {
    rand::rng().random::<u16>().into()
}

/// The one conversation of one host.
pub struct Worker<H, T> {
    host: H,
    transport: T,
    options: Options,
    status: watch::Sender<Status>,
    backoff: Backoff,
    /// What the control plane wants at least.
    asked: (Duration, Duration),
    address: usize,
    items_seq: u64,
    /// The last session lasted for at least one interval.
    steady: bool,
    pulse: Pulse,
}

impl<H: Host, T: Transport> Worker<H, T> {
    /// A worker, and where it tells how it stands.
    pub fn new(host: H, transport: T, options: Options) -> (Self, watch::Receiver<Status>) {
        let (status, told) = watch::channel(Status::Connecting);
        let (min, max) = *options.reconnect.borrow();
        let worker = Self {
            host,
            transport,
            options,
            status,
            backoff: Backoff::new(min, max),
            asked: (Duration::ZERO, Duration::ZERO),
            address: anywhere(),
            items_seq: 0,
            steady: false,
            pulse: Pulse::default(),
        };
        (worker, told)
    }

    /// The same, telling that it gets on.
    #[must_use]
    pub fn beating(self, pulse: Pulse) -> Self {
        let worker = Self { pulse, ..self };
        worker.beat(OPENS);
        worker
    }

    /// Works until it is stopped or the node is removed.
    pub async fn run(mut self) -> Why {
        loop {
            self.status.send_replace(Status::Connecting);
            self.beat(OPENS);
            let (mut stop, status) = (self.options.stop.clone(), self.status.clone());
            let (line, asked) = (self.options.line.clone(), self.options.line.asked().number);
            let end = tokio::select! {
                biased;
                () = stopped_before_opening(&mut stop, &status) => return Why::Stopped,
                () = asked_before_opening(&line, asked, &status) => End::Anew,
                end = self.session(asked) => end,
            };
            if let End::Lost(error) = &end
                && error.is_answer()
            {
                line.answered(asked);
            }
            let wait = match end {
                End::Stopped => return Why::Stopped,
                End::Removed(reason) => return Why::Removed(reason),
                End::Leave(reconnect) => self.leave(reconnect).await,
                End::Anew => LEAVE,
                End::Lost(error) if error.is_lack_of_room() => self.lost(&error).unwrap_or(LEAVE),
                End::Lost(error) => match self.lost(&error) {
                    Some(wait) => {
                        if error.is_about_identity() {
                            self.host.take(Order::IdentityRefused).await;
                        }
                        wait
                    }
                    None => return Why::Removed(Chain(&error).to_string()),
                },
            };
            if self.wait(wait, asked).await {
                return Why::Stopped;
            }
        }
    }

    /// `asked`: the newest wish for a session, which this one answers.
    async fn session(&mut self, asked: u64) -> End {
        let addresses = self.host.addresses();
        let Some(address) = addresses.get(self.address % addresses.len().max(1)).cloned() else {
            return End::Lost(Error::Closed);
        };
        self.steady = false;
        let mut hello = Hello {
            instance: self.options.instance,
            host: self.host.introduce().await,
            wall_time: self.options.clock.now(),
        };
        let commands = hello.host.commands.len() * fit::COMMAND;
        fit::trim(&mut hello.host.items, fit::HELLO.saturating_sub(commands));
        let (items, commands) = (hello.host.items.clone(), hello.host.commands.clone());
        self.options.line.goes_to(&address);
        let link = match self.transport.open(&address, Outbound::Hello(Box::new(hello))).await {
            Ok(link) => link,
            Err(error) => {
                self.options.line.closed();
                self.address += 1; // the next try goes to the next address
                return End::Lost(error);
            }
        };
        let line = self.options.line.clone();
        let mut talk = Talk::new(link, &items, &commands, self.items_seq, self.options.clock.clone())
            .answering(line.clone(), asked)
            .beating(self.pulse.clone());
        let mut opened = None;
        let end = talk.run(&mut self.host, &mut self.options.stop, |open| {
            opened = Some(self.options.clock.monotonic());
            line.opened(asked);
            self.status.send_replace(Status::Connected { session: open, since: self.options.clock.now() });
        });
        let end = end.await;
        line.closed();
        match opened {
            Some(at) => self.steady = self.options.clock.monotonic() - at >= talk.interval(),
            None if matches!(end, End::Lost(_)) => self.address += 1, // somebody answers there who does not serve us
            None => {}
        }
        if self.steady {
            // Not sooner: a session that breaks again and again as it opens is no success.
            self.backoff.reset();
        }
        self.items_seq = talk.items_seq();
        self.asked = talk.asked().unwrap_or(self.asked);
        let goodbye = match *self.options.stop.borrow() {
            Stop::Say(goodbye) => goodbye,
            Stop::No => Goodbye::Shutdown,
        };
        talk.finish(&end, goodbye).await;
        end
    }

    /// It comes round again within this.
    fn beat(&self, within: Duration) {
        self.pulse.beat(TASK, self.options.clock.monotonic(), within);
    }

    async fn leave(&mut self, reconnect: Reconnect) -> Duration {
        tracing::info!("the control plane asks for a new session: {}", reconnect.reason);
        if !reconnect.addresses.is_empty() {
            self.address = anywhere();
            self.host.take(Order::Addresses(reconnect.addresses)).await;
        }
        // What is asked for again and again is a fault, and not to be followed at full speed.
        let floor = if self.steady { LEAVE } else { self.next_wait() };
        floor.max(reconnect.after + reconnect.spread.mul_f64(rand::rng().random()))
    }

    fn next_wait(&mut self) -> Duration {
        let (min, max) = *self.options.reconnect.borrow_and_update();
        self.backoff.retune(min.max(self.asked.0), max.max(self.asked.1));
        match self.options.line.asked().longest_wait {
            // Not counted: who tries in haste for a while does not wait for the longer afterwards.
            Some(longest) => longest.mul_f64(rand::rng().random_range(0.1..=1.0)),
            None => self.backoff.next_wait(),
        }
    }

    /// How long to wait after a loss. `None`: there is no coming back.
    fn lost(&mut self, error: &Error) -> Option<Duration> {
        let told = Chain(error).to_string();
        let (reason, after) = match error {
            Error::Refused(refusal) => (refusal.reason, refusal.retry_after),
            _ => (None, None),
        };
        if reason == Some(Reason::NodeRemoved) {
            return None;
        }
        // Not both at once: those who were told the same time would come as one.
        let wait = self.next_wait() + after.unwrap_or_default().min(REFUSED);
        let seconds = wait.as_secs_f32();
        tracing::warn!(error = told, "there is no session: {told}; next try in {seconds:.1} s");
        let since = self.options.clock.now();
        self.status.send_replace(Status::Waiting { since, until: since + wait, error: told });
        Some(wait)
    }

    /// Waits, not for longer than until another session is asked for; `true` if asked to
    /// stop meanwhile.
    async fn wait(&mut self, wait: Duration, asked: u64) -> bool {
        self.beat(wait + OPENS);
        tokio::select! {
            biased;
            _ = self.options.stop.wait_for(|stop| *stop != Stop::No) => true,
            () = self.options.line.asked_after(asked) => false,
            () = tokio::time::sleep(wait) => false,
        }
    }
}

/// Waits for the wish to stop, as long as no session is open that would say goodbye.
async fn stopped_before_opening(stop: &mut watch::Receiver<Stop>, status: &watch::Sender<Status>) {
    let _ = stop.wait_for(|stop| *stop != Stop::No).await;
    if matches!(*status.borrow(), Status::Connected { .. }) {
        std::future::pending::<()>().await; // the open session hears it, too
    }
}

/// Waits for the wish for another session, as long as none is open that would hear it.
async fn asked_before_opening(line: &Line, asked: u64, status: &watch::Sender<Status>) {
    line.asked_after(asked).await;
    if matches!(*status.borrow(), Status::Connected { .. }) {
        std::future::pending::<()>().await; // the open session hears it, too
    }
}

#[cfg(test)]
mod tests;
