//! `metrics`: how the agent stands, as numbers for a monitoring of the host's own. The same as
//! `status` tells: nothing is counted for this alone, and nothing leaves the host by it.

mod text;

use muster_common::clock::UnixMillis;
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    status,
};
use crate::{
    local_api::status::{Health, SessionState, Status},
    platform::usage::{self, Usage},
};
use text::Text;

/// Of the answer.
const SHAPE: &str = "metrics/1";

const HEALTH: [(Health, &str); 5] = [
    (Health::Healthy, "healthy"),
    (Health::NotInAFleet, "not-in-a-fleet"),
    (Health::CutOff, "cut-off"),
    (Health::Degraded, "degraded"),
    (Health::Paused, "paused"),
];

/// Prints them. That no agent runs is a number, too, and no error.
pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let status = match status::live(context) {
        Ok(status) => Some(status),
        Err(failure) if failure.is(exit::NOT_RUNNING) => None,
        Err(failure) => return Err(failure),
    };
    let usage = status.as_ref().and_then(|status| usage::of(status.pid));
    let text = text(status.as_ref(), usage);
    if context.out.is_json() {
        context.out.document(SHAPE, &json!({ "text": text }));
    } else {
        context.out.line(text.trim_end());
    }
    Ok(())
}

fn text(status: Option<&Status>, usage: Option<Usage>) -> String {
    let mut text = Text::default();
    text.gauge("muster_agent_up", "Whether an agent runs");
    text.is(&[], status.is_some());
    if let Some(status) = status {
        agent(&mut text, status);
        session(&mut text, status);
        work(&mut text, status);
        conditions(&mut text, status);
    }
    if let Some(usage) = usage {
        process(&mut text, usage);
    }
    text.ended()
}

fn agent(text: &mut Text, status: &Status) {
    text.gauge("muster_agent_info", "What the agent is; always 1");
    text.is(&[("version", &status.agent_version)], true);
    text.gauge("muster_agent_health", "1 for how the agent stands, 0 for the others");
    for (health, word) in HEALTH {
        text.is(&[("health", word)], status.health == health);
    }
    text.gauge("muster_agent_started_timestamp_seconds", "When the agent started");
    text.at(status.started_at);
    text.gauge("muster_agent_told_timestamp_seconds", "When the agent said all this");
    text.at(status.updated_at);
    text.gauge("muster_agent_locked", "Whether the lock file cannot be used, so that everything is locked");
    text.is(&[], !status.locks.error.is_empty());
    text.gauge("muster_agent_paused", "Whether changes and commands rest, by the host's administrator");
    text.is(&[], status.pause.is_some());
}

fn session(text: &mut Text, status: &Status) {
    text.gauge("muster_agent_connected", "Whether there is a session with the control plane");
    text.is(&[], status.session.state == SessionState::Connected);
    if let Some(at) = status.session.last_contact {
        text.gauge("muster_agent_contact_timestamp_seconds", "When the control plane was heard last");
        text.at(at);
    }
    if let Some(node) = &status.node {
        text.gauge("muster_agent_certificate_expires_timestamp_seconds", "When the node's certificate ends");
        text.at(node.certificate.expires_at);
    }
    text.gauge("muster_agent_outbox_reports", "Reports that the control plane has not acknowledged");
    text.count(&[], status.outbox_depth);
}

fn work(text: &mut Text, status: &Status) {
    let outcomes = status.items.iter().map(|item| word(&item.outcome));
    text.counts("muster_agent_items", "Items by what became of their last attempt", "outcome", outcomes);
    text.gauge("muster_agent_items_drifted", "Items whose files something else has changed");
    text.count(&[], status.items.iter().filter(|item| item.drifted).count() as u64);
    let states = status.commands.iter().map(|command| command.state.clone());
    text.counts("muster_agent_commands", "Commands that are not over, by state", "state", states);
}

fn conditions(text: &mut Text, status: &Status) {
    let known = status.conditions.iter().filter_map(|it| Some((it.kind.as_str(), it.holds?)));
    let known: Vec<(&str, bool)> = known.collect();
    if !known.is_empty() {
        text.gauge("muster_agent_condition", "Conditions that the control plane is told: whether they hold");
        known.into_iter().for_each(|(kind, holds)| text.is(&[("kind", kind)], holds));
    }
}

fn process(text: &mut Text, usage: Usage) {
    text.counter("muster_agent_cpu_seconds", "Processor time of the agent", usage.cpu.as_secs_f64());
    text.gauge("muster_agent_resident_memory_bytes", "Memory that the agent holds");
    text.count(&[], usage.resident_bytes);
    text.gauge("muster_agent_threads", "Threads of the agent");
    text.count(&[], usage.threads);
}

/// As it is written in the status.
fn word(outcome: &crate::state::Outcome) -> String {
    json!(outcome).as_str().unwrap_or_default().to_owned()
}

/// Seconds of Unix time.
fn seconds(at: UnixMillis) -> f64 {
    at.0 as f64 / 1000.0
}

#[cfg(test)]
mod tests;
