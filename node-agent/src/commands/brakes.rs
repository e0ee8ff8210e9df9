//! When a running order is to end, and how hard.

use std::time::Duration;

use muster_common::clock::{Instant, UnixMillis};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    kinds::{Halt, Stop},
};
use crate::state::{ServerTime, Ticket};

/// Between looks whether anybody has said what time it is.
const LOOK: Duration = Duration::from_secs(1);

/// How a running order is told to end: politely, or at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Brakes {
    pub(super) ask: CancellationToken,
    pub(super) force: CancellationToken,
}

/// Waits until a running order is to end.
pub(super) async fn stop(brakes: Brakes, ticket: &Ticket, options: &Options, is_resumed: bool) -> Halt {
    let time_over = async {
        let Some(at) = ticket.finish_by else { return std::future::pending().await };
        loop {
            match time_there(&options.server_time, options.clock.monotonic(), is_resumed) {
                Some(now) => return tokio::time::sleep(at.since(now)).await,
                // What goes on from an earlier process may do so before anybody has said
                // what time it is there.
                None => tokio::time::sleep(LOOK).await,
            }
        }
    };
    let why = tokio::select! {
        () = brakes.ask.cancelled() => Stop::Cancelled,
        () = time_over => Stop::TimedOut,
    };
    Halt { why, force: brakes.force }
}

/// What time it is at the control plane. For what goes on from an earlier process never a
/// guess: to end it cannot be undone, and it may have much time left.
fn time_there(server_time: &ServerTime, at: Instant, is_resumed: bool) -> Option<UnixMillis> {
    if is_resumed { server_time.heard_at(at) } else { server_time.at(at) }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    #[test]
    fn what_goes_on_from_an_earlier_process_is_not_ended_by_a_guess_of_the_time() {
        let (time, at) = (ServerTime::default(), Clock::System.monotonic());
        time.guess(UnixMillis(5_000), at);
        assert_eq!(time_there(&time, at, false), Some(UnixMillis(5_000)));
        assert_eq!(time_there(&time, at, true), None);
        time.learn(UnixMillis(4_000), at, at);
        assert_eq!(time_there(&time, at, true), Some(UnixMillis(4_000)));
    }
}
