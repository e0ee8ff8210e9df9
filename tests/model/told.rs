//! What stories came to, as figures.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::truth::Sum;

/// What stories came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) happened: BTreeMap<&'static str, usize>,
    pub(crate) sum: Sum,
    pub(crate) rounds: usize,
}

impl Told {
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, count) in &other.happened {
            *self.happened.entry(name).or_default() += count;
        }
        self.sum.add(&other.sum);
        self.rounds = self.rounds.max(other.rounds);
    }

    /// As a table.
    pub(crate) fn print(&self, seeds: u64, first: u64, seconds: f64) -> String {
        let mut text = "| | |\n|---|---|\n".to_owned();
        let mut row = |what: &str, figure: String| {
            let _ = writeln!(text, "| {what} | {figure} |");
        };
        row("seeds, the first", format!("{seeds}, {first}"));
        row("seconds", format!("{seconds:.0}"));
        for (name, count) in &self.happened {
            row(name, count.to_string());
        }
        row("commands", self.sum.commands.to_string());
        for (state, count) in &self.sum.ends {
            row(&format!("of them {state}"), count.to_string());
        }
        row("done at least once", self.sum.done.to_string());
        row("of them twice, where nobody could know", self.sum.twice_unknowable.to_string());
        row("given up when their time was over", self.sum.given_up.to_string());
        row("most rounds until all had ended", self.rounds.to_string());
        text
    }
}
