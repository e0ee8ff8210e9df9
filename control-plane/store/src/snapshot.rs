//! A copy of the whole store at one moment, made while others read and write.

use std::path::Path;

use crate::{error::Error, options::Options, sqlite::Sqlite};

/// Writes a copy of the store, as it is at one moment, into a new file. Writers go on
/// meanwhile; what they write is not in it.
///
/// # Errors
/// If there is a file already, there is no room for it, or the store fails. What was written
/// until then stays.
pub fn snapshot(options: &Options, to: &Path) -> Result<(), Error> {
    if !options.path.exists() {
        return Err(Error::Missing(options.path.clone()));
    }
    crate::store::new_file(to)?;
    Sqlite::source(&options.path, options.busy_timeout)?.copy_into(to)
}

/// Reads every page and every index of a store, and says what does not fit.
///
/// # Errors
/// `Corrupt`, with what was found, or if the store fails.
pub fn verify(options: &Options) -> Result<(), Error> {
    if !options.path.exists() {
        return Err(Error::Missing(options.path.clone()));
    }
    Sqlite::source(&options.path, options.busy_timeout)?.verify()
}
