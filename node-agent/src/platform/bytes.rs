//! Where the bytes of a file come from. They go from one file to another piece by
//! piece: however large a file is, little of it is in memory.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::PathBuf,
};

use muster_common::digest::{Hashing, Sha256};

/// So much is in memory at a time.
const PIECE: usize = 64 * 1024;

/// The bytes of a file that is to be written.
#[derive(Clone, PartialEq, Eq)]
pub enum Bytes {
    /// They stand in the bundle.
    Inline(Vec<u8>),
    /// They are kept in a file of the agent's own.
    Kept(PathBuf, Sha256),
    /// They were fetched into the cache. Where they are not what they were, they go: they
    /// are fetched again.
    Fetched(PathBuf, Sha256),
}

impl fmt::Debug for Bytes {
    /// Without the bytes themselves, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bytes").field(&self.sha256()).finish()
    }
}

impl Bytes {
    /// What they must be.
    pub fn sha256(&self) -> Sha256 {
        match self {
            Self::Inline(bytes) => Sha256::of(bytes),
            Self::Kept(_, sha256) | Self::Fetched(_, sha256) => *sha256,
        }
    }

    /// Writes them, and sees to it that they are what they must be.
    pub fn write_to(&self, file: &mut File) -> io::Result<()> {
        match self {
            Self::Inline(bytes) => file.write_all(bytes),
            Self::Kept(path, sha256) | Self::Fetched(path, sha256) => {
                if copy(File::open(path)?, file)? == *sha256 {
                    return Ok(());
                }
                if let Self::Fetched(..) = self {
                    let _ = fs::remove_file(path); // if it cannot go, the next try says the same
                }
                let message = format!("what is kept as {sha256} was changed");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }
}

/// Copies all there is, and says what it was.
pub fn copy(mut from: impl Read, to: &mut impl Write) -> io::Result<Sha256> {
    let (mut hashing, mut piece) = (Hashing::default(), vec![0; PIECE]);
    loop {
        let read = next(&mut from, &mut piece)?;
        if read == 0 {
            return Ok(hashing.digest());
        }
        hashing.update(&piece[..read]);
        to.write_all(&piece[..read])?;
    }
}

/// The digest of all there is.
pub fn digest(from: impl Read) -> io::Result<Sha256> {
    copy(from, &mut io::sink())
}

/// Goes on with a digest; says how many bytes there are.
pub fn hash(mut from: impl Read, hashing: &mut Hashing) -> io::Result<u64> {
    let (mut piece, mut read) = (vec![0; PIECE], 0);
    loop {
        let more = next(&mut from, &mut piece)?;
        if more == 0 {
            return Ok(read);
        }
        hashing.update(&piece[..more]);
        read += more as u64;
    }
}

fn next(from: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
