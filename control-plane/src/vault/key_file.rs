//! The file of keys: one in each line, its name and 32 bytes in base64, the newest first.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use muster_common::digest::Sha256;
use zeroize::Zeroizing;

use super::Vault;

const KEY_BYTES: usize = 32;
const HEADING: &str = "\
# Keys of the protected contents in the store: NAME KEY. The first one encrypts.
# Keep a copy apart from copies of the store: without it those contents are lost.
";

/// A key and its name.
pub(super) type Named = (String, Zeroizing<Vec<u8>>);

/// Where the keys are.
#[derive(Debug, Clone)]
pub struct KeyFile(PathBuf);

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// From the file system.
    #[error("cannot use the file of keys {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("line {line} of the file of keys {} is no NAME and key of 32 bytes in base64", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Others may read it.
    #[error("the file of keys {} may be read by others: its mode must be 0600", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// It holds no key.
    #[error("the file of keys {} holds no key", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no randomness, or does not take its own keys.
    #[error("no key can be made")]
    Make,
}

impl KeyFile {
    /// At this path.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// If that cannot be known.
    pub fn exists(&self) -> Result<bool, Error> {
        match fs::symlink_metadata(&self.0) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::File { path: self.0.clone(), source }),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The keys; one is made if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read or written, or holds something else.
    pub fn open_or_create(&self) -> Result<Vault, Error> {
        if !self.exists()? {
            self.add()?;
        }
        self.open()
    }

    /// The keys.
    ///
    /// # Errors
    /// If the file cannot be read, or holds something else.
    pub fn open(&self) -> Result<Vault, Error> {
        let keys = self.read()?;
        if keys.is_empty() {
            return Err(Error::Empty { path: self.0.clone() });
        }
        Vault::new(keys).ok_or(Error::Make)
    }

    /// Adds a key, which encrypts from now on. Answers its name.
    ///
    /// # Errors
    /// As [`KeyFile::open_or_create`].
    pub fn add(&self) -> Result<String, Error> {
        let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
        aws_lc_rs::rand::fill(&mut key).map_err(|_| Error::Make)?;
        let id = Sha256::of(&key).to_string()[..16].to_owned();
        let mut text = Zeroizing::new(HEADING.to_owned());
        let before = if self.exists()? { self.read()? } else { Vec::new() };
        for (id, key) in std::iter::once((id.clone(), key)).chain(before) {
            let encoded = Zeroizing::new(BASE64.encode(&key));
            text.push_str(&id);
            text.push(' ');
            text.push_str(&encoded);
            text.push('\n');
        }
        self.write(&text).map_err(|source| Error::File { path: self.0.clone(), source })?;
        Ok(id)
    }

    fn read(&self) -> Result<Vec<Named>, Error> {
        let failed = |source| Error::File { path: self.0.clone(), source };
        if fs::metadata(&self.0).map_err(failed)?.mode() & 0o077 != 0 {
            return Err(Error::Open { path: self.0.clone() });
        }
        let text = Zeroizing::new(fs::read_to_string(&self.0).map_err(failed)?);
        let lines =
            (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines
            .map(|(line, text)| parse(text).ok_or_else(|| Error::Line { path: self.0.clone(), line }))
            .collect()
    }

    /// Where a link leads, the file is written; to its owner it stays, whoever writes.
    fn write(&self, text: &str) -> io::Result<()> {
        let before = fs::metadata(&self.0).ok();
        let place = if before.is_some() { self.0.canonicalize()? } else { self.0.clone() };
        let staged = place.with_extension("new");
        let _ = fs::remove_file(&staged); // of somebody who died here
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
        if let Some(before) = before {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, &place)?;
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn parse(line: &str) -> Option<Named> {
    let (id, key) = line.trim().split_once(' ')?;
    let key = Zeroizing::new(BASE64.decode(key.trim()).ok()?);
    let is_name = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_graphic());
    (is_name && key.len() == KEY_BYTES).then(|| (id.to_owned(), key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use muster_common::ids::SecretId;

    use super::*;

    #[test]
    fn a_file_is_made_once_for_its_owner_alone_and_grows_by_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(&folder.path().join("secrets.key"));
        let first = file.open_or_create().unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        let secret = first.encrypt(SecretId::from_u128(1), b"hunter2").unwrap();
        assert_eq!(file.open_or_create().unwrap().active(), first.active());
        let link = KeyFile::at(&folder.path().join("link"));
        std::os::unix::fs::symlink(file.path(), link.path()).unwrap();
        std::os::unix::fs::chown(file.path(), Some(4711), Some(4711)).unwrap();
        let added = link.add().unwrap();
        assert!(fs::symlink_metadata(link.path()).unwrap().is_symlink());
        let metadata = fs::metadata(file.path()).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.mode() & 0o777),
            (4711, 0o600),
            "its owner can go on reading it"
        );
        let both = file.open_or_create().unwrap();
        assert_eq!(both.key_ids().collect::<Vec<_>>(), [added.as_str(), first.active()]);
        assert_eq!(both.decrypt(&secret).unwrap().as_slice(), b"hunter2");
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(&folder.path().join("secrets.key"));
        file.add().unwrap();
        let key = fs::read_to_string(file.path()).unwrap();
        for (text, word) in
            [("", "no key"), ("# nothing\n", "no key"), ("a b\n", "line 1"), ("\nkey\n", "line 2")]
        {
            fs::write(file.path(), text).unwrap();
            let refused = file.open_or_create().unwrap_err().to_string();
            assert!(refused.contains(word), "{text:?}: {refused}");
        }
        fs::write(file.path(), key).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(file.open_or_create(), Err(Error::Open { .. })));
        assert!(matches!(file.add(), Err(Error::Open { .. })));
    }
}
