//! A file that only grows, until it is replaced by a shorter one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{entry::Line, lines};
use crate::platform::files;

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// What it had after the last rewrite.
    base: u64,
    /// An append failed in the middle: what follows must not be joined to it.
    torn: bool,
    /// It was replaced, and nobody knows whether the old one would come back
    /// after a loss of power: nothing more may be promised before a rewrite.
    unsettled: bool,
    /// A test's full disk.
    pub(super) full: bool,
}

/// A journal longer than this, most of it no longer needed, is rewritten.
const COMPACT_BYTES: u64 = 256 * 1024;

impl Journal {
    /// The journal and its lines; a last line that was cut is taken off.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Line>)> {
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (lines, good) = lines::decode(&content)?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let bytes = good as u64;
        let journal =
            Self { path: path.to_owned(), file, bytes, base: 0, torn: false, unsettled: false, full: false };
        if good < content.len() {
            journal.cut()?;
        }
        // What a killed process wrote may be in memory only; from here on it counts as durable.
        journal.file.sync_all()?;
        Ok((journal, lines))
    }

    pub(super) fn append(&mut self, line: &Line, durable: bool) -> io::Result<()> {
        if self.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.unsettled {
            return Err(io::Error::other("it was replaced, and that is not known to be durable"));
        }
        if self.torn {
            self.cut()?;
            self.torn = false;
        }
        let mut bytes = Vec::new();
        lines::encode(line, &mut bytes)?;
        let written =
            self.file.write_all(&bytes).and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            Err(_) => self.torn = true,
        }
        written
    }

    /// Puts other lines in the place of all.
    pub(super) fn replace(&mut self, lines: &[Line]) -> io::Result<()> {
        self.replace_and(lines, files::sync_folder)
    }

    fn replace_and(
        &mut self,
        lines: &[Line],
        settle: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            lines::encode(line, &mut bytes)?;
        }
        let folder = self.path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let staged = self.path.with_extension("new");
        let file = stage(&staged, &bytes)
            .and_then(|file| std::fs::rename(&staged, &self.path).map(|()| file))
            .inspect_err(|_| {
                let _ = std::fs::remove_file(&staged);
            })?;
        // The name leads to this file from now on, whatever follows: the old one has no name any more.
        self.file = file;
        self.bytes = bytes.len() as u64;
        self.base = self.bytes;
        self.torn = false;
        self.unsettled = true;
        settle(folder)?;
        self.unsettled = false;
        Ok(())
    }

    /// Whether most of it is no longer needed, or it takes nothing more.
    pub(super) fn wants_rewrite(&self) -> bool {
        self.unsettled || self.bytes > COMPACT_BYTES.max(2 * self.base)
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.sync_all()
    }
}

/// A new file, written whole and flushed, open for more.
fn stage(path: &Path, bytes: &[u8]) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use muster_common::{
        clock::UnixMillis,
        ids::{CommandId, LedgerId},
    };

    use super::*;
    use crate::ledger::entry::Change;

    fn begun() -> Line {
        let change = Change::Begun {
            ledger: LedgerId::from_u128(1),
            watermark: UnixMillis(0),
            closed: vec![],
            shown: None,
        };
        Line { seq: 1, change }
    }

    fn closed(seq: u64) -> Line {
        Line { seq, change: Change::Closed { id: CommandId::from_u128(u128::from(seq)) } }
    }

    fn seqs(path: &Path) -> Vec<u64> {
        Journal::open(path).unwrap().1.iter().map(|line| line.seq).collect()
    }

    #[test]
    fn a_replaced_journal_that_may_come_back_takes_nothing_before_it_is_replaced_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&closed(5), true).unwrap();
        let failed = journal.replace_and(&[begun()], |_| Err(io::Error::other("on purpose")));
        assert!(failed.is_err() && journal.wants_rewrite());
        assert!(journal.append(&closed(6), true).is_err(), "it could be lost");
        assert_eq!(seqs(&path), [1]);
        journal.replace(&[begun()]).unwrap();
        journal.append(&closed(7), true).unwrap();
        assert_eq!(seqs(&path), [1, 7], "what is written goes where the name leads");
    }

    #[test]
    fn a_rewrite_that_cannot_be_staged_leaves_the_journal_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        std::fs::create_dir(folder.path().join("journal.new")).unwrap();
        assert!(journal.replace(&[begun()]).is_err());
        journal.append(&closed(2), true).unwrap();
        assert_eq!(seqs(&path), [2]);
    }

    #[test]
    fn a_journal_that_needs_its_length_is_not_rewritten_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&folder.path().join("journal")).unwrap();
        let ids = (0..10_000).map(|n| (CommandId::from_u128(n), UnixMillis(1))).collect();
        let (ledger, watermark) = (LedgerId::from_u128(1), UnixMillis(0));
        let change = Change::Begun { ledger, watermark, closed: ids, shown: None };
        journal.replace(&[Line { seq: 1, change }]).unwrap();
        assert!(journal.bytes() > COMPACT_BYTES && !journal.wants_rewrite());
    }
}
