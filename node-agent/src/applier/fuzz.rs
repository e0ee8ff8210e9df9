//! Ways for the fuzz targets into what the applier reads. Compiled with the
//! feature `fuzzing` only.

use std::path::Path;

use muster_common::clock::UnixMillis;

use super::{
    base::{Base, Options},
    bundle::{Bundle, is_item},
    journal::Journal,
    options,
    records::{Record, Records},
};
use crate::state::{Cause, ItemState};

/// When things are set aside.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// Checks payloads as a host would.
pub struct Judge(Base);

/// What a host says to a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It would be brought onto the host.
    Taken,
    /// This host does not want it.
    Unwanted,
    /// No host would take it.
    Malformed,
}

impl Judge {
    /// A host with these rules.
    ///
    /// # Panics
    /// If the folder cannot be used.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Base::open(options).expect("the folder of a fuzz target can be used"))
    }

    /// Of a bundle.
    #[must_use]
    pub fn bundle(&self, payload: &[u8]) -> Verdict {
        match Bundle::decode(payload).and_then(|bundle| bundle.check(&self.0).map(|()| bundle)) {
            Ok(bundle) => {
                let locks = self.0.locks.current();
                assert!(bundle.paths().all(|path| locks.root_of(path).is_some() && !self.0.protects(path)));
                Verdict::Taken
            }
            Err(failure) if failure.error.cause == Cause::Content => Verdict::Malformed,
            Err(_) => Verdict::Unwanted,
        }
    }
}

/// Of the item `settings`.
#[must_use]
pub fn settings(payload: &[u8]) -> bool {
    options::parse(payload).is_ok()
}

/// Reads what an earlier process left in a folder; whatever is there, it is no reason to stop.
///
/// # Panics
/// If it does stop.
pub fn read(folder: &Path) -> Vec<ItemState> {
    let records = Records::open(folder, NOW).expect("damage is set aside");
    let journal = Journal::load(folder, NOW).expect("damage is set aside");
    assert!(journal.is_none() || Journal::load(folder, NOW).expect("it is still there") == journal);
    for record in records.all() {
        drop(records.payload(record));
        if record.state.item == options::ITEM || is_item(&record.state.item) {
            written_again(record);
        }
    }
    records.sweep().expect("what nobody needs can be taken away");
    records.all().map(|record| record.state.clone()).collect()
}

fn written_again(record: &Record) {
    let json = serde_json::to_vec(record).expect("a record has a JSON form");
    let again: Record = serde_json::from_slice(&json).expect("what is written can be read");
    assert_eq!(&again, record);
}
