//! Text in the format of OpenMetrics, as little of it as is needed here.

use std::{collections::BTreeMap, fmt::Write as _};

use muster_common::clock::UnixMillis;

/// What was written so far.
#[derive(Debug, Default)]
pub(super) struct Text {
    written: String,
    /// The name of what is being told.
    name: String,
}

impl Text {
    /// From here on the values of a gauge come.
    pub(super) fn gauge(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.written, "# HELP {name} {help}.\n# TYPE {name} gauge");
        name.clone_into(&mut self.name);
    }

    /// A counter, with its value.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: f64) {
        let _ = writeln!(self.written, "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}");
    }

    /// A value of what is being told.
    fn value(&mut self, labels: &[(&str, &str)], value: &str) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.written, "{}{labels} {value}", self.name);
    }

    /// Whether something is so.
    pub(super) fn is(&mut self, labels: &[(&str, &str)], is: bool) {
        self.value(labels, if is { "1" } else { "0" });
    }

    /// How many.
    pub(super) fn count(&mut self, labels: &[(&str, &str)], count: u64) {
        self.value(labels, &count.to_string());
    }

    /// When.
    pub(super) fn at(&mut self, at: UnixMillis) {
        self.value(&[], &super::seconds(at).to_string());
    }

    /// How many of each word there are; nothing where there is none.
    pub(super) fn counts(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        words: impl Iterator<Item = String>,
    ) {
        let mut counts = BTreeMap::<String, u64>::new();
        words.for_each(|word| *counts.entry(word).or_default() += 1);
        if !counts.is_empty() {
            self.gauge(name, help);
            counts.iter().for_each(|(word, count)| self.count(&[(label, word)], *count));
        }
    }

    /// The whole text.
    pub(super) fn ended(mut self) -> String {
        self.written.push_str("# EOF\n");
        self.written
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
