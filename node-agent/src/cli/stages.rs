//! Work in named stages: each is told when it is over, with the time it took.

use std::time::Duration;

use muster_common::clock::Clock;
use serde_json::{Value, json};

use super::{
    exit::{self, Failure},
    output::{Output, Tone},
    progress,
};

/// The stages of one command.
#[derive(Debug)]
pub(super) struct Stages {
    out: Output,
    schema: &'static str,
    limit: Duration,
    began: muster_common::clock::Instant,
    over: Vec<Value>,
}

impl Stages {
    /// All of them together must not take longer than this.
    pub(super) fn new(out: Output, schema: &'static str, limit: Duration) -> Self {
        Self { out, schema, limit, began: Clock::System.monotonic(), over: Vec::new() }
    }

    /// What is left of the time.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(Clock::System.monotonic().duration_since(self.began))
    }

    /// Does a stage; it answers a value and what there is to say.
    pub(super) async fn stage<T>(
        &mut self,
        name: &'static str,
        doing: impl Future<Output = Result<(T, String), Failure>>,
    ) -> Result<T, Failure> {
        let began = Clock::System.monotonic();
        let doing = tokio::time::timeout(self.left(), doing);
        let done = progress::watched(self.out, || format!("  {name}"), doing).await;
        let done = done.unwrap_or_else(|_| {
            let limit = humantime::format_duration(self.limit);
            Err(Failure::told(exit::TIME_LIMIT, format!("{name} was not over within {limit}")))
        });
        let took = Clock::System.monotonic().duration_since(began);
        match done {
            Ok((value, told)) => {
                self.tell(name, "passed", took, &told);
                Ok(value)
            }
            Err(failure) => {
                self.tell(name, "failed", took, "");
                Err(failure)
            }
        }
    }

    /// Says that a stage was left out, and why.
    pub(super) fn skip(&mut self, name: &'static str, why: &str) {
        self.tell(name, "skipped", Duration::ZERO, why);
    }

    /// The failure with what was done until then.
    pub(super) fn failed(&self, failure: Failure) -> Failure {
        failure.beside(self.schema, json!({ "stages": self.over }))
    }

    /// What came of them all, for a program.
    pub(super) fn document(&self, mut answer: Value) {
        answer["stages"] = json!(self.over);
        self.out.document(self.schema, &answer);
    }

    fn tell(&mut self, name: &'static str, outcome: &'static str, took: Duration, told: &str) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.over.push(json!({ "name": name, "outcome": outcome, "took-ms": took_ms, "told": told }));
        let (tone, word) = match outcome {
            "passed" => (Tone::Good, "ok"),
            "failed" => (Tone::Bad, "FAILED"),
            _ => (Tone::Strong, "skipped"),
        };
        let word = self.out.paint_note(tone, &format!("{word:<8}"));
        self.out.note(&format!("  {name:<15} {word} {took_ms:>6} ms  {told}"));
    }
}
