//! The status file of a node: how its session stands.

use std::time::Duration;

use muster_common::{clock, ids::NodeId};
use tokio::sync::watch;

use super::{House, proxies};
use crate::{session::Status, state_dir};

/// Between notes that a session is still open.
const STILL_OPEN: Duration = Duration::from_secs(60);

/// Until a status that could not be written is tried again: a full disk may have room by then,
/// and who watches over an upgrade waits for this word.
const UNWRITTEN: Duration = Duration::from_secs(5);

/// Keeps the status file true. Ends with the session's worker.
pub(super) async fn tell_status(
    house: &House,
    node: NodeId,
    mut status: watch::Receiver<Status>,
    mut ways: proxies::Ways,
) {
    house.tell("connecting", "").await; // what stands there is of another worker
    loop {
        let now = status.borrow_and_update().clone();
        if let Status::Connected { session, .. } = &now {
            tracing::info!(%node, %session, "session {session} is open");
        }
        let told = told(&now);
        loop {
            let mut again = STILL_OPEN;
            if let Some(told) = &told {
                let (node, proxies) = (Some(node), ways.told());
                let whole = state_dir::Status { node, proxies, ..told.clone() };
                if !house.tell_whole(whole).await {
                    again = UNWRITTEN;
                }
            }
            tokio::select! {
                changed = status.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return std::future::pending().await, // the worker's end tells why
                },
                () = ways.changed() => {}
                // Once a minute, so that it is known when an agent that dies was last in contact.
                () = clock::step(again) => {}
            }
        }
    }
}

/// As it stands in the status file. `None`: nothing new.
fn told(status: &Status) -> Option<state_dir::Status> {
    let none = state_dir::Status::default();
    match status {
        Status::Connecting => None,
        Status::Connected { since, .. } => {
            Some(state_dir::Status { session: state_dir::CONNECTED.to_owned(), since: since.0, ..none })
        }
        Status::Waiting { since, until, error } => Some(state_dir::Status {
            session: "waiting".to_owned(),
            since: since.0,
            error: error.clone(),
            next_try: Some(*until),
            ..none
        }),
    }
}
