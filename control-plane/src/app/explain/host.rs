//! What a host has said of an item, for people.

use muster_domain::item::{ItemState, Progress};

use super::{Reason, yes};

/// Where the host is on its way.
pub(super) fn progress(progress: &Progress) -> Reason {
    let Progress { step, percent, since, message } = progress;
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    yes("Progress", format!("the host is at {step:?} since {since}, {percent} % of it done{message}"))
}

/// What is said of what runs.
pub(super) fn health(state: &ItemState) -> Option<Reason> {
    let health = state.health.as_ref()?;
    let well = if health.healthy { "well" } else { "not well" };
    let text = format!("what runs is {well} since {}: {}", health.since, health.message);
    Some(Reason { about: "Health", holds: health.healthy, text })
}

/// What the host said last.
pub(super) fn said(reported: Option<&ItemState>) -> String {
    let Some(state) = reported else { return "the host has never said anything of it".to_owned() };
    let running = state.running.as_ref().map_or("nothing".to_owned(), |it| format!("version {}", it.version));
    let error = state.error.as_ref().map(|error| {
        let reason = error.reason.map_or_else(|| "UNKNOWN".to_owned(), |reason| reason.to_string());
        let tried = state.attempted.as_ref().map_or(String::new(), |it| format!(" version {}", it.version));
        format!("; it tried{tried}, and failed: {reason}: {}", error.message)
    });
    format!("the host runs {running} of it{}", error.unwrap_or_default())
}
