//! What can happen in a story, and how likely it is.

use rand::{RngExt as _, rngs::StdRng};

use crate::plane::{HOSTS, Work};

/// Most that the control plane's clock is wrong, in milliseconds.
const DAY: i64 = 86_400_000;

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// An operator wants something, of one host or of all.
    Order { of: Option<usize> },
    /// An operator asks for the same again, under the same request id.
    Repeat,
    /// An operator takes something back.
    Cancel,
    /// A worker of the control plane has its turn.
    Work(Work),
    /// Hosts' tasks have some turns, and may be in the middle of something then.
    Turns(u32),
    /// Hosts do all there is to do now.
    Settle,
    /// Some messages arrive.
    Carry { host: usize, up: usize, down: usize },
    /// All goes well for a moment between a host and the control plane.
    Flow { host: usize },
    /// A stream is opened where there is none.
    Connect { host: usize, stale: bool },
    /// A stream breaks; the control plane may not notice.
    Break { host: usize, both: bool },
    /// A message is lost, comes twice, or overtakes another.
    Disturb { host: usize, up: bool, dice: u32 },
    /// An agent dies after some turns.
    Kill { host: usize, after: u32 },
    /// It starts.
    Start { host: usize },
    /// The control plane dies.
    KillPlane,
    /// It starts.
    StartPlane,
    /// Its store is kept.
    Backup,
    /// And comes back.
    Restore { dice: u32 },
    /// A host's disk is kept.
    Snapshot { host: usize },
    /// And comes back.
    Revert { host: usize, dice: u32 },
    /// A host's state directory is gone.
    Lose { host: usize },
    /// A host's disk is full, or no longer.
    Disk { host: usize, full: bool },
    /// Time goes by.
    Time { seconds: u64 },
    /// A host's wall clock is set.
    Jump { host: usize, millis: i64 },
    /// The control plane's clock is set to so much beside the right time.
    JumpPlane { millis: i64 },
}

/// The kinds of events, for counting.
impl Event {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Order { .. } => "orders",
            Self::Repeat => "orders repeated under the same request id",
            Self::Cancel => "cancellations",
            Self::Work(_) => "turns of a worker",
            Self::Turns(_) => "steps of agents",
            Self::Settle => "agents left to settle",
            Self::Carry { .. } => "messages carried",
            Self::Flow { .. } => "moments in which all went well for a host",
            Self::Connect { .. } => "streams opened",
            Self::Break { .. } => "streams broken",
            Self::Disturb { .. } => "messages lost, repeated or overtaken",
            Self::Kill { .. } => "agents killed",
            Self::Start { .. } => "agents started",
            Self::KillPlane => "control planes killed",
            Self::StartPlane => "control planes started",
            Self::Backup => "backups",
            Self::Restore { .. } => "restores of a backup",
            Self::Snapshot { .. } => "snapshots of hosts",
            Self::Revert { .. } => "hosts set back to a snapshot",
            Self::Lose { .. } => "state directories lost",
            Self::Disk { .. } => "disks filled or freed",
            Self::Time { .. } => "jumps of time",
            Self::Jump { .. } => "wall clocks set",
            Self::JumpPlane { .. } => "clocks of the control plane set",
        }
    }

    /// The next one. `wild`: with those from which the store or a host forgets.
    pub(crate) fn any(dice: &mut StdRng, wild: bool) -> Self {
        let host = dice.random_range(0..HOSTS);
        let last = if wild { 102 } else { 93 };
        match dice.random_range(0..last) {
            0..6 => Self::Order { of: dice.random_bool(0.6).then_some(host) },
            6 => Self::Repeat,
            7..10 => Self::Cancel,
            10..24 => Self::Work(match dice.random_range(0..10) {
                0..2 => Work::Follow,
                2..5 => Work::HandOut,
                5..8 => Work::Record,
                8 => Work::Expire,
                _ => Work::GiveUp,
            }),
            24..34 => Self::Turns(dice.random_range(1..12)),
            34..37 => Self::Settle,
            37..51 => Self::Carry { host, up: dice.random_range(0..10), down: dice.random_range(0..10) },
            51..64 => Self::Flow { host },
            64..69 => Self::Connect { host, stale: dice.random_ratio(1, 6) },
            69..72 => Self::Break { host, both: dice.random_bool(0.5) },
            72..76 => Self::Disturb { host, up: dice.random_bool(0.5), dice: dice.random_range(0..30) },
            76..79 => Self::Kill { host, after: dice.random_range(0..10) },
            79..83 => Self::Start { host },
            83 => Self::KillPlane,
            84..86 => Self::StartPlane,
            86 => Self::Disk { host, full: true },
            87 => Self::Disk { host, full: false },
            88..91 => {
                Self::Time { seconds: [15, 15, 15, 60, 60, 600, 4000, 90_000][dice.random_range(0..8)] }
            }
            91 => Self::Jump { host, millis: dice.random_range(-200_000_000..200_000_000) },
            92 => Self::JumpPlane { millis: dice.random_range(-DAY..DAY) },
            93 => Self::Backup,
            94 => Self::Restore { dice: dice.random_range(0..8) },
            95..98 => Self::Snapshot { host },
            98..101 => Self::Revert { host, dice: dice.random_range(0..8) },
            _ => Self::Lose { host },
        }
    }
}
