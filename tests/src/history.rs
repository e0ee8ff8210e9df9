//! What happened in a fleet, as everybody who took part in it saw it: writers, readers,
//! watchers, hosts, and whoever made trouble. It is recorded while it happens and judged when
//! it is over: [`check`] asks what must hold of every history.

pub mod check;
mod look;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_common::clock::{Clock, Instant, UnixMillis};

/// Everything, in the order in which it was recorded.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What was seen, and when.
    pub events: Vec<Event>,
    /// Between heartbeats of a host.
    pub heartbeat: Duration,
    /// Control planes on one store, which are numbered from 0.
    pub planes: usize,
}

/// Something that was seen.
#[derive(Debug, Clone)]
pub struct Event {
    /// Since the history began, by a clock that never goes back.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What can be seen. A `key` names what a value belongs to as the audit does
/// ("node/ID"); no value is written twice to one key, so that it tells who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A write was answered, or given up.
    Write(Write),
    /// A value was read.
    Read(Read),
    /// An order was answered, or given up.
    Order(Order),
    /// In the end: an operation that a request has made, and for how many nodes.
    Made {
        /// The order's request.
        request: String,
        /// Its operation.
        operation: String,
        /// Commands of it.
        commands: usize,
    },
    /// A command as a control plane tells it.
    Command(Command),
    /// A host's own word on a command, in the end.
    Ran(Ran),
    /// In the end: a host has had a value in force, after those that were recorded before.
    Applied {
        /// Whose.
        node: String,
        /// Of what.
        key: String,
        /// Which.
        value: String,
    },
    /// A control plane says that a node is online, late, offline…
    Liveness {
        /// Which control plane.
        plane: usize,
        /// Which node.
        node: String,
        /// How it is.
        state: String,
    },
    /// A control plane has a node, since it was said of another one, or of none.
    Held {
        /// By which control plane.
        by: usize,
        /// Which node.
        node: String,
    },
    /// A node has another session, or none.
    Session {
        /// Which control plane says so.
        plane: usize,
        /// Which node.
        node: String,
        /// Its id; empty: it has none.
        session: String,
    },
    /// A watcher of the audit was sent an entry.
    Fed {
        /// Which watcher.
        watcher: usize,
        /// By which control plane.
        plane: usize,
        /// Of the entry, in the order of commits.
        place: u64,
        /// Of the entry.
        hash: Vec<u8>,
    },
    /// A watcher of the fleet was sent a value.
    Shown {
        /// By which control plane.
        plane: usize,
        /// Of what.
        key: String,
        /// The value.
        value: String,
    },
    /// It was answered that nothing is taken from a node any more.
    Barred {
        /// By which control plane.
        plane: usize,
        /// Which node.
        node: String,
    },
    /// A session was opened to a node, as the host saw it.
    Welcomed {
        /// By which control plane.
        plane: usize,
        /// Which node.
        node: String,
    },
    /// Trouble that is over now.
    Trouble(Trouble),
    /// A node was heard, after all trouble was over.
    Live {
        /// Which node.
        node: String,
    },
    /// A live node runs what it should.
    InSync {
        /// Which node.
        node: String,
        /// Of what it runs a value.
        key: String,
        /// What the files on the host say.
        value: String,
    },
    /// In the end: an entry of the audit. They are recorded in their order.
    Entry(Entry),
    /// In the end: whether the audit's own command says that its chains hold.
    Chains {
        /// They do.
        hold: bool,
        /// What it said.
        said: String,
    },
}

/// What became of a request, as whoever sent it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Acknowledged,
    /// It was not done, and never will be.
    Refused,
    /// No answer came, or one that does not say.
    Unknown,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// When it was sent.
    pub begun: Duration,
    /// To whom.
    pub plane: usize,
    /// Of what.
    pub key: String,
    /// The value.
    pub value: String,
    /// The value in whose place alone it may come; none: in that of any.
    pub over: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// A reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// When it was asked for.
    pub begun: Duration,
    /// Whom.
    pub plane: usize,
    /// Of what.
    pub key: String,
    /// The value.
    pub value: String,
}

/// An order to some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The id of the request, which may be sent again.
    pub request: String,
    /// Its operation, if that was answered.
    pub operation: String,
    /// Hosts that it is for.
    pub nodes: usize,
    /// What it exits with on each of them.
    pub exit: i32,
    /// What it prints on each of them.
    pub prints: Vec<u8>,
    /// When it must be on a host, by the control plane's clock; none: not answered.
    pub deliver_by: Option<UnixMillis>,
    /// What came of it.
    pub outcome: Outcome,
}

/// A command as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its id.
    pub id: String,
    /// Whose.
    pub operation: String,
    /// How it stands.
    pub state: State,
    /// With which it ended by itself.
    pub exit: Option<i32>,
    /// Its output.
    pub stdout: Vec<u8>,
}

/// How a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum State {
    Queued,
    Delivered,
    Running,
    /// It has run to its end.
    Ended,
    Interrupted,
    /// It ended without having been started.
    NotStarted,
}

impl State {
    /// Whether nothing more comes of it.
    #[must_use]
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Ended | Self::Interrupted | Self::NotStarted)
    }
}

/// A command as its host counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its id.
    pub id: String,
    /// When it was started, each time, by the host's clock.
    pub started: Vec<UnixMillis>,
    /// How often it came to its end.
    pub ended: usize,
}

/// Trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// When it began.
    pub from: Duration,
    /// What it was.
    pub what: String,
    /// Nodes in whose way it was.
    pub nodes: Vec<String>,
    /// Control planes whose nodes, whichever they are, had it.
    pub of: Vec<usize>,
    /// Control planes in whose way to the database it was.
    pub planes: Vec<usize>,
}

/// An entry of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// In the order of commits.
    pub place: u64,
    /// Whose chain.
    pub replica: String,
    /// In that chain.
    pub seq: u64,
    /// Of it.
    pub hash: Vec<u8>,
    /// Of the one before in that chain.
    pub previous: Vec<u8>,
    /// Of what.
    pub key: String,
    /// The value before, if it is one that the history is about.
    pub before: Option<String>,
    /// The value since, as `before`.
    pub value: Option<String>,
}

/// Records a history. Cheap to clone: all record the same one.
#[derive(Debug, Clone)]
pub struct Recorder {
    begun: Instant,
    begun_wall: UnixMillis,
    history: Arc<Mutex<History>>,
}

impl Recorder {
    /// Begins a history of hosts that speak this often, with so many control planes.
    #[must_use]
    pub fn begin(heartbeat: Duration, planes: usize) -> Self {
        let history = History { heartbeat, planes, ..History::default() };
        Self {
            begun: Clock::System.monotonic(),
            begun_wall: Clock::System.now(),
            history: Arc::new(Mutex::new(history)),
        }
    }

    /// How long it goes on.
    #[must_use]
    pub fn now(&self) -> Duration {
        Clock::System.monotonic() - self.begun
    }

    /// Records what is seen now.
    pub fn saw(&self, what: What) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: so the order of events is that of their times.
        let at = self.now();
        history.events.push(Event { at, what });
    }

    /// The same moment of the machine's other clock.
    #[must_use]
    pub fn moment(&self, at: UnixMillis) -> Duration {
        at.since(self.begun_wall)
    }

    /// Records what was so at a time.
    pub fn saw_at(&self, at: Duration, what: What) {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).events.push(Event { at, what });
    }

    /// The history up to now.
    #[must_use]
    pub fn history(&self) -> History {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
