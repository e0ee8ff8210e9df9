//! One order to many nodes.

pub mod order;
pub mod pace;
mod plan;
mod precondition;

use std::time::Duration;

use muster_common::{clock::UnixMillis, ids::OperationId};

pub use plan::{Plan, Supersede};
pub use precondition::{Preconditions, Spoken};

use crate::{command, violation::Violation};

/// One request that fanned out to commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Never reused.
    pub id: OperationId,
    /// As written.
    pub selector: String,
    /// `run-script`.
    pub kind: String,
    /// The kind's message, as sent to hosts.
    pub args: Vec<u8>,
    /// The caller's own id of the request.
    pub request_id: Option<String>,
    /// Hash of what was asked under that id.
    pub request_sha256: Vec<u8>,
    /// By whom.
    pub created_by: String,
    /// When.
    pub created_at: UnixMillis,
    /// Earliest start on a host.
    pub not_before: Option<UnixMillis>,
    /// Latest delivery.
    pub deliver_by: UnixMillis,
    /// From its start on a host.
    pub run_timeout: Duration,
    /// Someone asked it to stop.
    pub cancel_requested: bool,
    /// When its last command ended.
    pub ended_at: Option<UnixMillis>,
    /// How many commands it has; fixed when it starts.
    pub total: u32,
    /// Of the request.
    pub trace_id: String,
    /// The request's place in its trace, in its W3C form; empty: nobody collects that trace.
    pub traceparent: String,
    /// On each host its command runs after those of the same lane; empty: in none.
    pub lane: String,
    /// Bytes of output kept of all its commands.
    pub output_limit: u64,
    /// That started it; empty: somebody did.
    pub schedule: String,
    /// How it goes about it.
    pub plan: Plan,
    /// The operation whose commands it repeats.
    pub retry_of: Option<OperationId>,
    /// Someone asked hosts to kill, and did not wait for those that are away.
    pub cancel_forced: bool,
}

/// How many commands are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u32; command::State::ALL.len()]);

impl Counts {
    /// Commands in one state.
    #[must_use]
    pub const fn get(&self, state: command::State) -> u32 {
        self.0[state as usize]
    }

    /// Adds commands in one state.
    pub const fn add(&mut self, state: command::State, count: u32) {
        self.0[state as usize] += count;
    }

    /// All commands.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Those that their hosts may have and that have not ended.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.get(command::State::Delivered) + self.get(command::State::Running)
    }

    /// Those that count against an error budget: they ran, or may have run, and did not succeed.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.get(command::State::Failed)
            + self.get(command::State::TimedOut)
            + self.get(command::State::Interrupted)
    }

    /// Moves commands from one state to another.
    pub const fn shift(&mut self, from: command::State, to: command::State, count: u32) {
        self.0[from as usize] = self.0[from as usize].saturating_sub(count);
        self.add(to, count);
    }

    /// Those that have not ended.
    #[must_use]
    pub fn open(&self) -> u32 {
        command::State::ALL.into_iter().filter(|s| !s.is_end()).map(|s| self.get(s)).sum()
    }
}

/// Whether an operation with these commands is over: every one has ended.
#[must_use]
pub fn is_ended(counts: &Counts) -> bool {
    counts.open() == 0
}

/// The kind of command that ends with its node.
pub const DISCONNECT: &str = "disconnect";

/// Time for delivery when the caller does not say.
pub const DELIVER_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// Most time for delivery: how long a host must be able to tell that it has
/// seen a command.
pub const MAX_DELIVER_WITHIN: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time to run when the caller does not say.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Most time to run.
pub const MAX_RUN_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Longest name of a lane.
const LANE: usize = 63;

/// Refuses what is no name of a lane.
///
/// # Errors
/// If it is too long, or has other characters than small letters, digits and dashes.
pub fn check_lane(lane: &str) -> Result<(), Violation> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if lane.len() <= LANE && lane.bytes().all(plain) {
        return Ok(());
    }
    Err(Violation::invalid("lane", "it must be at most 63 of the characters a-z, 0-9 and -"))
}

/// When an operation's commands may be delivered, start and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Earliest start on a host.
    pub not_before: Option<UnixMillis>,
    /// Latest delivery.
    pub deliver_by: UnixMillis,
    /// From its start on a host.
    pub run_timeout: Duration,
}

impl Timing {
    /// Fills in what the caller left out and checks the whole. By default the
    /// time for delivery counts from the earliest start.
    ///
    /// # Errors
    /// The first field that cannot be so.
    pub fn check(
        now: UnixMillis,
        not_before: Option<UnixMillis>,
        deliver_within: Option<Duration>,
        run_timeout: Option<Duration>,
    ) -> Result<Self, Violation> {
        let latest = now + MAX_DELIVER_WITHIN;
        let deliver_by = match deliver_within {
            Some(within) if within < Duration::from_millis(1) => {
                return Err(Violation::invalid("deliver_within", "it must be more than nothing"));
            }
            Some(within) if within > MAX_DELIVER_WITHIN => {
                return Err(Violation::invalid("deliver_within", "it is more than 30 days"));
            }
            Some(within) => now + within,
            None => (not_before.unwrap_or(now).max(now) + DELIVER_WITHIN).min(latest),
        };
        if not_before.is_some_and(|start| start >= deliver_by) {
            let last = if deliver_within.is_some() { "deliver_within" } else { "the most, 30 days," };
            return Err(Violation::invalid("not_before", format!("{last} is over before it")));
        }
        let run_timeout = run_timeout.unwrap_or(RUN_TIMEOUT);
        if !(Duration::from_secs(1)..=MAX_RUN_TIMEOUT).contains(&run_timeout) {
            return Err(Violation::invalid("run_timeout", "it must be from 1 second to 24 hours"));
        }
        Ok(Self { not_before, deliver_by, run_timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn field(
        not_before: Option<UnixMillis>,
        within: Option<Duration>,
        run: Option<Duration>,
    ) -> Option<String> {
        Timing::check(NOW, not_before, within, run).err().map(|violation| violation.field)
    }

    #[test]
    fn what_the_caller_leaves_out_has_a_default() {
        let timing = Timing::check(NOW, None, None, None).unwrap();
        assert_eq!(timing, Timing { not_before: None, deliver_by: NOW + DAY, run_timeout: RUN_TIMEOUT });
        let later = Timing::check(NOW, Some(NOW + DAY * 3), None, None).unwrap();
        assert_eq!(later.deliver_by, NOW + DAY * 4);
        let past = Timing::check(NOW, Some(NOW - DAY), None, None).unwrap();
        assert_eq!(past.deliver_by, NOW + DAY);
        let last = Timing::check(NOW, Some(NOW + DAY * 29 + DAY / 2), None, None).unwrap();
        assert_eq!(last.deliver_by, NOW + DAY * 30);
    }

    #[test]
    fn limits_are_met_and_not_passed() {
        let second = Duration::from_secs(1);
        assert_eq!(field(None, Some(DAY * 30), Some(DAY)), None);
        assert_eq!(field(None, Some(DAY * 30 + second), None).as_deref(), Some("deliver_within"));
        assert_eq!(field(None, Some(Duration::ZERO), None).as_deref(), Some("deliver_within"));
        assert_eq!(field(None, None, Some(DAY + second)).as_deref(), Some("run_timeout"));
        assert_eq!(field(None, None, Some(Duration::ZERO)).as_deref(), Some("run_timeout"));
        assert_eq!(field(Some(NOW + DAY), Some(DAY), None).as_deref(), Some("not_before"));
        assert_eq!(field(Some(NOW + DAY * 30), None, None).as_deref(), Some("not_before"));
    }

    #[test]
    fn a_lane_has_a_short_plain_name() {
        for name in ["", "a", "data-base-1", &"x".repeat(63)] {
            assert_eq!(check_lane(name), Ok(()), "{name}");
        }
        for name in ["A", "a b", "a_b", "\u{e4}", &"x".repeat(64)] {
            assert_eq!(check_lane(name).unwrap_err().field, "lane", "{name}");
        }
    }

    #[test]
    fn an_operation_ends_with_its_last_command() {
        let mut counts = Counts::default();
        assert!(is_ended(&counts), "one that found no node has nothing to wait for");
        counts.add(command::State::Succeeded, 2);
        counts.add(command::State::Running, 1);
        assert!(!is_ended(&counts));
        assert_eq!((counts.total(), counts.open()), (3, 1));
    }
}
