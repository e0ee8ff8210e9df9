//! How often an attempt was cut off: by a crash, a restart, a loss of power. A
//! hook that ends the agent or the host would otherwise be run for ever.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{platform::files, state::ItemVersion};

/// So often an attempt may be cut off before it is given up.
pub(super) const LIMIT: u32 = 3;

/// The counts, in memory and on disk.
#[derive(Debug)]
pub(super) struct CutOffs {
    path: PathBuf,
    counts: BTreeMap<String, Count>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    version: ItemVersion,
    count: u32,
}

impl CutOffs {
    /// Counts that cannot be read begin anew.
    pub(super) fn open(folder: &Path) -> Self {
        let path = folder.join("cut-offs.json");
        let counts = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        Self { path, counts: counts.unwrap_or_default() }
    }

    /// One more; says how many it were of this version.
    pub(super) fn count(&mut self, item: &str, version: &ItemVersion) -> u32 {
        let before = self.counts.get(item).filter(|count| count.version == *version);
        let count = before.map_or(0, |count| count.count).saturating_add(1);
        self.counts.insert(item.to_owned(), Count { version: version.clone(), count });
        if let Err(error) = self.save() {
            tracing::warn!(item, %error, "could not write down that a change of {item} was cut off");
        }
        count
    }

    /// It is known what became of the item.
    pub(super) fn forget(&mut self, item: &str) {
        if self.counts.remove(item).is_some()
            && let Err(error) = self.save()
        {
            tracing::warn!(item, %error, "could not forget that a change of {item} was cut off");
        }
    }

    fn save(&self) -> io::Result<()> {
        files::write_atomically(&self.path, &serde_json::to_vec_pretty(&self.counts)?, 0o600)
    }
}
