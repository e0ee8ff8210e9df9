//! The root metadata that the host's administrator pinned.

use std::{io::Read as _, os::unix::fs::MetadataExt as _, path::Path};

use muster_common::tuf::MOST_ROOT;

use super::Error;
use crate::platform::{accounts, files};

/// Reads it, if nobody but root and this user can write it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unusable = |why: String| Error::NoRoot { path: path.to_owned(), why };
    let failed = |error: std::io::Error| unusable(error.to_string());
    // Links may lead there: who can make them in that folder can write the file, too.
    let path_there = path.canonicalize().map_err(failed)?;
    let file = files::open_plain(&path_there).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.uid() != 0 && found.uid() != accounts::me().0 {
        return Err(unusable(format!("it belongs to user {}, and must be root's", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(unusable("others than its owner may write it".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MOST_ROOT + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
