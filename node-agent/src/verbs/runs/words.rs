//! Runs as they go over the socket.

use std::{io, path::PathBuf, time::Duration};

use muster_common::ids::CommandId;

use super::Look;
use crate::{
    platform::{
        runs::{Order, State},
        supervise::{self, Asked},
        units::Limits,
    },
    verbs::{
        frame,
        messages::{Ended, Run, RunState},
    },
};

pub(super) const fn number(asked: Asked) -> u32 {
    match asked {
        Asked::Cancelled => 1,
        Asked::TimedOut => 2,
        Asked::Stopped => 3,
    }
}

/// Why a run was asked to end. `None`: nobody did.
///
/// # Errors
/// If the number says nothing.
pub fn asked(number: u32) -> io::Result<Option<Asked>> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(Asked::Cancelled)),
        2 => Ok(Some(Asked::TimedOut)),
        3 => Ok(Some(Asked::Stopped)),
        _ => Err(frame::invalid(format!("{number} is no reason to end"))),
    }
}

/// An id as it came.
///
/// # Errors
/// If it is none.
pub fn id(text: &str) -> io::Result<CommandId> {
    text.parse().map_err(|_| frame::invalid(format!("{text:?} is no id")))
}

impl From<&Order> for Run {
    fn from(order: &Order) -> Self {
        let Limits { memory, tasks, cpu, time } = order.limits;
        Self {
            id: order.id.to_string(),
            text: order.text.clone(),
            program: order.program.clone(),
            arguments: order.arguments.clone(),
            environment: order.environment.clone(),
            folder: order.folder.display().to_string(),
            user: order.user.clone(),
            memory: memory.unwrap_or(0),
            tasks: tasks.unwrap_or(0),
            cpu: cpu.unwrap_or(0),
            time_ms: time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            output: order.output,
            survives: order.survives,
        }
    }
}

impl TryFrom<Run> for Order {
    type Error = io::Error;

    fn try_from(run: Run) -> io::Result<Self> {
        let bad = |text: &String| text.contains('\0');
        let name = |name: &String| name.is_empty() || name.contains('=') || bad(name);
        let has_bad = run.program.iter().chain(&run.arguments).chain([&run.folder, &run.user]).any(bad)
            || run.environment.iter().any(|(key, value)| name(key) || bad(value));
        if has_bad {
            return Err(frame::invalid(
                "a run with NUL in its words, or a variable without a name".to_owned(),
            ));
        }
        let is_absolute = |path: &str| path.starts_with('/');
        if !run.program.first().is_some_and(|program| is_absolute(program)) || !is_absolute(&run.folder) {
            return Err(frame::invalid("a program and a folder must be absolute paths".to_owned()));
        }
        let limit = |number: u32| (number > 0).then_some(number);
        let limits = Limits {
            memory: (run.memory > 0).then_some(run.memory),
            tasks: limit(run.tasks),
            cpu: limit(run.cpu),
            time: run.time_ms.map(Duration::from_millis),
        };
        Ok(Self {
            id: id(&run.id)?,
            text: run.text,
            program: run.program,
            arguments: run.arguments,
            environment: run.environment,
            folder: PathBuf::from(run.folder),
            user: run.user,
            limits,
            output: run.output,
            survives: run.survives,
        })
    }
}

impl From<Look> for RunState {
    fn from(look: Look) -> Self {
        let Look { state, is_gone } = look;
        let [stdout, stderr] = state.pieces;
        let ended = state.ended.map(|ended| Ended {
            exit_code: ended.exit_code,
            signal: ended.signal,
            not_started: ended.not_started,
            out_of_memory: ended.out_of_memory,
            dropped_stdout: ended.dropped[0],
            dropped_stderr: ended.dropped[1],
        });
        Self {
            known: state.is_known,
            survives: state.survives,
            output: state.output,
            ended,
            asked: state.asked.map_or(0, number),
            gone: is_gone,
            stdout,
            stderr,
        }
    }
}

impl From<RunState> for Look {
    fn from(said: RunState) -> Self {
        let ended = said.ended.map(|ended| supervise::Ended {
            exit_code: ended.exit_code,
            signal: ended.signal,
            not_started: ended.not_started,
            out_of_memory: ended.out_of_memory,
            dropped: [ended.dropped_stdout, ended.dropped_stderr],
        });
        let state = State {
            is_known: said.known,
            survives: said.survives,
            output: said.output,
            ended,
            asked: asked(said.asked).unwrap_or_default(),
            pieces: [said.stdout, said.stderr],
        };
        Self { state, is_gone: said.gone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            id: CommandId::generate(),
            text: Some("id".to_owned()),
            program: vec!["/bin/sh".to_owned()],
            arguments: vec!["-x".to_owned()],
            environment: [("A".to_owned(), "1".to_owned())].into(),
            folder: "/tmp".into(),
            user: "app".to_owned(),
            limits: Limits { memory: Some(1 << 25), time: Some(Duration::from_secs(3)), ..Limits::default() },
            output: 1000,
            survives: true,
        }
    }

    #[test]
    fn an_order_and_how_it_stands_come_over_whole() {
        let order = order();
        assert_eq!(Order::try_from(Run::from(&order)).unwrap(), order);
        let state = State {
            is_known: true,
            ended: Some(supervise::Ended { exit_code: Some(4), dropped: [1, 2], ..Default::default() }),
            asked: Some(Asked::TimedOut),
            pieces: [b"out".to_vec(), b"err".to_vec()],
            ..State::default()
        };
        let look = Look { state: state.clone(), is_gone: true };
        let back = Look::from(RunState::from(look));
        assert_eq!((back.state, back.is_gone), (state, true));
    }

    #[test]
    fn an_order_with_tricks_in_its_words_is_none() {
        let run = Run::from(&order());
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for bad in [
            Run { id: "../../etc".to_owned(), ..run.clone() },
            Run { id: "x.service".to_owned(), ..run.clone() },
            Run { program: words(&["sh"]), ..run.clone() },
            Run { program: Vec::new(), ..run.clone() },
            Run { folder: "tmp".to_owned(), ..run.clone() },
            Run { arguments: words(&["a\0b"]), ..run.clone() },
            Run { environment: [("A=B".to_owned(), String::new())].into(), ..run.clone() },
            Run { environment: [(String::new(), String::new())].into(), ..run },
        ] {
            assert!(Order::try_from(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
