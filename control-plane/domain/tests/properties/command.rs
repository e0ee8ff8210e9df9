//! Commands: an end is for ever, nothing runs twice.

use muster_common::{
    clock::UnixMillis,
    ids::{CommandId, NodeId, OperationId},
    reason::Reason,
};
use muster_domain::command::{self, Command, Event as CommandEvent, Report, State as CommandState};
use proptest::{collection, prelude::*, sample};

fn command_state() -> impl Strategy<Value = CommandState> {
    sample::select(CommandState::ALL.as_slice())
}

/// Mostly the next report, sometimes an old one or one too far.
fn command_event() -> impl Strategy<Value = (i8, CommandEvent)> {
    let report = (prop_oneof![4 => Just(1i8), 1 => -2i8..4], command_state(), 0u64..100);
    prop_oneof![
        3 => Just((0, CommandEvent::Delivered)),
        6 => report.prop_map(|(step, state, output_bytes)| {
            let report = Report {
                seq: 0,
                state,
                exit_code: Some(1),
                signal: None,
                reason: None,
                message: String::new(),
                result: Vec::new(),
                output_bytes,
                dropped_bytes: 0,
            };
            (step, CommandEvent::Reported(report))
        }),
        1 => Just((0, CommandEvent::CancelRequested)),
        1 => any::<bool>().prop_map(|reachable| (0, CommandEvent::CancelForced { reachable })),
        1 => Just((0, CommandEvent::Withdrawn(Reason::Superseded, "a newer one".to_owned()))),
        1 => Just((0, CommandEvent::DeliverByPassed)),
        1 => Just((0, CommandEvent::AnswerOverdue)),
        1 => Just((0, CommandEvent::NodeGone)),
        1 => Just((0, CommandEvent::NodeLeft)),
        1 => Just((0, CommandEvent::LedgerWentBack)),
    ]
}

fn queued() -> Command {
    Command {
        id: CommandId::from_u128(1),
        operation: OperationId::from_u128(2),
        node: NodeId::from_u128(3),
        state: CommandState::Queued,
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
        ended_at: None,
        deliver_by: UnixMillis(40),
        retry_of: None,
    }
}

/// Numbers a report relative to the last one that was taken.
fn numbered(event: CommandEvent, step: i8, last: u64) -> CommandEvent {
    match event {
        CommandEvent::Reported(report) => {
            CommandEvent::Reported(Report { seq: last.saturating_add_signed(step.into()), ..report })
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn a_command_ends_once_and_runs_at_most_once(story in collection::vec(command_event(), 1..60)) {
        let mut now = queued();
        let mut starts = 0;
        for (at, (step, event)) in (0..).zip(story) {
            let event = numbered(event, step, now.report_seq);
            let Ok(next) = command::apply(&now, &event, UnixMillis(at)) else { continue };
            if now.state.is_end() {
                // A late answer says how it went; the end stays the end it was.
                let unheard = [Some(Reason::FinishByPassed), Some(Reason::CancelledByOperator)];
                let is_answer = unheard.contains(&now.reason) && now.exit_code.is_none();
                let same = Command { report_seq: now.report_seq, ..next.clone() };
                prop_assert!(same == now || is_answer, "{:?}", event);
                let end = |command: &Command| (command.state, command.reason, command.ended_at);
                prop_assert_eq!(end(&next), end(&now));
            }
            starts += u32::from(now.state != CommandState::Running && next.state == CommandState::Running);
            prop_assert!(starts <= 1);
            prop_assert!(next.report_seq >= now.report_seq);
            prop_assert!(next.output_bytes >= now.output_bytes);
            prop_assert!(next.cancel_requested >= now.cancel_requested);
            prop_assert!(next.cancel_forced >= now.cancel_forced);
            prop_assert!(next.cancel_requested >= next.cancel_forced);
            prop_assert_eq!(next.ended_at.is_some(), next.state.is_end());
            prop_assert!(
                next.state == now.state || (next.state > now.state && !now.state.is_end()),
                "{:?} went back to {:?}", now.state, next.state
            );
            now = next;
        }
    }

    #[test]
    fn an_event_that_comes_twice_counts_once(story in collection::vec(command_event(), 1..40)) {
        let mut now = queued();
        for (step, event) in story {
            let event = numbered(event, step, now.report_seq);
            let Ok(next) = command::apply(&now, &event, UnixMillis(1)) else { continue };
            if let Ok(again) = command::apply(&next, &event, UnixMillis(2)) {
                prop_assert_eq!(&again, &next, "{:?}", event);
            }
            now = next;
        }
    }
}
