//! What the task alone knows, written down for whoever looks without it: when it tries
//! something again, and what it tells that no record has.

use std::{collections::BTreeMap, io, path::Path};

use muster_common::clock::{Instant, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{Applier, retries::Retries};
use crate::{platform::files, state::ItemState};

/// As it was last written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Waits {
    /// When each item is tried again, by the host's clock.
    pub(super) retries: BTreeMap<String, UnixMillis>,
    /// Items that were not tried.
    pub(super) told: Vec<ItemState>,
}

/// What was written, so that only news are.
#[derive(Debug, Default)]
pub(super) struct Written(Option<(BTreeMap<String, Instant>, Vec<ItemState>)>);

impl Written {
    /// Writes what is news. A disk that does not take it is no reason to stop.
    pub(super) async fn keep_up(&mut self, applier: &Applier, retries: &Retries) {
        let now = (retries.times(), applier.told.values().cloned().collect::<Vec<_>>());
        if self.0.as_ref() == Some(&now) {
            return;
        }
        let clock = &applier.base.clock;
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        let at = |due: &Instant| wall + due.saturating_duration_since(monotonic);
        let times = now.0.iter().map(|(item, due)| (item.clone(), at(due))).collect();
        let waits = Waits { retries: times, told: now.1.clone() };
        let folder = applier.base.folder.clone();
        match applier.base.blocking(move || waits.save(&folder)).await {
            Ok(()) => self.0 = Some(now),
            Err(error) => tracing::debug!(%error, "could not write down what waits"),
        }
    }
}

impl Waits {
    /// What was written last. Nothing of it is needed to go on.
    pub(super) fn read(folder: &Path) -> Self {
        let json = files::read_plain(&folder.join(NAME)).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    fn save(&self, folder: &Path) -> io::Result<()> {
        files::write_atomically(&folder.join(NAME), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}

const NAME: &str = "waits.json";
