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
    /// An append failed in the middle: what follows must not be joined to it.
    torn: bool,
}

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
        let journal = Self { path: path.to_owned(), file, bytes, torn: false };
        if good < content.len() {
            journal.cut()?;
        }
        Ok((journal, lines))
    }

    pub(super) fn append(&mut self, line: &Line, durable: bool) -> io::Result<()> {
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

    pub(super) fn replace(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            lines::encode(line, &mut bytes)?;
        }
        files::write_atomically(&self.path, &bytes, 0o600)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.bytes = bytes.len() as u64;
        self.torn = false;
        Ok(())
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.sync_all()
    }
}
