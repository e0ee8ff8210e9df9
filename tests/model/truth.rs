//! What must hold, whatever happens, and what was seen so far.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use muster_common::{
    ids::{CommandId, OperationId},
    reason::Reason,
};
use muster_domain::{
    command::{Command, State},
    node::LedgerMark,
};
use muster_proto::{
    agent::v1::{self as pb, session_request, session_response},
    types::v1::CommandState,
};

use crate::{
    deeds::{Counted, Deed},
    plane::{Plane, node_id},
};

/// What was seen of all commands.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// All that were ever started: what one backup does not know, a later one may.
    pub(crate) operations: Vec<OperationId>,
    pub(crate) deeds: HashMap<OperationId, Deed>,
    /// As they were last seen in the store.
    rows: BTreeMap<CommandId, Command>,
    /// Newest report that the control plane said is stored; since the last restore.
    acked: BTreeMap<CommandId, u64>,
    /// Ends that hosts told.
    ends: BTreeMap<CommandId, BTreeSet<&'static str>>,
    /// Numbers of the reports that told them, as long as both sides remember what was said before.
    owed: BTreeMap<CommandId, u64>,
    /// Done on a host that knows nothing of it any more.
    forgotten: Vec<BTreeSet<CommandId>>,
    /// The host forgot them, and nobody could know that they were done.
    unknowable: BTreeSet<CommandId>,
    /// The store was set back: it may know less than was acknowledged.
    is_restored: bool,
}

/// What a story came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) commands: usize,
    pub(crate) ends: BTreeMap<&'static str, usize>,
    pub(crate) done: usize,
    pub(crate) given_up: usize,
    pub(crate) twice_unknowable: usize,
}

impl Sum {
    pub(crate) fn add(&mut self, other: &Self) {
        self.commands += other.commands;
        for (state, count) in &other.ends {
            *self.ends.entry(state).or_default() += count;
        }
        self.done += other.done;
        self.given_up += other.given_up;
        self.twice_unknowable += other.twice_unknowable;
    }
}

impl Truth {
    pub(crate) fn new(hosts: usize) -> Self {
        Self { forgotten: vec![BTreeSet::new(); hosts], ..Self::default() }
    }

    /// Looks at the store: ends stay, numbers rise, nothing acknowledged is missing.
    pub(crate) fn look(&mut self, plane: &Plane) {
        let Some(rows) = plane.commands(&self.operations) else { return };
        for row in rows {
            if let Some(before) = self.rows.get(&row.id) {
                goes_on(before, &row);
            }
            let acked = self.acked.get(&row.id).copied().unwrap_or(0);
            assert!(
                row.report_seq >= acked,
                "report {acked} of {} was acknowledged, and {} are stored",
                row.id,
                row.report_seq
            );
            let answered = self.owed.get(&row.id).is_some_and(|seq| *seq <= acked);
            assert!(!answered || row.state.is_end(), "the acknowledged end of {} is lost", row.id);
            self.rows.insert(row.id, row);
        }
    }

    /// The control plane said this to a host.
    pub(crate) fn answered(&mut self, message: &pb::SessionResponse) {
        if let Some(session_response::Kind::Ack(ack)) = &message.kind {
            for ack in &ack.commands {
                let id = ack.command_id.parse().expect("an id");
                if self.rows.contains_key(&id) {
                    let newest = self.acked.entry(id).or_default();
                    *newest = ack.seq.max(*newest);
                }
            }
        }
    }

    /// A host said this.
    pub(crate) fn told(&mut self, message: &pb::SessionRequest) {
        let Some(session_request::Kind::Command(report)) = &message.kind else { return };
        let (id, state) = (report.command_id.parse().expect("an id"), report.state().as_str_name());
        if !matches!(report.state(), CommandState::Delivered | CommandState::Running) {
            self.ends.entry(id).or_default().insert(state);
            self.owed.entry(id).or_insert(report.seq);
        }
    }

    /// The store was set back.
    pub(crate) fn restored(&mut self, plane: &Plane) {
        self.is_restored = true;
        self.acked.clear();
        self.owed.clear();
        self.rows.clear(); // of what there was
        let Some(rows) = plane.commands(&self.operations) else { return };
        // Two losses in a row: the host's, and that of who had noticed it.
        let open: BTreeSet<CommandId> =
            rows.iter().filter(|row| !row.state.is_end()).map(|row| row.id).collect();
        self.unknowable.extend(self.forgotten.iter().flatten().filter(|id| open.contains(id)));
        self.rows = rows.into_iter().map(|row| (row.id, row)).collect();
    }

    /// What of that which was done a host's ledger knows.
    pub(crate) fn known(&self, host: usize, done: &[CommandId]) -> Vec<CommandId> {
        done.iter().copied().filter(|id| !self.forgotten[host].contains(id)).collect()
    }

    /// A host was set back to a ledger that knows these.
    pub(crate) fn went_back(&mut self, host: usize, done: &[CommandId], knows: &[CommandId]) {
        let (acked, rows) = (&self.acked, &self.rows);
        let is_here = |id: &CommandId| rows.get(id).is_none_or(|row| row.node == node_id(host));
        self.owed.retain(|id, seq| acked.get(id).is_some_and(|acked| acked >= seq) || !is_here(id));
        self.forgotten[host].extend(done.iter().filter(|id| !knows.contains(id)));
        self.forgotten[host].retain(|id| !knows.contains(id));
    }

    /// A host says Hello with this ledger, to who knows that one.
    pub(crate) fn greeted(&mut self, host: usize, known: Option<LedgerMark>, shown: LedgerMark) {
        if known.is_none_or(|known| !known.went_back(shown)) {
            // Nothing it ever said was of later than what it went back to.
            self.unknowable.extend(&self.forgotten[host]);
        } else if self.is_restored {
            // A backup may call queued what was long done.
            let queued = |id: &&CommandId| self.rows.get(id).is_some_and(|row| row.state == State::Queued);
            self.unknowable.extend(self.forgotten[host].iter().filter(queued));
        }
    }

    /// No effect came twice.
    pub(crate) fn at_most_once(&self, counted: &Counted) {
        for (id, times) in counted.all() {
            assert!(times <= 1 || self.unknowable.contains(&id), "command {id} was done {times} times");
        }
    }

    /// Whether some are open still.
    pub(crate) fn are_open(&self) -> bool {
        self.rows.values().any(|row| !row.state.is_end())
    }

    /// All is well, and has been for long: what is open now, nobody will ever hear of.
    pub(crate) fn left(&self) {
        let open = self.rows.values().filter(|row| !row.state.is_end());
        // Of what a backup does not know, hosts have been told that they may forget it.
        open.for_each(|row| assert!(self.is_restored, "nobody ever hears the end of {row:?}"));
    }

    /// What must hold in the end.
    pub(crate) fn judge(&self, plane: &Plane, counted: &[Arc<Counted>], done: usize) -> Sum {
        let mut sum = Sum { commands: self.rows.len(), done, ..Sum::default() };
        for row in self.rows.values() {
            assert!(row.state.is_end(), "command {} is {} for ever", row.id, row.state.as_str());
            *sum.ends.entry(row.state.as_str()).or_default() += 1;
            let times = counted.iter().map(|counted| counted.of(row.id)).sum();
            sum.twice_unknowable += usize::from(times > 1);
            if row.reason == Some(Reason::FinishByPassed) && row.state == State::Interrupted {
                sum.given_up += 1;
            }
            self.judge_one(row, times);
            self.judge_output(plane, row);
        }
        sum
    }

    fn judge_one(&self, row: &Command, times: u32) {
        let said = |state: CommandState| {
            self.ends.get(&row.id).is_some_and(|told| told.contains(state.as_str_name()))
        };
        // A backup knows nothing of what was done after it, nor a host that was set back.
        let may_be_wrong = self.is_restored || self.unknowable.contains(&row.id);
        match row.state {
            State::Succeeded => assert!(times > 0 && said(CommandState::Succeeded), "{row:?}"),
            State::Failed => assert!(times > 0 && said(CommandState::Failed), "{row:?}"),
            State::TimedOut => assert!(said(CommandState::TimedOut), "{row:?}"),
            State::Expired => assert!(times == 0 || may_be_wrong, "expired, and done: {row:?}"),
            State::Denied => panic!("nothing is denied here: {row:?}"),
            State::Cancelled => {
                let before = times == 0 || may_be_wrong;
                assert!(before || said(CommandState::Cancelled), "cancelled, and done: {row:?}");
            }
            State::Interrupted | State::Queued | State::Delivered | State::Running => {}
        }
    }

    /// What succeeded has said all, once.
    fn judge_output(&self, plane: &Plane, row: &Command) {
        let output = plane.output(row.id);
        let stored: u64 = output.iter().map(|piece| piece.data.len() as u64).sum();
        assert_eq!(stored, row.output_bytes, "bytes of output of {row:?}");
        if row.state == State::Succeeded && !self.unknowable.contains(&row.id) {
            let deed = self.deeds[&row.operation];
            for stderr in [false, true] {
                let of = output.iter().filter(|piece| piece.stderr == stderr);
                let said: Vec<u8> = of.flat_map(|piece| piece.data.clone()).collect();
                assert_eq!(said, deed.said(row.id, stderr), "output of {row:?}");
            }
        }
    }
}

/// What was stored before, and what is now.
fn goes_on(before: &Command, now: &Command) {
    assert!(now.report_seq >= before.report_seq, "numbers go back: {before:?} to {now:?}");
    assert!(now.output_bytes >= before.output_bytes, "output goes back: {before:?} to {now:?}");
    if before.state.is_end() {
        let end = |row: &Command| (row.state, row.reason, row.ended_at);
        assert_eq!(end(before), end(now), "an end was left: {before:?} to {now:?}");
    } else {
        assert!(now.state >= before.state, "a state went back: {before:?} to {now:?}");
    }
}
