//! Whether this process is fit to be asked: one whose memory does not follow the store says so,
//! and goes on with the sessions that it has.

use std::time::Duration;

use muster_common::drain::Drain;

use crate::{
    app::{App, replicas::BLIND_AFTER},
    console::Ready,
    server::health,
};

/// What is missing, for `/readyz`.
const STORE: &str = "the store";
/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// Looks until the end begins.
pub(super) async fn watch(app: App, ready: Ready, health: health::Reporter, drain: Drain) {
    let mut is_fit = true;
    loop {
        tokio::select! {
            () = drain.begun() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let behind = app.behind_for();
        if (behind <= BLIND_AFTER) == is_fit {
            continue;
        }
        is_fit = !is_fit;
        if is_fit {
            tracing::info!("what is known here follows the store again");
            ready.has(STORE);
        } else {
            let seconds = behind.as_secs();
            tracing::warn!(seconds, "what is known here is {seconds} s behind the store; sessions go on");
            ready.waits_for(STORE);
        }
        health::report(&health, is_fit).await;
    }
}
