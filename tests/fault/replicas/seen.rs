//! What was seen, for the report.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::stream::{Ends, Said};

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of each death: sessions that the replica had, and how long until all were back.
    deaths: Vec<(i64, Duration)>,
    /// How long no write was taken.
    failover: Duration,
    pub(super) commands: Ends,
    /// Each saw nobody offline: the first that does not ends the test.
    looks: AtomicU64,
}

impl Seen {
    pub(super) fn looked(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn died(&mut self, held: i64, back: Duration) {
        eprintln!("a replica with {held} sessions died; all were back after {} ms", back.as_millis());
        self.deaths.push((held, back));
    }

    pub(super) fn failed_over(&mut self, after: Duration) {
        eprintln!("the database failed over; a write was taken after {} ms", after.as_millis());
        self.failover = after;
    }

    pub(super) fn print(&self, seed: u64, seconds: u64, nodes: usize, said: &Said) -> String {
        let mut text = "| | |\n|---|---|\n".to_owned();
        let mut row = |what: &str, figure: String| {
            let _ = writeln!(text, "| {what} | {figure} |");
        };
        row("seed", seed.to_string());
        row("seconds", seconds.to_string());
        row("nodes", nodes.to_string());
        row("deaths of a replica", self.deaths.len().to_string());
        let mut back: Vec<u128> = self.deaths.iter().map(|(_, back)| back.as_millis()).collect();
        back.sort_unstable();
        row("all sessions back after a death, median, ms", middle(&back));
        row("all sessions back after a death, at most, ms", back.last().copied().unwrap_or(0).to_string());
        let most = self.deaths.iter().map(|(held, _)| *held).max().unwrap_or(0);
        row("sessions of a replica that died, at most", most.to_string());
        row("no write taken during the failover, ms", self.failover.as_millis().to_string());
        row("writes acknowledged, all there on each replica", said.writes.len().to_string());
        row("operations acknowledged", said.operations.len().to_string());
        for (why, count) in &said.refused {
            row(&format!("calls refused, or their answers lost: {why}"), count.to_string());
        }
        for (state, count) in &self.commands.0 {
            let word = state.trim_start_matches("COMMAND_STATE_").to_lowercase();
            row(&format!("commands {word}, none done twice"), count.to_string());
        }
        let looks = self.looks.load(Ordering::Relaxed);
        row("looks at the fleet, none of which saw a node offline", looks.to_string());
        text
    }
}

fn middle(sorted: &[u128]) -> String {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0).to_string()
}
