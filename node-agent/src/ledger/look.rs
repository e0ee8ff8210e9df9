//! What is in a ledger, for somebody who only looks while its agent may be writing.

use std::{collections::BTreeMap, io, path::Path};

use super::{Entry, entry::Line, lines, replay::apply};
use crate::platform::files;

/// Commands whose end is not acknowledged, by id.
///
/// # Errors
/// If it cannot be read. None at all is none open.
pub fn look(folder: &Path) -> io::Result<Vec<Entry>> {
    let journal = match files::read_plain(&folder.join("journal")) {
        Ok(journal) => journal,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (lines, _) = lines::decode::<Line>(&journal)?;
    let mut open = BTreeMap::new();
    for line in lines {
        apply(&mut open, line.change);
    }
    Ok(open.into_values().collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use muster_common::clock::{Clock, UnixMillis};

    use super::*;
    use crate::{
        ledger::{Ledger, tests::ticket},
        state::{CommandState, Report},
    };

    #[test]
    fn who_looks_sees_what_is_open_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(look(folder.path()).unwrap().is_empty());
        let mut ledger = Ledger::open(folder.path(), Clock::test(UnixMillis(1_000))).unwrap();
        for n in 1..=3 {
            ledger.take(&ticket(n, 9_000)).unwrap();
        }
        ledger.started(ticket(2, 0).id).unwrap();
        ledger.ended(ticket(3, 0).id, Report::new(0, CommandState::Denied, UnixMillis(5))).unwrap();
        ledger.acked(ticket(3, 0).id, 1).unwrap();
        let before = fs::read(folder.path().join("journal")).unwrap();
        let open: Vec<_> = look(folder.path()).unwrap().iter().map(Entry::state).collect();
        assert_eq!(open, [CommandState::Delivered, CommandState::Running]);
        assert_eq!(fs::read(folder.path().join("journal")).unwrap(), before);
    }
}
