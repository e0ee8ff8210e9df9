//! What a round has shown, as a table.

use std::{collections::BTreeMap, fmt::Write as _, sync::atomic::Ordering, time::Duration};

use muster_tests::history::{History, Outcome, State, check::Verdict};

use super::{
    lab::{AGENTS, CABLED, Lab},
    nemesis::Nemesis,
    writers::Parties,
};

/// What is not seen here: named, and not passed over in silence.
const UNSEEN: &str = "I10: expired and superseded certificates";
/// What needs more control planes than one.
const UNSEEN_OF_ONE: &str = "I1, I10, I11: what must hold between control planes";

/// A round.
pub(crate) struct Round<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) nemesis: &'a Nemesis,
    pub(crate) parties: &'a Parties,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) history: &'a History,
    pub(crate) verdicts: &'a [Verdict],
}

impl Round<'_> {
    pub(crate) fn table(&self) -> String {
        let mut text = "| | |\n|---|---|\n".to_owned();
        let mut row = |what: &str, figure: String| {
            let _ = writeln!(text, "| {what} | {figure} |");
        };
        let (lab, history) = (self.lab, self.history);
        row("store", lab.engine.name().to_owned());
        row("control planes", lab.seats.len().to_string());
        row(
            "hosts with an agent, of them over a cable; of the swarm",
            format!("{AGENTS}, {CABLED}; {}", lab.nodes.len()),
        );
        row("seed", self.seed.to_string());
        row("seconds of trouble", self.seconds.to_string());
        for (evil, times) in &self.nemesis.struck {
            row(evil, times.to_string());
        }
        self.traffic(&mut row);
        row("sessions begun again by the swarm", (lab.opened() - lab.opened_before).to_string());
        row("changes of liveness told, of them to offline", liveness(history));
        row("watches taken up again", self.parties.watchers.again.load(Ordering::Relaxed).to_string());
        row("entries of the audit", history.entries().count().to_string());
        row("from being heard again to running what it should, the slowest", slowest(history));
        text + &self.invariants()
    }

    fn traffic(&self, row: &mut impl FnMut(&str, String)) {
        let mut writes = [0_usize; 3];
        self.history.writes().for_each(|(_, write)| writes[index(write.outcome)] += 1);
        row("writes acknowledged, refused, without an answer", join(&writes));
        let mut orders = [0_usize; 3];
        self.history.orders().for_each(|(_, order)| orders[index(order.outcome)] += 1);
        row("orders acknowledged, refused, without an answer", join(&orders));
        row("readings", self.history.reads().count().to_string());
        let ends = last_states(self.history);
        let count = |state| ends.values().filter(|end| **end == state).count();
        let figures = [State::Ended, State::NotStarted, State::Interrupted].map(count);
        row("commands that ran to their end, never started, interrupted", join(&figures));
    }

    fn invariants(&self) -> String {
        let mut text = "\n| invariant | promise | facts | broken |\n|---|---|---|---|\n".to_owned();
        for verdict in self.verdicts {
            let (name, promise) = (verdict.name, verdict.promise);
            let _ =
                writeln!(text, "| {name} | {promise} | {} | {} |", verdict.looked_at, verdict.broken.len());
        }
        text.push_str("\nNot seen in this round:\n\n");
        let of_one = (self.history.planes == 1).then_some(UNSEEN_OF_ONE);
        for what in [UNSEEN].into_iter().chain(of_one) {
            let _ = writeln!(text, "- {what}");
        }
        text
    }
}

/// A round in which nothing was done proves nothing.
pub(crate) fn enough_happened(history: &History, seconds: u64) {
    let done = history.writes().filter(|(_, write)| write.outcome == Outcome::Acknowledged).count();
    let ended = last_states(history).into_values().filter(|end| *end == State::Ended).count();
    let (least_done, least_ended) =
        (usize::try_from(seconds * 3).unwrap(), usize::try_from(seconds / 4).unwrap());
    assert!(done >= least_done && ended >= least_ended, "{done} writes and {ended} commands are too few");
}

fn last_states(history: &History) -> BTreeMap<&str, State> {
    history.commands().map(|(_, command)| (command.id.as_str(), command.state)).collect()
}

const fn index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Acknowledged => 0,
        Outcome::Refused => 1,
        Outcome::Unknown => 2,
    }
}

fn join(figures: &[usize; 3]) -> String {
    figures.map(|figure| figure.to_string()).join(", ")
}

fn liveness(history: &History) -> String {
    let all: Vec<&str> = history.liveness().map(|(_, (_, state))| state).collect();
    let offline = all.iter().filter(|state| **state == "offline").count();
    format!("{}, {offline}", all.len())
}

fn slowest(history: &History) -> String {
    let synced: BTreeMap<&str, Duration> = history.in_sync().map(|(at, (node, ..))| (node, at)).collect();
    let waits = history.live().filter_map(|(heard, node)| Some(synced.get(node)?.saturating_sub(heard)));
    format!("{} ms", waits.max().unwrap_or_default().as_millis())
}
