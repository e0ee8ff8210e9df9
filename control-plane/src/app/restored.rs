//! After the store was restored from a backup: what happened since the backup was made is
//! known to hosts alone. Nothing of that is undone, and nothing done again, unless a person
//! says so ([decision 20](../../../docs/adr/0020-restoring-from-a-backup.md)).

mod certificates;
mod nodes;
mod store;

pub(super) use nodes::{after_release, is_known};
pub use store::{Plan, Restored, begin};
