//! Steps of commands that wait to be written down: bounded in number and in
//! bytes, for all nodes together, for each node, and for each command by the
//! output that its host was given credit for.

use std::collections::{HashMap, VecDeque};

use muster_common::ids::{CommandId, NodeId};

use crate::{app::desk::OUTPUT_CREDIT, session::frames::CommandReport, traces::Told};

/// Steps that wait, of all nodes.
const STEPS: usize = 32 * 1024;
/// Bytes that wait, of all nodes.
const BYTES: usize = 64 * 1024 * 1024;
/// Steps that wait, of one node.
const STEPS_OF_ONE: usize = 512;
/// Bytes that wait, of one node.
const BYTES_OF_ONE: usize = 2 * 1024 * 1024;
/// Output that waits, of one command: what the host had credit for, once, and
/// once again if it says it again because it got no answer.
const OUTPUT: usize = 2 * OUTPUT_CREDIT as usize;
/// Steps written in one go.
const BATCH: usize = 512;
/// Bytes written in one go.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// What a step costs beside its bytes.
const OVERHEAD: usize = 256;

/// A step of a command, and who said so.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The node.
    pub node: NodeId,
    /// What it said.
    pub report: CommandReport,
}

/// Why a step was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All nodes together have said more than was written down so far.
    Everybody,
    /// This node has.
    Node,
    /// More output than the command had credit for.
    Credit,
}

impl Full {
    /// In one word, for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Everybody => "recorder",
            Self::Node => "recorder-node",
            Self::Credit => "output-credit",
        }
    }
}

/// A step that was not taken.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub full: Full,
    /// What the host said.
    pub report: Box<CommandReport>,
}

/// Steps that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    steps: VecDeque<Step>,
    bytes: usize,
    nodes: HashMap<NodeId, Held>,
    output: HashMap<CommandId, usize>,
}

#[derive(Debug, Default)]
struct Held {
    steps: usize,
    bytes: usize,
}

impl Step {
    fn output(&self) -> usize {
        self.report.output.as_ref().map_or(0, |chunk| chunk.data.len())
    }

    fn bytes(&self) -> usize {
        let result = self.report.result.as_ref().map_or(0, |found| found.bytes.len());
        let spans: usize = self.report.spans.iter().map(Told::bytes).sum();
        OVERHEAD + self.report.message.len() + result + spans + self.output()
    }
}

impl Queue {
    /// Takes a step.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) fn push(&mut self, step: Step) -> Result<(), Refused> {
        if let Err(full) = self.has_room(&step) {
            return Err(Refused { full, report: Box::new(step.report) });
        }
        let (bytes, output) = (step.bytes(), step.output());
        let held = self.nodes.entry(step.node).or_default();
        held.steps += 1;
        held.bytes += bytes;
        self.bytes += bytes;
        if output > 0 {
            *self.output.entry(step.report.command).or_default() += output;
        }
        self.steps.push_back(step);
        Ok(())
    }

    fn has_room(&self, step: &Step) -> Result<(), Full> {
        let (bytes, output) = (step.bytes(), step.output());
        if self.steps.len() >= STEPS || self.bytes + bytes > BYTES {
            return Err(Full::Everybody);
        }
        if let Some(held) = self.nodes.get(&step.node)
            && (held.steps >= STEPS_OF_ONE || held.bytes + bytes > BYTES_OF_ONE)
        {
            return Err(Full::Node);
        }
        let waiting = self.output.get(&step.report.command).copied().unwrap_or(0);
        if output > 0 && waiting + output > OUTPUT {
            return Err(Full::Credit);
        }
        Ok(())
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Takes out what is written in one go.
    pub(super) fn take(&mut self) -> Vec<Step> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < BATCH && bytes < BATCH_BYTES {
            let Some(step) = self.steps.pop_front() else { break };
            bytes += step.bytes();
            self.forget(&step);
            taken.push(step);
        }
        taken
    }

    fn forget(&mut self, step: &Step) {
        let (bytes, output) = (step.bytes(), step.output());
        self.bytes -= bytes;
        if let Some(held) = self.nodes.get_mut(&step.node) {
            held.steps -= 1;
            held.bytes -= bytes;
            if held.steps == 0 {
                self.nodes.remove(&step.node);
            }
        }
        if let Some(waiting) = self.output.get_mut(&step.report.command) {
            *waiting -= output;
            if *waiting == 0 {
                self.output.remove(&step.report.command);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use muster_domain::command::State;

    use super::*;
    use crate::session::frames::{Chunk, Found};

    fn step(node: u128, command: u128, output: usize) -> Step {
        let chunk = Chunk { stderr: false, data: Bytes::from(vec![0; output]), dropped_bytes: 0 };
        Step {
            node: NodeId::from_u128(node),
            report: CommandReport {
                command: CommandId::from_u128(command),
                seq: 1,
                state: State::Running,
                output: (output > 0).then_some(chunk),
                exit_code: 0,
                signal: 0,
                reason: None,
                message: String::new(),
                result: None,
                ledger_seq: 0,
                spans: Vec::new(),
            },
        }
    }

    fn fill(queue: &mut Queue, mut next: impl FnMut(u128) -> Step) -> (u128, Full) {
        let mut count = 0;
        loop {
            if let Err(refused) = queue.push(next(count)) {
                return (count, refused.full);
            }
            count += 1;
        }
    }

    #[test]
    fn one_node_fills_its_own_share_and_no_more() {
        let mut queue = Queue::default();
        assert_eq!(fill(&mut queue, |n| step(1, n, 0)), (512, Full::Node));
        assert_eq!(fill(&mut queue, |n| step(2, n, 100_000)), (20, Full::Node), "two megabytes");
        assert!(queue.push(step(3, 1, 0)).is_ok(), "others have room");
        let mut made = |n| {
            let mut step = step(4, n, 0);
            step.report.result = Some(Found { kind: "service", bytes: vec![0; 100_000] });
            step
        };
        assert_eq!(fill(&mut queue, &mut made), (20, Full::Node), "what hosts made counts, too");
        let part = Told { name: "x".repeat(256), ..Told::default() };
        let mut told = |n| {
            let mut step = step(5, n, 0);
            step.report.spans = vec![part.clone(); 32];
            step
        };
        let (count, full) = fill(&mut queue, &mut told);
        assert_eq!(full, Full::Node, "what they did counts, too");
        assert!(count * 32 * 256 <= 2 * 1024 * 1024, "{count}");
        while !queue.take().is_empty() {}
        assert_eq!((queue.bytes, queue.nodes.len()), (0, 0));
    }

    #[test]
    fn a_command_says_no_more_than_it_has_credit_for() {
        let mut queue = Queue::default();
        assert_eq!(fill(&mut queue, |_| step(1, 1, 64 * 1024)), (2, Full::Credit));
        assert!(queue.push(step(1, 1, 0)).is_ok(), "its end needs none");
        assert!(queue.push(step(1, 2, 1)).is_ok());
        assert_eq!(queue.take().len(), 4);
        assert!(queue.push(step(1, 1, 64 * 1024)).is_ok(), "what was taken out counts no more");
    }

    #[test]
    fn all_together_have_a_bound_in_number_and_in_bytes() {
        let mut queue = Queue::default();
        assert_eq!(fill(&mut queue, |n| step(n, n, 0)), (32 * 1024, Full::Everybody));
        let mut queue = Queue::default();
        let (count, full) = fill(&mut queue, |n| step(n / 10, n, 120_000));
        assert_eq!(full, Full::Everybody);
        assert!(count * 120_000 <= 64 * 1024 * 1024);
        let mut left = count;
        while left > 0 {
            let taken = queue.take();
            assert!(!taken.is_empty() && taken.len() <= 512);
            left -= taken.len() as u128;
        }
        assert_eq!((queue.bytes, queue.nodes.len(), queue.output.len()), (0, 0, 0));
    }
}
