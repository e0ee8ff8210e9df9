//! Orders in a pause. None starts; they wait, and end only by their own times: when they
//! are over, or when their time for delivery ends in the pause. One that was already past
//! that when the pause began waited for something else, and goes on waiting.

use muster_common::{
    clock::{Clock, UnixMillis},
    ids::CommandId,
    reason::Reason,
};

use super::guard;
use crate::state::{CommandState, Pause, Report, Ticket};

/// What becomes of an order in a pause. `None`: it waits.
pub(super) fn ends(
    ticket: &Ticket,
    pause: &Pause,
    clock: &Clock,
    there: Option<UnixMillis>,
) -> Option<Report> {
    let (there, here) = (there?, clock.now());
    if guard::is_over(ticket, Some(there)) {
        let why = format!("its time was over before it could start: {}", told(pause));
        return Some(Report::new(0, CommandState::TimedOut, here).because(Reason::FinishByPassed, why));
    }
    let since = there - here.since(pause.since);
    let in_it = since <= ticket.deliver_by && ticket.deliver_by < there;
    let why = || format!("its time for delivery ended before it could start: {}", told(pause));
    (in_it && guard::is_due(ticket, Some(there)))
        .then(|| Report::new(0, CommandState::Expired, here).because(Reason::DeliverByPassed, why()))
}

fn told(pause: &Pause) -> String {
    format!("this host was paused: {}", pause.reason)
}

/// Of those that may be ended: which do, and how.
pub(super) fn all<'a>(
    orders: impl Iterator<Item = &'a Ticket>,
    pause: &Pause,
    clock: &Clock,
    there: Option<UnixMillis>,
) -> Vec<(CommandId, Report)> {
    orders.filter_map(|ticket| Some((ticket.id, ends(ticket, pause, clock, there)?))).collect()
}

#[cfg(test)]
mod tests {
    use muster_common::ids::OperationId;

    use super::*;

    fn ticket(deliver_by: i64) -> Ticket {
        Ticket {
            id: CommandId::generate(),
            operation: OperationId::generate(),
            kind: "run-script".to_owned(),
            args: Vec::new(),
            not_before: None,
            deliver_by: UnixMillis(deliver_by),
            finish_by: None,
            lane: String::new(),
            trace: String::new(),
            traceparent: String::new(),
            came: None,
            epoch: 1,
        }
    }

    /// At 5000 here and 105000 there, in a pause that began 1000 ago.
    fn state(ticket: &Ticket) -> Option<CommandState> {
        let pause = Pause { reason: "why".to_owned(), since: UnixMillis(4_000), until: None, uid: 0 };
        let there = Some(UnixMillis(105_000));
        ends(ticket, &pause, &Clock::test(UnixMillis(5_000)), there).map(|report| report.state)
    }

    #[test]
    fn an_order_ends_if_its_time_for_delivery_ends_in_the_pause() {
        assert_eq!(state(&ticket(105_000)), None, "it still has time");
        assert_eq!(state(&ticket(104_999)), Some(CommandState::Expired));
        assert_eq!(state(&ticket(104_000)), Some(CommandState::Expired));
        assert_eq!(state(&ticket(103_999)), None, "it waited for something else before");
    }

    #[test]
    fn an_order_that_is_not_due_yet_waits_and_one_that_is_over_ends() {
        let later = Ticket { not_before: Some(UnixMillis(105_001)), ..ticket(104_500) };
        assert_eq!(state(&later), None);
        let over = Ticket { finish_by: Some(UnixMillis(105_000)), ..ticket(200_000) };
        assert_eq!(state(&over), Some(CommandState::TimedOut));
    }

    #[test]
    fn nobody_knows_what_time_it_is_there() {
        let pause = Pause { reason: String::new(), since: UnixMillis(0), until: None, uid: 0 };
        assert_eq!(ends(&ticket(1), &pause, &Clock::test(UnixMillis(9)), None), None);
    }
}
