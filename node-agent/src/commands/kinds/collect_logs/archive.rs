//! A tar archive in gzip, written to a file, with the digest of its bytes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use muster_common::{
    digest::{Hashing, Sha256},
    tasks,
};

use super::tail::Text;

/// An archive that is not whole.
pub(in crate::commands) struct Archive(Option<Box<tar::Builder<GzEncoder<Counted>>>>);

/// One that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct Made {
    pub(in crate::commands) sha256: Sha256,
    pub(in crate::commands) size_bytes: u64,
}

/// A file that knows its digest.
struct Counted {
    file: File,
    digest: Hashing,
    size_bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Archive {
    pub(in crate::commands) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let counted = Counted { file, digest: Hashing::default(), size_bytes: 0 };
        Ok(Self(Some(Box::new(tar::Builder::new(GzEncoder::new(counted, Compression::default()))))))
    }

    /// Adds a file; `at`: its time, in seconds.
    pub(in crate::commands) async fn add(&mut self, name: String, text: Text, at: i64) -> io::Result<()> {
        let mut builder = self.0.take().ok_or_else(broken)?;
        let builder = tasks::blocking(move || {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len());
            header.set_mode(0o600);
            header.set_mtime(u64::try_from(at).unwrap_or(0));
            builder.append_data(&mut header, name, text.bytes())?;
            Ok::<_, io::Error>(builder)
        });
        self.0 = Some(builder.await?);
        Ok(())
    }

    pub(in crate::commands) async fn finish(self) -> io::Result<Made> {
        let builder = self.0.ok_or_else(broken)?;
        tasks::blocking(move || {
            let counted = builder.into_inner()?.finish()?;
            Ok(Made { sha256: counted.digest.digest(), size_bytes: counted.size_bytes })
        })
        .await
    }
}

/// What once could not be written is no archive.
fn broken() -> io::Error {
    io::Error::other("the archive broke before")
}
