//! A copy of the whole store at one moment, made while others read and write.

use std::path::Path;

use crate::{
    error::Error,
    options::{Options, Place},
    places::new_file,
    sqlite::Sqlite,
};

/// Writes a copy of the store, as it is at one moment, into a new file. Writers go on
/// meanwhile; what they write is not in it.
///
/// # Errors
/// `Foreign` if the store is no file of ours, if there is a file to write already, there is no
/// room for it, or the store fails. What was written until then stays.
pub fn snapshot(options: &Options, to: &Path) -> Result<(), Error> {
    let Place::File(path) = &options.place else { return Err(Error::Foreign(options.place.clone())) };
    if !path.exists() {
        return Err(Error::Missing(options.place.clone()));
    }
    let engine = Sqlite::source(path, options.busy_timeout)?;
    if !engine.is_ours()? {
        return Err(Error::Foreign(options.place.clone()));
    }
    new_file(to)?;
    engine.copy_into(to)
}
