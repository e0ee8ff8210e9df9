//! What a version said that failed: kept on the host whole as far as there is room, and told
//! in its last part.

use std::path::Path;

use muster_common::clock::UnixMillis;

use super::{SERVICE, record::Folder};
use crate::{
    platform::{files, journal},
    redaction,
};

/// Kept on the host.
const KEPT: usize = 256 * 1024;
/// Told.
const TOLD: usize = 4 * 1024;
/// For the journal to be read.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// Reads what the agent's service has said since; keeps it, and gives the last of it.
pub(super) async fn gather(folder: &Folder, since: UnixMillis) -> String {
    let mut log = Vec::new();
    let take = |piece: &[u8]| {
        log.extend_from_slice(piece);
        if log.len() > 2 * KEPT {
            log.drain(..log.len() - KEPT);
        }
    };
    let _ = journal::read(SERVICE, since, take, tokio::time::sleep(LIMIT)).await;
    let log = redaction::redact(&String::from_utf8_lossy(&log));
    let log = last(&log, KEPT);
    keep(&folder.log(), log);
    last(log, TOLD).to_owned()
}

fn keep(path: &Path, log: &str) {
    if let Err(error) = files::write_atomically(path, log.as_bytes(), 0o600) {
        tracing::warn!(%error, "what the failed version said cannot be kept: {error}");
    }
}

/// The last part of a text, from the begin of a line on where there is one.
fn last(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    if from == 0 {
        return text;
    }
    let at = text.char_indices().map(|(at, _)| at).find(|at| *at >= from).unwrap_or(text.len());
    text[at..].split_once('\n').map_or(&text[at..], |(_, whole)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_told() {
        assert_eq!(last("one\ntwo\nthree\n", 100), "one\ntwo\nthree\n");
        assert_eq!(last("one\ntwo\nthree\n", 8), "three\n");
        assert_eq!(last("äöü", 3), "ü");
    }
}
