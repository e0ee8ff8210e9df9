//! Makes what is told about items fit into messages. Pure. A message that is too
//! large ends the session, and the next one would begin with the same message.

use crate::state::{Drift, ItemState, ItemVersion};

/// Room for items and commands in Hello, which may have 256 KiB. The rest is for
/// what else is in it.
pub(super) const HELLO: usize = 200 * 1024;

/// What an open command takes in Hello, at most.
pub(super) const COMMAND: usize = 64;

/// What the fields of a message take besides their text.
const FIELDS: usize = 32;

/// Takes away what is dearest and says least until all fits: how files differ, then
/// what hooks wrote, then messages, then drift itself. It is told in a later report.
pub(super) fn trim(items: &mut [ItemState], room: usize) {
    let mut total: usize = items.iter().map(weight).sum();
    for drift in items.iter_mut().flat_map(|state| &mut state.drift) {
        if total <= room {
            return;
        }
        total -= drift.diff.len();
        drift.diff.clear();
    }
    for state in items.iter_mut() {
        if total <= room {
            return;
        }
        if let Some(error) = &mut state.error {
            total -= error.output.len();
            error.output.clear();
        }
    }
    for state in items.iter_mut() {
        if total <= room {
            return;
        }
        if let Some(error) = &mut state.error {
            total -= error.message.len();
            error.message.clear();
        }
    }
    for state in items {
        if total <= room {
            return;
        }
        total -= state.drift.iter().map(drift_weight).sum::<usize>();
        state.drift.clear();
    }
}

/// Parts that fit into messages of this size; at least one.
pub(super) fn split(items: Vec<ItemState>, room: usize) -> Vec<Vec<ItemState>> {
    let mut parts = vec![Vec::new()];
    let mut left = room;
    for state in items {
        let weight = weight(&state);
        if let Some(last) = parts.last_mut()
            && (last.is_empty() || weight <= left)
        {
            last.push(state);
        } else {
            parts.push(vec![state]);
            left = room;
        }
        left = left.saturating_sub(weight);
    }
    parts
}

/// What an item takes in a message, at most.
fn weight(state: &ItemState) -> usize {
    let version = |version: &ItemVersion| version.version.len() + 32 + 2 * FIELDS;
    let error = state.error.as_ref().map_or(0, |error| error.message.len() + error.output.len() + FIELDS);
    let versions = state.running.iter().chain(&state.attempted).map(version).sum::<usize>();
    let drift = state.drift.iter().map(drift_weight).sum::<usize>();
    state.item.len() + versions + error + drift + FIELDS
}

fn drift_weight(drift: &Drift) -> usize {
    let texts = drift.path.len() + drift.what.len() + drift.diff.len() + drift.error.len();
    texts + 2 * 32 + 2 * FIELDS
}

#[cfg(test)]
mod tests {
    use muster_common::{clock::UnixMillis, digest::Sha256, generation::Generation, reason::Reason};
    use prost::Message as _;

    use super::*;
    use crate::{
        session::{
            frames::{ItemReport, Outbound},
            wire,
        },
        state::{Cause, ItemError, Outcome},
    };

    fn failed(n: usize) -> ItemState {
        let version = ItemVersion {
            generation: Generation::new(u64::MAX, u64::MAX),
            version: "v".repeat(64),
            sha256: Sha256::of(b"x"),
        };
        let error = ItemError {
            reason: Reason::ProbeFailed,
            cause: Cause::ControlPlane,
            message: "m".repeat(1024),
            output: vec![7; 4096],
        };
        ItemState {
            item: format!("bundle/{n:0>60}"),
            running: Some(version.clone()),
            attempted: Some(version),
            outcome: Outcome::RolledBack,
            error: Some(error),
            changed_at: UnixMillis(i64::MAX),
            drift: Vec::new(),
            progress: None,
            health: None,
        }
    }

    fn drifted(n: usize) -> ItemState {
        let drift = Drift {
            path: "/p".repeat(2000),
            what: "w".repeat(512),
            before: Some(Sha256::of(b"x")),
            after: Some(Sha256::of(b"y")),
            diff: "d".repeat(4096),
            noticed_at: UnixMillis(i64::MAX),
            corrected: true,
            error: "e".repeat(1024),
        };
        ItemState { drift: vec![drift; 8], ..failed(n) }
    }

    fn encoded(items: Vec<ItemState>) -> usize {
        let report = ItemReport { nonce: String::new(), seq: 1, items, complete: true, stories: Vec::new() };
        wire::outbound(Outbound::Items(report)).encoded_len()
    }

    #[test]
    fn an_item_is_never_heavier_than_it_was_weighed() {
        assert!(encoded(vec![failed(1); 50]) <= 50 * weight(&failed(1)));
        assert!(encoded(vec![drifted(1); 2]) <= 2 * weight(&drifted(1)));
        let bare = ItemState { error: None, running: None, attempted: None, ..failed(1) };
        assert!(encoded(vec![bare.clone(); 50]) <= 50 * weight(&bare));
    }

    #[test]
    fn only_as_much_is_taken_away_as_does_not_fit_and_output_first() {
        let mut items: Vec<ItemState> = (0..100).map(failed).collect();
        trim(&mut items, HELLO);
        assert!(encoded(items.clone()) <= HELLO);
        assert!(items.iter().all(|state| state.error.as_ref().is_some_and(|e| !e.message.is_empty())));
        assert!(items.iter().any(|state| state.error.as_ref().is_some_and(|e| !e.output.is_empty())));
        let mut drifting: Vec<ItemState> = (0..256).map(drifted).collect();
        trim(&mut drifting, HELLO);
        assert!(encoded(drifting) <= HELLO);
        let mut few: Vec<ItemState> = (0..3).map(drifted).collect();
        trim(&mut few, HELLO);
        assert!(few.iter().all(|state| state.drift.len() == 8 && state.error == failed(1).error));
        let mut many: Vec<ItemState> = (0..300).map(failed).collect();
        trim(&mut many, HELLO);
        assert!(encoded(many) <= HELLO);
    }

    #[test]
    fn parts_hold_everything_once_and_fit() {
        let items: Vec<ItemState> = (0..40).map(failed).collect();
        let parts = split(items.clone(), 48 * 1024);
        assert!(parts.len() > 1 && parts.iter().all(|part| encoded(part.clone()) <= 48 * 1024));
        assert_eq!(parts.concat(), items);
        assert_eq!(split(Vec::new(), 1), [Vec::new()]);
    }
}
