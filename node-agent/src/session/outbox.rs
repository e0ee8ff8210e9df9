//! What is still to be told. Pure bookkeeping: the truth lies with the host,
//! here is only how much of it this session has said.

use std::collections::BTreeMap;

use muster_common::{
    clock::UnixMillis,
    digest::{self, Sha256},
    ids::CommandId,
};

use super::frames::{Ack, OpenCommand};
use crate::state::{Condition, ItemState, Outcome, Report};

/// Output that may be sent of a command that was delivered in an earlier session.
const RESUME_CREDIT: usize = 64 * 1024;
/// Heartbeats after which reports without acknowledgement are told again.
const PATIENCE: u32 = 4;

/// What one session has said.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    items: BTreeMap<String, ItemState>,
    conditions: Vec<Condition>,
    commands: BTreeMap<CommandId, Cursor>,
}

/// How far a command has been told.
#[derive(Debug, PartialEq, Eq)]
struct Cursor {
    sent: u64,
    acked: u64,
    credit: usize,
    silent_beats: u32,
}

impl Outbox {
    /// Hello said all of this.
    pub(super) fn greeted(&mut self, items: &[ItemState], commands: &[OpenCommand]) {
        self.items = items.iter().map(|state| (state.item.clone(), state.clone())).collect();
        self.commands.clear();
        for open in commands {
            self.commands.insert(open.id, Cursor::new(open.acked, RESUME_CREDIT));
        }
    }

    /// What of the items is news; they count as told.
    pub(super) fn items(&mut self, now: Vec<ItemState>, at: UnixMillis) -> Vec<ItemState> {
        let gone: Vec<String> =
            self.items.keys().filter(|name| !now.iter().any(|state| state.item == **name)).cloned().collect();
        let mut news: Vec<ItemState> = gone.into_iter().map(|item| self.removed(item, at)).collect();
        for state in now {
            if self.items.get(&state.item) != Some(&state) {
                self.items.insert(state.item.clone(), state.clone());
                news.push(state);
            }
        }
        news
    }

    fn removed(&mut self, item: String, changed_at: UnixMillis) -> ItemState {
        self.items.remove(&item);
        ItemState {
            item,
            running: None,
            attempted: None,
            outcome: Outcome::Removed,
            error: None,
            changed_at,
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    /// The hash over what was told to run.
    pub(super) fn state_hash(&self) -> Sha256 {
        digest::state_hash(self.items.values().filter_map(|state| {
            let running = state.running.as_ref()?;
            Some((state.item.as_str(), running.generation, running.sha256))
        }))
    }

    /// What of the conditions is news; they count as told.
    pub(super) fn conditions(&mut self, now: Vec<Condition>) -> Vec<Condition> {
        let news: Vec<Condition> =
            now.iter().filter(|condition| !self.conditions.contains(condition)).cloned().collect();
        if !news.is_empty() {
            self.conditions = now;
        }
        news
    }

    /// An order came with this credit.
    pub(super) fn ordered(&mut self, id: CommandId, credit: u32) {
        let cursor = self.commands.entry(id).or_insert_with(|| Cursor::new(0, 0));
        cursor.credit = cursor.credit.max(usize::try_from(credit).unwrap_or(usize::MAX));
    }

    /// Where to go on with a command: after which report, with how much output.
    /// `None`: all of it was told.
    pub(super) fn due(&mut self, open: &OpenCommand) -> Option<(u64, usize)> {
        let cursor = self.commands.entry(open.id).or_insert_with(|| Cursor::new(open.acked, RESUME_CREDIT));
        (cursor.sent < open.last).then_some((cursor.sent, cursor.credit))
    }

    /// A report was sent.
    pub(super) fn sent(&mut self, id: CommandId, report: &Report) {
        if let Some(cursor) = self.commands.get_mut(&id) {
            cursor.sent = report.seq;
            cursor.credit = cursor.credit.saturating_sub(report.output_bytes());
        }
    }

    /// Reports are stored.
    pub(super) fn stored(&mut self, ack: &Ack) {
        for (id, seq, credit) in &ack.commands {
            if let Some(cursor) = self.commands.get_mut(id) {
                cursor.acked = cursor.acked.max(*seq);
                cursor.sent = cursor.sent.max(*seq);
                cursor.credit = cursor.credit.saturating_add(usize::try_from(*credit).unwrap_or(usize::MAX));
                cursor.silent_beats = 0;
            }
        }
    }

    /// Commands that are no longer open need no cursor; those not yet begun may be on their way.
    pub(super) fn keep_only(&mut self, open: &[OpenCommand]) {
        self.commands.retain(|id, cursor| cursor.sent == 0 || open.iter().any(|command| command.id == *id));
    }

    /// A heartbeat passed. `true`: reports went unanswered for long and are to be told again.
    pub(super) fn beat(&mut self) -> bool {
        let mut again = false;
        for cursor in self.commands.values_mut().filter(|cursor| cursor.sent > cursor.acked) {
            cursor.silent_beats += 1;
            if cursor.silent_beats >= PATIENCE {
                *cursor = Cursor::new(cursor.acked, RESUME_CREDIT);
                again = true;
            }
        }
        again
    }
}

impl Cursor {
    const fn new(acked: u64, credit: usize) -> Self {
        Self { sent: acked, acked, credit, silent_beats: 0 }
    }
}

#[cfg(test)]
mod tests {
    use muster_common::generation::Generation;

    use super::*;
    use crate::state::{Chunk, CommandState, ItemVersion};

    fn state(item: &str, number: u64) -> ItemState {
        let version = ItemVersion {
            generation: Generation::new(1, number),
            version: String::new(),
            sha256: Sha256::of(&number.to_be_bytes()),
        };
        ItemState {
            item: item.to_owned(),
            running: Some(version.clone()),
            attempted: Some(version),
            outcome: Outcome::Applied,
            error: None,
            changed_at: UnixMillis(1),
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    fn open(last: u64) -> OpenCommand {
        OpenCommand { id: CommandId::from_u128(1), state: CommandState::Running, acked: 0, last }
    }

    fn output(seq: u64, bytes: usize) -> Report {
        let output = Some(Chunk { stderr: false, data: vec![0; bytes], dropped: 0 });
        Report { output, ..Report::new(seq, CommandState::Running, UnixMillis(0)) }
    }

    #[test]
    fn only_what_changed_is_told_and_the_hash_follows_what_was_told() {
        let mut outbox = Outbox::default();
        outbox.greeted(&[state("bundle/a", 1), state("bundle/b", 1)], &[]);
        let before = outbox.state_hash();
        assert_eq!(outbox.items(vec![state("bundle/a", 1), state("bundle/b", 1)], UnixMillis(5)), []);
        assert_eq!(outbox.state_hash(), before);
        let news = outbox.items(vec![state("bundle/b", 2)], UnixMillis(5));
        assert_eq!(news.len(), 2);
        assert_eq!((news[0].item.as_str(), news[0].outcome), ("bundle/a", Outcome::Removed));
        assert_eq!(news[1], state("bundle/b", 2));
        assert_ne!(outbox.state_hash(), before);
    }

    #[test]
    fn output_stops_at_its_credit_and_goes_on_with_an_acknowledgement() {
        let mut outbox = Outbox::default();
        outbox.ordered(open(0).id, 100);
        assert_eq!(outbox.due(&open(3)), Some((0, 100)));
        outbox.sent(open(0).id, &output(1, 70));
        assert_eq!(outbox.due(&open(3)), Some((1, 30)));
        outbox.stored(&Ack { items_seq: 0, commands: vec![(open(0).id, 1, 70)] });
        assert_eq!(outbox.due(&open(3)), Some((1, 100)));
        outbox.sent(open(0).id, &output(3, 70));
        assert_eq!(outbox.due(&open(3)), None);
    }

    #[test]
    fn reports_that_nobody_acknowledges_are_told_again() {
        let mut outbox = Outbox::default();
        outbox.ordered(open(0).id, 100);
        outbox.sent(open(0).id, &output(1, 10));
        assert!((1..PATIENCE).all(|_| !outbox.beat()));
        assert!(outbox.beat());
        assert_eq!(outbox.due(&open(1)), Some((0, RESUME_CREDIT)));
    }
}
