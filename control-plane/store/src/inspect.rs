//! What a database is and whether it is whole, without a change to it.

use crate::{
    engine::{self, Begin, Engine},
    error::Error,
    migrate,
    options::{Options, Place},
    places,
    store::on_a_thread,
    tables::TABLES,
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Schema of the database.
    pub schema: u64,
    /// Schema of this release; with another one nothing more was looked at.
    pub known: u64,
    /// Epoch, trust domain and newest revision.
    pub history: Option<(String, String, u64)>,
    /// Rows of each table.
    pub rows: Vec<(&'static str, u64)>,
    /// What is wrong, each as a sentence.
    pub problems: Vec<String>,
    /// What could cost writes that were answered.
    pub warnings: Vec<String>,
}

/// Looks at a database.
///
/// # Errors
/// If there is none, it is none of ours, or it fails.
pub fn inspect(options: &Options) -> Result<Inspection, Error> {
    on_a_thread(|| {
        let mut engine = places::existing(options)?;
        engine::transaction(&mut *engine, Begin::Read, |engine| look(engine, &options.place))
    })
}

fn look(engine: &mut dyn Engine, place: &Place) -> Result<Inspection, Error> {
    let mut found = Inspection {
        schema: migrate::version(engine)?,
        known: migrate::known(engine),
        history: None,
        rows: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    if found.schema != found.known {
        return Ok(found);
    }
    let sql = "SELECT epoch.value, domain.value, feed.revision FROM meta AS epoch, meta AS domain, feed \
               WHERE epoch.name = 'epoch' AND domain.name = 'trust-domain'";
    engine.query(sql, &[], &mut |mut row| {
        found.history = Some((row.text("epoch")?, row.text("trust domain")?, row.u64("revision")?));
        Ok(())
    })?;
    if found.history.is_none() {
        found.problems.push(
            "it does not say which history it has: the row of the feed or of meta is missing".to_owned(),
        );
    }
    for table in TABLES {
        engine.query(&format!("SELECT COUNT(*) FROM {table}"), &[], &mut |mut row| {
            found.rows.push((table, row.u64("count")?));
            Ok(())
        })?;
    }
    found.problems.extend(problems(engine)?);
    match place {
        Place::File(_) => found.problems.extend(of_the_file(engine)?),
        Place::Server(_) => found.warnings.extend(of_the_server(engine)?),
    }
    Ok(found)
}

/// Rows that contradict each other, on either engine.
fn problems(engine: &mut dyn Engine) -> Result<Vec<String>, Error> {
    const QUESTIONS: [(&str, &str); 4] = [
        ("SELECT COUNT(*) FROM feed WHERE floor > revision", "the feed begins after its end"),
        (
            "SELECT COUNT(*) FROM changes, feed WHERE changes.revision > feed.revision",
            "changes are on the feed after its last revision",
        ),
        (
            "SELECT COUNT(*) FROM audit, feed WHERE audit.place > feed.audit_place",
            "entries are in the audit after its last place",
        ),
        (
            "SELECT COUNT(*) FROM nodes LEFT JOIN node_certificates \
             ON node_id = id AND is_next = 0 WHERE serial IS NULL",
            "nodes are without a certificate",
        ),
    ];
    let mut problems = Vec::new();
    for (sql, what) in QUESTIONS {
        engine.query(sql, &[], &mut |mut row| {
            let count = row.u64("count")?;
            if count > 0 {
                problems.push(format!("{what}: {count}"));
            }
            Ok(())
        })?;
    }
    Ok(problems)
}

/// What SQLite itself finds.
fn of_the_file(engine: &mut dyn Engine) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    engine.query("PRAGMA integrity_check(20)", &[], &mut |mut row| {
        let said = row.text("integrity")?;
        if said != "ok" {
            problems.push(said);
        }
        Ok(())
    })?;
    engine.query("PRAGMA foreign_key_check", &[], &mut |mut row| {
        problems.push(format!("a row of {} refers to one that is not there", row.text("table")?));
        Ok(())
    })?;
    Ok(problems)
}

/// Settings of a server with which it answers before it can keep its word.
fn of_the_server(engine: &mut dyn Engine) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    for (name, why) in [
        ("fsync", "a loss of power can damage the database"),
        ("full_page_writes", "a loss of power can damage the database"),
    ] {
        engine.query(&format!("SELECT current_setting('{name}')"), &[], &mut |mut row| {
            if row.text("setting")? == "off" {
                warnings.push(format!("the server runs with {name} = off: {why}"));
            }
            Ok(())
        })?;
    }
    Ok(warnings)
}
