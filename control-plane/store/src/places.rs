//! Connections to either kind of database: those that are there, and new ones.

use std::{fs, io::ErrorKind, os::unix::fs::OpenOptionsExt as _, path::Path, sync::Arc};

use crate::{
    engine::{self, Begin, Engine},
    error::Error,
    migrate,
    options::{Options, Place},
    postgres::{Listener, Postgres, server::Server},
    sqlite::{Looker, Sqlite},
    watcher::Watch,
};

/// A connection that writes, to a database of ours.
///
/// # Errors
/// If there is none, it is none of ours, or fails.
pub(crate) fn existing(options: &Options) -> Result<Box<dyn Engine>, Error> {
    match &options.place {
        Place::File(path) => {
            if !path.exists() {
                return Err(Error::Missing(options.place.clone()));
            }
            let engine = Sqlite::writer(path, options.busy_timeout)?;
            if !engine.is_ours()? {
                return Err(Error::Foreign(options.place.clone()));
            }
            Ok(Box::new(engine))
        }
        Place::Server(server) => {
            let (engine, version) = connected(options, server)?;
            if version == 0 {
                return Err(Error::Missing(options.place.clone()));
            }
            Ok(Box::new(engine))
        }
    }
}

/// A new database of this release's schema, and what `fill` puts there; or nothing.
///
/// # Errors
/// If there is one already, or it cannot be made.
pub(crate) fn made(
    options: &Options,
    fill: impl FnOnce(&mut dyn Engine) -> Result<(), Error>,
) -> Result<Box<dyn Engine>, Error> {
    match &options.place {
        Place::File(path) => {
            new_file(path)?;
            let engine = Sqlite::writer(path, options.busy_timeout).and_then(|engine| filled(engine, fill));
            // Ours since a moment ago, and nothing is in it: the next attempt must not stumble over it.
            engine.inspect_err(|_| drop(fs::remove_file(path)))
        }
        Place::Server(server) => {
            let (engine, version) = connected(options, server)?;
            if version > 0 { Err(Error::Exists(options.place.clone())) } else { filled(engine, fill) }
        }
    }
}

fn filled(
    mut engine: impl Engine + 'static,
    fill: impl FnOnce(&mut dyn Engine) -> Result<(), Error>,
) -> Result<Box<dyn Engine>, Error> {
    engine::transaction(&mut engine, Begin::Schema, |engine| {
        migrate::run(engine)?;
        fill(engine)
    })?;
    Ok(Box::new(engine))
}

/// A connection to a server, and the schema of its database.
fn connected(options: &Options, server: &Server) -> Result<(Postgres, u64), Error> {
    let mut engine = Postgres::new(options, server)?;
    let version = migrate::version(&mut engine).map_err(|error| match error {
        Error::Unreachable(source) => Error::Open { place: options.place.clone(), source },
        error => error,
    })?;
    Ok((engine, version))
}

/// A connection that only reads.
///
/// # Errors
/// If the database fails.
pub(crate) fn reader(options: &Options) -> Result<Box<dyn Engine>, Error> {
    Ok(match &options.place {
        Place::File(path) => Box::new(Sqlite::reader(path, options.busy_timeout)?),
        Place::Server(server) => Box::new(Postgres::new(options, server)?),
    })
}

/// What hears of commits.
///
/// # Errors
/// If the database fails.
pub(crate) fn watch(options: &Options) -> Result<Box<dyn Watch>, Error> {
    Ok(match &options.place {
        Place::File(path) => Box::new(Looker::new(Sqlite::reader(path, options.busy_timeout)?, path)?),
        Place::Server(server) => Box::new(Listener::new(options, server)?),
    })
}

/// Who may read the database may read every bundle: nobody else may.
pub(crate) fn new_file(path: &Path) -> Result<(), Error> {
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| {
        let place = Place::File(path.to_owned());
        if error.kind() == ErrorKind::AlreadyExists {
            Error::Exists(place)
        } else {
            Error::Open { place, source: Arc::new(error) }
        }
    })
}
