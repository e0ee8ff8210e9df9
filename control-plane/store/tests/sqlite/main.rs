//! What only SQLite can show: its file, its disk, and the death of a process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod disk;
mod file;
mod kill;
mod output_limits;
mod profiles;
mod rows;

use muster_common::clock::UnixMillis;
use muster_domain::audit::{Note, Stamp};
use muster_store::{Error, Store, WriteTx};

fn stamp() -> Stamp {
    Stamp {
        actor: "operator/alice".into(),
        action: "tests.write".into(),
        at: UnixMillis(1_700_000_000_000),
        remote_address: String::new(),
        trace_id: String::new(),
    }
}

fn note(subject: impl Into<String>) -> Note {
    Note { subject: subject.into(), ..Note::default() }
}

/// A write with its audit entry; its revision.
fn write(
    store: &Store,
    f: impl Fn(&mut WriteTx<'_>) -> Result<(), Error> + Send + 'static,
) -> Result<u64, Error> {
    let audited = move |tx: &mut WriteTx<'_>| {
        f(tx)?;
        tx.audit(note("test"))
    };
    store.write_blocking(stamp(), audited).map(|committed| committed.revision)
}
