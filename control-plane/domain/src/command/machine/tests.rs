use muster_common::ids::{CommandId, NodeId, OperationId};

use super::*;

const NOW: UnixMillis = UnixMillis(1_000);
const LATE: UnixMillis = UnixMillis(10_000);

fn command(state: State) -> Command {
    Command {
        id: CommandId::from_u128(1),
        operation: OperationId::from_u128(2),
        node: NodeId::from_u128(3),
        state,
        exit_code: None,
        signal: None,
        reason: None,
        message: String::new(),
        result: Vec::new(),
        cancel_requested: false,
        cancel_forced: false,
        report_seq: 0,
        output_bytes: 0,
        stderr_bytes: 0,
        dropped_bytes: 0,
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
        ended_at: state.is_end().then_some(UnixMillis(0)),
        deliver_by: LATE,
        retry_of: None,
    }
}

fn report(seq: u64, state: State) -> Event {
    Event::Reported(Report {
        seq,
        state,
        exit_code: None,
        signal: None,
        reason: None,
        message: String::new(),
        result: Vec::new(),
        output_bytes: 0,
        dropped_bytes: 0,
    })
}

fn after(command: &Command, event: &Event) -> Command {
    apply(command, event, NOW).unwrap()
}

/// Where each event leads from each state; `None`: refused.
#[test]
fn every_event_in_every_state_leads_where_it_should() {
    use State::{Cancelled, Delivered, Expired, Interrupted, Queued, Running};
    for (state, delivered, cancel, gone, went_back, restored) in [
        (Queued, Some(Delivered), Cancelled, Expired, Queued, Interrupted),
        (Delivered, Some(Delivered), Delivered, Interrupted, Interrupted, Delivered),
        (Running, None, Running, Interrupted, Interrupted, Running),
    ] {
        let to = |event| apply(&command(state), &event, NOW).ok().map(|c| c.state);
        assert_eq!(to(Event::Delivered), delivered, "{state:?}");
        assert_eq!(to(Event::CancelRequested), Some(cancel), "{state:?}");
        assert_eq!(to(Event::NodeGone), Some(gone), "{state:?}");
        assert_eq!(to(Event::LedgerWentBack), Some(went_back), "{state:?}");
        assert_eq!(to(Event::StoreRestored), Some(restored), "{state:?}");
    }
    for end in State::ALL.into_iter().filter(|s| s.is_end()) {
        let ended = command(end);
        assert!(apply(&ended, &Event::Delivered, NOW).is_err());
        for event in [
            Event::CancelRequested,
            Event::DeliverByPassed,
            Event::AnswerOverdue,
            Event::NodeGone,
            Event::LedgerWentBack,
            Event::StoreRestored,
        ] {
            assert_eq!(after(&ended, &event), ended, "{end:?} {event:?}");
        }
    }
}

#[test]
fn a_command_lives_from_queue_to_success() {
    let delivered = after(&command(State::Queued), &Event::Delivered);
    let running = after(&delivered, &report(1, State::Running));
    let mut end = Report {
        seq: 2,
        state: State::Succeeded,
        exit_code: Some(0),
        signal: None,
        reason: None,
        message: "done".into(),
        result: Vec::new(),
        output_bytes: 5,
        dropped_bytes: 2,
    };
    let ended = after(&running, &Event::Reported(end.clone()));
    assert_eq!((ended.state, ended.exit_code, ended.ended_at), (State::Succeeded, Some(0), Some(NOW)));
    assert_eq!((ended.output_bytes, ended.dropped_bytes, ended.report_seq), (5, 2, 2));
    assert_eq!(ended.message, "done");

    end.exit_code = Some(9);
    assert_eq!(after(&ended, &Event::Reported(end)), ended, "a repeated report changes nothing");
}

#[test]
fn the_last_word_of_a_host_that_was_set_back_counts_under_whatever_number() {
    let running = Command { report_seq: 4, ..command(State::Running) };
    assert_eq!(after(&running, &report(2, State::Running)), running, "it says again what it said");
    let ended = after(&running, &report(2, State::Interrupted));
    assert_eq!((ended.state, ended.report_seq), (State::Interrupted, 4));
    assert_eq!(after(&ended, &report(3, State::Succeeded)), ended, "and is for ever");
    assert!(apply(&running, &report(0, State::Failed), NOW).is_err(), "no report has this number");
}

#[test]
fn reports_come_in_order_without_gaps() {
    let running = after(&command(State::Delivered), &report(1, State::Running));
    assert_eq!(after(&running, &report(1, State::Running)), running);
    assert_eq!(
        after(&running, &report(1, State::Delivered)),
        running,
        "a duplicate is known by its number alone, unless it is a last word"
    );
    for got in [0, 3, u64::MAX] {
        let refused = apply(&running, &report(got, State::Running), NOW).unwrap_err();
        assert_eq!(refused, Refused::OutOfOrder { expected: 2, got });
        assert_eq!(refused.reason(), Reason::SequenceOutOfOrder);
    }
}

#[test]
fn a_step_that_cannot_follow_is_a_conflict_of_states() {
    let refused = apply(&command(State::Running), &Event::Delivered, NOW).unwrap_err();
    assert_eq!(refused, Refused::Illegal { from: State::Running, to: State::Delivered });
    assert_eq!(refused.reason(), Reason::StateConflict);
}

#[test]
fn a_host_cannot_report_a_way_back() {
    for (from, to) in [
        (State::Delivered, State::Queued),
        (State::Running, State::Queued),
        (State::Running, State::Delivered),
        (State::Running, State::Expired),
    ] {
        assert_eq!(apply(&command(from), &report(1, to), NOW), Err(Refused::Illegal { from, to }));
    }
    assert_eq!(
        after(&command(State::Running), &report(1, State::Denied)).state,
        State::Denied,
        "as it began"
    );
    for to in [State::Expired, State::Denied, State::Failed, State::Cancelled, State::Delivered] {
        assert_eq!(after(&command(State::Delivered), &report(1, to)).state, to);
    }
}

#[test]
fn a_host_that_knows_more_than_the_store_is_believed() {
    assert_eq!(after(&command(State::Queued), &report(1, State::Succeeded)).state, State::Succeeded);
}

#[test]
fn what_a_host_says_after_the_end_is_taken_and_not_believed() {
    let gone = after(&command(State::Running), &Event::NodeGone);
    assert_eq!((gone.state, gone.reason), (State::Interrupted, Some(Reason::NodeGone)));
    let told = after(&gone, &report(7, State::Succeeded));
    assert_eq!(told, Command { report_seq: 7, ..gone });
}

#[test]
fn cancelling_ends_what_waits_and_asks_what_was_delivered() {
    let cancelled = after(&command(State::Queued), &Event::CancelRequested);
    assert_eq!((cancelled.state, cancelled.reason), (State::Cancelled, Some(Reason::CancelledByOperator)));
    for state in [State::Delivered, State::Running] {
        let asked = after(&command(state), &Event::CancelRequested);
        assert!(asked.cancel_requested && asked.state == state);
        assert_eq!(after(&asked, &Event::CancelRequested), asked);
        assert_eq!(after(&asked, &report(1, State::Cancelled)).state, State::Cancelled);
        assert_eq!(
            after(&asked, &report(1, State::Succeeded)).state,
            State::Succeeded,
            "it may have been done"
        );
    }
}

#[test]
fn only_what_was_never_delivered_expires_here() {
    let queued = command(State::Queued);
    assert_eq!(after(&queued, &Event::DeliverByPassed), queued, "not before its time");
    let expired = apply(&queued, &Event::DeliverByPassed, LATE).unwrap();
    assert_eq!((expired.state, expired.reason), (State::Expired, Some(Reason::DeliverByPassed)));
    assert_eq!(apply(&queued, &Event::Delivered, LATE), Err(Refused::TooLate));
    for state in [State::Delivered, State::Running] {
        assert_eq!(apply(&command(state), &Event::DeliverByPassed, LATE), Ok(command(state)));
    }
    assert_eq!(apply(&command(State::Delivered), &Event::Delivered, LATE).unwrap().state, State::Delivered);
}

#[test]
fn a_host_that_never_answers_does_not_keep_a_command_open() {
    for state in [State::Delivered, State::Running] {
        let open = command(state);
        assert_eq!(after(&open, &Event::AnswerOverdue), open, "not while it can still be delivered");
        let given_up = apply(&open, &Event::AnswerOverdue, LATE).unwrap();
        assert_eq!((given_up.state, given_up.reason), (State::Interrupted, Some(Reason::FinishByPassed)));
    }
    let queued = command(State::Queued);
    assert_eq!(apply(&queued, &Event::AnswerOverdue, LATE), Ok(queued), "it expires");
}

#[test]
fn a_late_answer_fills_in_the_result_and_leaves_the_end_as_it_is() {
    let given_up = apply(&command(State::Running), &Event::AnswerOverdue, LATE).unwrap();
    let running = apply(&given_up, &report(1, State::Running), LATE).unwrap();
    assert_eq!(running, Command { report_seq: 1, ..given_up.clone() }, "only an end is an answer");
    let mut end = Report {
        seq: 2,
        state: State::Failed,
        exit_code: Some(4),
        signal: None,
        reason: Some(Reason::ExitStatus),
        message: "no".into(),
        result: Vec::new(),
        output_bytes: 0,
        dropped_bytes: 0,
    };
    let later = LATE + std::time::Duration::from_secs(1);
    let answered = apply(&running, &Event::Reported(end.clone()), later).unwrap();
    assert_eq!((answered.state, answered.reason), (State::Interrupted, Some(Reason::FinishByPassed)));
    assert_eq!((answered.exit_code, answered.ended_at), (Some(4), given_up.ended_at));
    assert_eq!(answered.message, "its host said later: failed: no");
    (end.seq, end.exit_code) = (3, Some(0));
    let again = apply(&answered, &Event::Reported(end), later).unwrap();
    assert_eq!(again, Command { report_seq: 3, ..answered }, "the first answer counts");
}

#[test]
fn a_node_that_leaves_as_it_was_told_to_has_done_so() {
    for state in [State::Delivered, State::Running] {
        let left = after(&command(state), &Event::NodeLeft);
        assert_eq!((left.state, left.reason, left.ended_at), (State::Succeeded, None, Some(NOW)));
    }
    let never_told = after(&command(State::Queued), &Event::NodeLeft);
    assert_eq!((never_told.state, never_told.reason), (State::Expired, Some(Reason::NodeGone)));
    for state in [State::Cancelled, State::Interrupted] {
        assert_eq!(after(&command(state), &Event::NodeLeft), command(state), "{state:?}");
    }
}

#[test]
fn what_a_host_found_comes_with_the_end() {
    let found = |seq, state| match report(seq, state) {
        Event::Reported(report) => Event::Reported(Report { result: vec![1, 2], ..report }),
        other => other,
    };
    let running = after(&command(State::Delivered), &found(1, State::Running));
    assert!(running.result.is_empty());
    assert_eq!(after(&running, &found(2, State::Failed)).result, [1, 2]);
}

#[test]
fn the_highest_number_is_followed_by_none_and_breaks_nothing() {
    let last = Command { report_seq: u64::MAX, ..command(State::Running) };
    assert_eq!(after(&last, &report(u64::MAX, State::Succeeded)).report_seq, u64::MAX);
}

#[test]
fn force_kills_where_it_can_and_waits_for_nobody_else() {
    let force = |reachable| Event::CancelForced { reachable };
    let queued = after(&command(State::Queued), &force(false));
    assert_eq!((queued.state, queued.reason), (State::Cancelled, Some(Reason::CancelledByOperator)));
    for state in [State::Delivered, State::Running] {
        let asked = after(&command(state), &Event::CancelRequested);
        let forced = after(&asked, &force(true));
        assert_eq!((forced.state, forced.cancel_forced), (state, true));
        assert_eq!(after(&forced, &force(true)), forced);
        let given_up = after(&forced, &force(false));
        assert_eq!(given_up.state, State::Interrupted);
        assert_eq!(given_up.reason, Some(Reason::CancelledByOperator));
        let answered = after(&given_up, &report(given_up.report_seq + 1, State::Succeeded));
        assert_eq!(answered.state, State::Interrupted, "an end is for ever");
        assert_eq!(answered.message, "its host said later: succeeded");
    }
    let done = command(State::Succeeded);
    assert_eq!(after(&done, &force(false)), done);
}

#[test]
fn only_what_is_queued_can_be_withdrawn() {
    let event = Event::Withdrawn(Reason::Superseded, "a newer one".to_owned());
    let withdrawn = after(&command(State::Queued), &event);
    assert_eq!((withdrawn.state, withdrawn.reason), (State::Cancelled, Some(Reason::Superseded)));
    assert_eq!((withdrawn.message.as_str(), withdrawn.ended_at.is_some()), ("a newer one", true));
    for state in State::ALL.into_iter().filter(|state| *state != State::Queued) {
        let command = command(state);
        assert_eq!(after(&command, &event), command);
    }
}
