//! Brings a database to the schema of this release; never back.

use crate::{
    engine::{self, Begin, Engine, params},
    error::Error,
    options::Options,
    places,
    store::on_a_thread,
};

/// Brings a database to the schema of this release, and does nothing else; which
/// schema it had, and which it has.
///
/// # Errors
/// If there is none, it is of a newer release or none of ours, or fails.
pub fn migrate(options: &Options) -> Result<(u64, u64), Error> {
    on_a_thread(|| {
        let mut engine = places::existing(options)?;
        engine::transaction(&mut *engine, Begin::Schema, |engine| {
            let before = version(engine)?;
            run(engine)?;
            Ok((before, known(engine)))
        })
    })
}

/// Newest schema of this release.
pub(crate) fn known(engine: &dyn Engine) -> u64 {
    engine.dialect().migrations.last().map_or(0, |newest| newest.number)
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
    for step in engine.dialect().migrations.iter().filter(|step| step.number > found) {
        let (number, name) = (step.number, step.name);
        engine.batch(step.sql)?;
        engine.execute("INSERT INTO migrations (version, name) VALUES ($1, $2)", params![number, name])?;
        tracing::info!(number, name, "the database was brought to schema {number} ({name})");
    }
    Ok(())
}
