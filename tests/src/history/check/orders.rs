//! Orders: done at most once, in time, and told as they ended.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use muster_common::clock::UnixMillis;

use super::Verdict;
use crate::history::{Command, History, Order, Ran, State};

/// How far a host's notion of the control plane's time may be from it: a moment on a long cable.
const SKEW: Duration = Duration::from_millis(1500);

/// Commands as they were told last.
fn told(history: &History) -> HashMap<&str, &Command> {
    history.commands().map(|(_, command)| (command.id.as_str(), command)).collect()
}

/// Orders by their operations.
fn orders(history: &History) -> HashMap<&str, &Order> {
    let by_request: HashMap<&str, &Order> =
        history.orders().map(|(_, order)| (order.request.as_str(), order)).collect();
    history
        .made()
        .filter_map(|(request, operation, _)| Some((operation, *by_request.get(request)?)))
        .collect()
}

/// No host starts a command twice, by its own count.
pub(super) fn i5(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I5", "a command starts at most once, by its host's count");
    for ran in history.ran() {
        verdict
            .fact(ran.started.len() <= 1, || format!("{} was started {} times", ran.id, ran.started.len()));
    }
    verdict
}

/// No host starts a command after the time until which it may.
pub(super) fn i6(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I6", "no command starts after its time");
    let (told, orders) = (told(history), orders(history));
    for ran in history.ran() {
        let order = told.get(ran.id.as_str()).and_then(|command| orders.get(command.operation.as_str()));
        let Some(by) = order.and_then(|order| order.deliver_by) else { continue };
        let late = |at: &&UnixMillis| **at > by + SKEW;
        verdict.fact(!ran.started.iter().any(|at| late(&at)), || {
            format!("{} was to be there by {by} and was started at {:?}", ran.id, ran.started)
        });
    }
    verdict
}

/// Every command comes to an end, and stays there.
pub(super) fn i7(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I7", "every command comes to one end");
    let mut last: HashMap<&str, State> = HashMap::new();
    for (at, command) in history.commands() {
        let before = last.insert(&command.id, command.state);
        let moved = before.filter(|before| before.is_last() && *before != command.state);
        verdict.fact(moved.is_none(), || {
            format!("{} is {:?} at {at:?} and was {moved:?}", command.id, command.state)
        });
    }
    for (id, state) in &last {
        verdict.fact(state.is_last(), || format!("{id} is {state:?} for ever"));
    }
    let mut told: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (_, command) in history.commands() {
        told.entry(&command.operation).or_default().insert(&command.id);
    }
    for (operation, order) in orders(history) {
        let count = told.get(operation).map_or(0, HashSet::len);
        verdict.fact(count == order.nodes, || {
            format!("{operation} is for {} nodes, and of {count} an end is told", order.nodes)
        });
    }
    verdict
}

/// What a host has done is told once, as it was, and nothing of it is lost.
pub(super) fn i8(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I8", "each result is kept once, whole, and none is lost");
    let (told, orders) = (told(history), orders(history));
    let ran: HashMap<&str, &Ran> = history.ran().map(|ran| (ran.id.as_str(), ran)).collect();
    for (id, command) in &told {
        let Some(order) = orders.get(command.operation.as_str()) else { continue };
        let ran = ran.get(id);
        let (started, ended) = ran.map_or((0, 0), |ran| (ran.started.len(), ran.ended));
        match command.state {
            State::Ended => {
                verdict.fact(ended == 1, || {
                    format!("{id} is told as ended, and its host ended it {ended} times")
                });
                verdict.fact(command.exit == Some(order.exit), || {
                    format!("{id} exited with {}, and is told with {:?}", order.exit, command.exit)
                });
                verdict.fact(command.stdout == order.prints, || {
                    format!("{id} is told to have said {:?}", String::from_utf8_lossy(&command.stdout))
                });
            }
            State::NotStarted => {
                verdict.fact(started == 0, || format!("{id} is told as never started, and its host did"));
            }
            // No host has died: what one has ended is there.
            state => {
                verdict.fact(ended == 0, || format!("{id} ended on its host, and is told as {state:?}"));
            }
        }
    }
    for id in ran.keys() {
        verdict.fact(told.contains_key(id), || format!("{id} ran on a host, and nobody has ordered it"));
    }
    verdict
}
