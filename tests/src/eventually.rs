//! Waiting for a level, with a bound: never for a time.

use std::{future::Future, time::Duration};

use muster_common::clock::Clock;

/// How long anything may take on a busy machine.
pub const LONG: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none in time.
pub async fn eventually<T, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let clock = Clock::System;
    let begun = clock.monotonic();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(clock.monotonic() - begun < within, "in {within:?} it did not come to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
