//! Brings a database to the schema of this release; never back.

use crate::{
    engine::{Engine, params},
    error::Error,
};

/// Newest schema of this release.
pub(crate) fn known(engine: &dyn Engine) -> u64 {
    engine.dialect().migrations.len() as u64
}

/// The schema of a database; 0 if it has none.
///
/// # Errors
/// If the database fails.
pub(crate) fn version(engine: &mut dyn Engine) -> Result<u64, Error> {
    let mut version = 0;
    let mut has_schema = false;
    let question = engine.dialect().has_schema;
    engine.query(question, &[], &mut |_| {
        has_schema = true;
        Ok(())
    })?;
    if has_schema {
        engine.query("SELECT COALESCE(MAX(version), 0) FROM migrations", &[], &mut |mut row| {
            version = row.u64("schema version")?;
            Ok(())
        })?;
    }
    Ok(version)
}

/// Runs what is missing. Called inside a transaction that writes: of two
/// processes one waits, and then finds nothing to do.
///
/// # Errors
/// If the database is of a newer release, or fails.
pub(crate) fn run(engine: &mut dyn Engine) -> Result<(), Error> {
    let (found, known) = (version(engine)?, known(engine));
    if found > known {
        return Err(Error::NewerSchema { found, known });
    }
    for (number, (name, sql)) in
        (1u64..).zip(engine.dialect().migrations).filter(|(number, _)| *number > found)
    {
        engine.batch(sql)?;
        engine.execute("INSERT INTO migrations (version, name) VALUES ($1, $2)", params![number, *name])?;
        tracing::info!(number, name, "the database was brought to schema {number} ({name})");
    }
    Ok(())
}
