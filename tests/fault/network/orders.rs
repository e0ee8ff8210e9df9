//! Orders to all real hosts: some must be there soon, or not at all; some end with a failure.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
    time::Duration,
};

use muster_common::clock::UnixMillis;
use muster_proto::{
    admin::v1::{self as pb, NodeCommand},
    types::v1::CommandState,
};
use muster_tests::{
    history::{Command, Order, Outcome, State, What},
    operator::script,
};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{client::Client, hosts, writers::Shared};

/// What the id of each request begins with.
pub(crate) const REQUEST: &str = "order-";
/// In which some orders must be on their hosts.
const SOON: prost_types::Duration = prost_types::Duration { seconds: 2, nanos: 0 };
/// What some of them exit with.
const FAILED: i32 = 3;
/// Orders that are not at their end: fewer than a host runs at once. One more could be there in time
/// and begin late, as it waits for the others.
const AT_ONCE: usize = 3;

/// Gives one after the other.
pub(crate) async fn give(shared: Arc<Shared>, nodes: usize, mut chance: StdRng) {
    let mut client = shared.client();
    let mut open: VecDeque<String> = VecDeque::new();
    for number in 0_u64.. {
        while shared.goes_on() && open.len() >= AT_ONCE {
            if has_ended(&mut client, &open[0]).await {
                open.pop_front();
            }
            rest(&mut chance).await;
        }
        if !shared.goes_on() {
            return;
        }
        let exit = if chance.random_ratio(1, 4) { FAILED } else { 0 };
        let request = pb::StartOperationRequest {
            selector: "host".to_owned(),
            spec: Some(script(&hosts::script(&shared.ran, exit))),
            request_id: format!("{REQUEST}{number}"),
            deliver_within: chance.random_ratio(1, 2).then_some(SOON),
            ..Default::default()
        };
        let (outcome, operation) = start(&mut client, &request, &mut chance).await;
        let deliver_by = operation.as_ref().and_then(|operation| operation.deliver_by).map(millis);
        let id = operation.map(|operation| operation.id).unwrap_or_default();
        if outcome == Outcome::Acknowledged {
            shared.operations.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
            open.push_back(id.clone());
        }
        shared.recorder.saw(What::Order(Order {
            request: request.request_id,
            operation: id,
            nodes,
            exit,
            prints: hosts::PRINTS.to_vec(),
            deliver_by,
            outcome,
        }));
        rest(&mut chance).await;
    }
}

async fn rest(chance: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(chance.random_range(150..400))).await;
}

async fn has_ended(client: &mut Client, id: &str) -> bool {
    let request = pb::GetOperationRequest { id: id.to_owned() };
    let answer =
        client.ask(|| {}, |to| async move { to.operations.clone().get_operation(request).await }).await;
    answer.ok().and_then(|answer| answer.operation).is_some_and(|operation| operation.end_time.is_some())
}

/// Starts an operation. One that has no answer is asked for again, the same, or given up.
async fn start(
    client: &mut Client,
    request: &pb::StartOperationRequest,
    chance: &mut StdRng,
) -> (Outcome, Option<pb::Operation>) {
    let asked = |to: muster_tests::operator::Operator| {
        let request = request.clone();
        async move { to.operations.clone().start_operation(request).await }
    };
    match client.ask(|| {}, asked).await {
        Ok(answer) => (Outcome::Acknowledged, answer.operation),
        Err(Outcome::Unknown) if chance.random_ratio(1, 2) => {
            (Outcome::Acknowledged, client.insist(asked).await.operation)
        }
        Err(outcome) => (outcome, None),
    }
}

/// Looks how the commands of some order stand.
pub(crate) async fn look(shared: &Shared, client: &mut Client, chance: &mut StdRng) {
    let some = shared.operations.lock().unwrap_or_else(PoisonError::into_inner).choose(chance).cloned();
    let Some(operation_id) = some else { return };
    let request = pb::ListCommandsRequest { operation_id, with_output: true, ..Default::default() };
    let answer =
        client.ask(|| {}, |to| async move { to.operations.clone().list_commands(request).await }).await;
    let commands = answer.map(|answer| answer.commands).unwrap_or_default();
    for command in commands.into_iter().map(told).filter(|command| command.state.is_last()) {
        shared.recorder.saw(What::Command(command));
    }
}

/// A command as a history has it.
pub(crate) fn told(command: NodeCommand) -> Command {
    let state = match command.state() {
        CommandState::Unspecified | CommandState::Queued => State::Queued,
        CommandState::Delivered => State::Delivered,
        CommandState::Running => State::Running,
        CommandState::Succeeded | CommandState::Failed => State::Ended,
        CommandState::TimedOut | CommandState::Interrupted => State::Interrupted,
        CommandState::Cancelled | CommandState::Expired | CommandState::Denied => State::NotStarted,
    };
    Command {
        id: command.id,
        operation: command.operation_id,
        state,
        exit: (state == State::Ended).then_some(command.exit_code),
        stdout: command.stdout.to_vec(),
    }
}

fn millis(at: prost_types::Timestamp) -> UnixMillis {
    UnixMillis(at.seconds * 1000 + i64::from(at.nanos) / 1_000_000)
}
