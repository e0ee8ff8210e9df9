//! What was seen, for the report.

use std::{fmt::Write as _, time::Duration};

use super::{
    fleet::{Crowd, Door, Ending},
    operators::{Calls, Times},
    watcher::Told,
};

/// One storm.
#[derive(Debug)]
pub(super) struct Storm {
    pub(super) ending: Ending,
    /// Until all control planes had ended.
    pub(super) down: Duration,
    /// Of the time until all are ready, what the database took.
    pub(super) database: Duration,
    /// Until all of them were ready again, since they were to end.
    pub(super) ready: Duration,
    /// Until all sessions were back, since then.
    pub(super) back: Duration,
    pub(super) crowd: Crowd,
    /// Of each process of the control plane, and of the database: when all were ready, and when all were back.
    pub(super) cpu: Vec<(Duration, Duration)>,
    /// Of each control plane, in KiB.
    pub(super) memory: Vec<u64>,
    pub(super) calls: Calls,
    pub(super) told: Told,
    pub(super) opened: u64,
    pub(super) lost: u64,
    pub(super) door: Door,
}

/// All that was seen.
pub(super) struct Seen {
    facts: String,
    planes: usize,
    times: String,
    pub(super) storms: Vec<Storm>,
}

impl Seen {
    pub(super) fn new(seed: u64, sessions: u64, planes: usize, connected: Duration) -> Self {
        let facts = format!(
            "{sessions} sessions, {planes} control planes, seed {seed}; all were connected for the first time in {} ms\n",
            connected.as_millis()
        );
        Self { facts, planes, times: String::new(), storms: Vec::new() }
    }

    pub(super) fn calm(&mut self, calls: &Calls) {
        self.calls("nothing goes on", calls);
    }

    pub(super) fn storm(&mut self, storm: Storm) {
        self.calls(word(storm.ending), &storm.calls);
        self.storms.push(storm);
    }

    fn calls(&mut self, when: &str, calls: &Calls) {
        let kinds = calls.by_kind().map(|(call, times)| (format!("{call:?}"), times));
        for (what, times) in kinds.chain([("all".to_owned(), calls.all())]) {
            let Times { count, p50, p99, most } = times;
            let [p50, p99, most] = [p50, p99, most].map(ms);
            let _ = writeln!(self.times, "| {when} | {what} | {count} | {p50} | {p99} | {most} |");
        }
    }

    pub(super) fn print(&self) -> String {
        let heads: String = self.storms.iter().map(|storm| format!(" {} |", word(storm.ending))).collect();
        let mut text = format!("{}\n| |{heads}\n|---|{}\n", self.facts, "---|".repeat(self.storms.len()));
        let mut row = |what: &str, of: &dyn Fn(&Storm) -> String| {
            let cells: String = self.storms.iter().map(|storm| format!(" {} |", of(storm))).collect();
            let _ = writeln!(text, "| {what} |{cells}");
        };
        row("until all had ended, ms", &|it| ms(it.down));
        row("until all were ready, ms", &|it| ms(it.ready));
        if self.planes > 1 {
            row("of it until the database was there, ms", &|it| ms(it.database));
        }
        row("half of the sessions back after that, ms", &|it| ms(it.crowd.half));
        row("99 % back after that, ms", &|it| ms(it.crowd.most));
        row("all back after that, ms", &|it| ms(it.crowd.all));
        row("all back, since the end, ms", &|it| ms(it.back));
        for plane in 0..self.planes {
            let of =
                |it: &Storm| format!("{}, {}", ms(it.cpu[plane].0), ms(it.cpu[plane].1 - it.cpu[plane].0));
            row(&format!("CPU of control plane {plane}: to start, then until all are back, ms"), &of);
        }
        if self.planes > 1 {
            row("CPU of the database until all are back, ms", &|it| {
                let (ready, back) = it.cpu[self.planes];
                ms(back.saturating_sub(ready))
            });
        }
        row("memory of each control plane then, MiB", &|it| {
            it.memory.iter().map(|kib| (kib / 1024).to_string()).collect::<Vec<_>>().join(", ")
        });
        row("sessions opened", &|it| it.opened.to_string());
        row("sessions that broke without a word", &|it| it.lost.to_string());
        row("handshakes of nodes", &|it| it.door.handshakes.to_string());
        row("times that a limit of the nodes' door was met", &|it| it.door.turned_away.to_string());
        row("news of nodes, late, gone", &|it| {
            format!("{}, {}, {}", it.told.events, it.told.late, it.told.gone.len())
        });
        row("calls of operators that failed", &|it| it.calls.failed.values().sum::<usize>().to_string());
        let head = "| when | call | calls | p50, ms | p99, ms | at most, ms |\n|---|---|---|---|---|---|\n";
        format!("{text}\n{head}{}", self.times)
    }
}

const fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Killed => "SIGKILL",
        Ending::Stopped => "SIGTERM",
    }
}

fn ms(time: Duration) -> String {
    if time < Duration::from_millis(100) {
        format!("{:.1}", time.as_secs_f64() * 1e3)
    } else {
        time.as_millis().to_string()
    }
}
