//! Writing a backup.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use muster_common::clock::UnixMillis;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::{ABOUT, About, SUMS};

/// A backup that is being written.
pub struct Writer<W: Write> {
    tar: Builder<W>,
    at: UnixMillis,
    sums: String,
    bytes: u64,
}

/// Reads exactly so many bytes, and hashes them.
struct Hashed<R> {
    from: R,
    left: u64,
    hash: Sha256,
}

impl<W: Write> Writer<W> {
    /// Begins with what it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(to: W, about: &About) -> io::Result<Self> {
        let mut writer = Self { tar: Builder::new(to), at: about.taken_at, sums: String::new(), bytes: 0 };
        let json = serde_json::to_vec_pretty(about)?;
        writer.bytes(ABOUT, &json)?;
        Ok(writer)
    }

    /// Adds a file under this name.
    ///
    /// # Errors
    /// If it cannot be read or written, or became shorter meanwhile. What a file got
    /// meanwhile is not in the backup.
    pub fn file(&mut self, name: &Path, file: &Path) -> io::Result<()> {
        let file = File::open(file)?;
        let about = file.metadata()?;
        self.add(name, about.len(), about.permissions().mode(), file)
    }

    /// Adds these bytes under this name.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.add(Path::new(name), bytes.len() as u64, 0o600, bytes)
    }

    /// How many bytes of files are in it.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.bytes
    }

    /// Writes its end.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        let sums = std::mem::take(&mut self.sums);
        self.bytes(SUMS, sums.as_bytes())?;
        self.tar.into_inner()
    }

    fn add(&mut self, name: &Path, len: u64, mode: u32, from: impl Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(len);
        header.set_mode(mode & 0o777);
        header.set_mtime(u64::try_from(self.at.0).unwrap_or(0) / 1000);
        let mut hashed = Hashed { from, left: len, hash: Sha256::new() };
        self.tar.append_data(&mut header, name, &mut hashed)?;
        self.bytes += len;
        let sum = hex::encode(hashed.hash.finalize());
        self.sums.push_str(&format!("{sum}  {}\n", name.display()));
        Ok(())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let got = self.from.read(&mut into[..most])?;
        if got == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        self.left -= got as u64;
        self.hash.update(&into[..got]);
        Ok(got)
    }
}
