//! Tells systemd that the agent gets on, as long as all its tasks do.

use std::{future::pending, time::Duration};

use muster_common::clock::{self, Clock};

use crate::{platform::notify, state::Pulse};

/// So many words in the time within which systemd wants one.
const WORDS: u32 = 4;

/// Without an end. A task that is late is named, and systemd hears nothing more until it
/// comes round: it ends this process then, and starts another.
pub(super) async fn watch(pulse: Pulse, clock: Clock) {
    let Some(interval) = notify::watchdog() else { return pending().await };
    let mut is_told = false;
    loop {
        match pulse.late(clock.monotonic()) {
            None => {
                notify::alive();
                is_told = false;
            }
            Some(task) if !is_told => {
                tracing::error!(task, "task {task} does not get on: systemd is not told that the agent does");
                is_told = true;
            }
            Some(_) => {}
        }
        clock::step((interval / WORDS).max(Duration::from_millis(10))).await;
    }
}
