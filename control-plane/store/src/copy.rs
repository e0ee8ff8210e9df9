//! Moves everything from a file of SQLite into an empty database of a server, whole
//! or not at all: it is one transaction there, and nobody writes here meanwhile.

use crate::{
    engine::{self, Begin, Engine, Param, params},
    error::Error,
    migrate,
    options::{Options, Place},
    places,
    store::on_a_thread,
    tables::TABLES,
};

/// Rows between two words of progress.
const STEP: u64 = 10_000;

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which table.
    pub table: &'static str,
    /// Rows of it that were read.
    pub rows: u64,
    /// Rows that it has.
    pub of: u64,
}

/// What was copied and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Rows of each table, the same on both sides.
    pub rows: Vec<(&'static str, u64)>,
    /// The newest revision, the same on both sides.
    pub revision: u64,
}

/// Copies everything. The new database has the same history: the same revisions,
/// chains of the audit and epoch. The old one stays as it is.
///
/// # Errors
/// If `from` is not a file of this release's schema or `to` not a server's empty
/// database, if one of them fails, or if the two differ in the end.
pub fn copy(from: &Options, to: &Options, told: &mut (dyn FnMut(Progress) + Send)) -> Result<Copied, Error> {
    on_a_thread(|| {
        if from.file().is_none() || to.file().is_some() {
            return Err(Error::NotCopied("only from a file of SQLite to a server of PostgreSQL".to_owned()));
        }
        let mut source = places::existing(from)?;
        let (found, known) = (migrate::version(&mut *source)?, migrate::known(&*source));
        if found != known {
            return Err(Error::NotCopied(format!(
                "the file has schema {found}, this release has {known}: migrate it first"
            )));
        }
        let mut copied = None;
        engine::transaction(&mut *source, Begin::Write, |source| {
            places::made(to, |target| {
                copied = Some(all(source, target, told)?);
                Ok(())
            })
            .map(drop)
        })?;
        copied.ok_or_else(|| Error::NotCopied("nothing was done".to_owned()))
    })
}

fn all(
    source: &mut dyn Engine,
    target: &mut dyn Engine,
    told: &mut dyn FnMut(Progress),
) -> Result<Copied, Error> {
    complete(source)?;
    // What a new schema begins with.
    target.execute("DELETE FROM meta", &[])?;
    target.execute("DELETE FROM feed", &[])?;
    let mut rows = Vec::new();
    for table in TABLES {
        let of = count(source, table)?;
        self::table(source, target, table, of, told)?;
        let there = count(target, table)?;
        if there != of {
            return Err(Error::NotCopied(format!("{table} has {of} rows here and {there} there")));
        }
        rows.push((*table, of));
    }
    let (here, revision) = (revision(source)?, revision(target)?);
    if here != revision {
        return Err(Error::NotCopied(format!("the revision is {here} here and {revision} there")));
    }
    Ok(Copied { rows, revision })
}

fn table(
    source: &mut dyn Engine,
    target: &mut dyn Engine,
    table: &'static str,
    of: u64,
    told: &mut dyn FnMut(Progress),
) -> Result<(), Error> {
    let mut columns = Vec::new();
    source.query("SELECT name FROM pragma_table_info($1)", params![table], &mut |mut row| {
        columns.push(format!("\"{}\"", row.text("column")?));
        Ok(())
    })?;
    let places: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
    let columns = columns.join(", ");
    let insert = format!("INSERT INTO {table} ({columns}) VALUES ({})", places.join(", "));
    let mut rows = 0;
    told(Progress { table, rows, of });
    source.query(&format!("SELECT {columns} FROM {table}"), &[], &mut |row| {
        let values = row.into_values();
        let values: Vec<Param<'_>> = values.iter().map(Param::from).collect();
        target.put(&insert, &values)?;
        rows += 1;
        if rows % STEP == 0 {
            told(Progress { table, rows, of });
        }
        Ok(())
    })
}

/// A table that is on no list would be left behind in silence.
fn complete(source: &mut dyn Engine) -> Result<(), Error> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    source.query(sql, &[], &mut |mut row| {
        let name = row.text("table")?;
        if name == "migrations" || TABLES.contains(&name.as_str()) {
            return Ok(());
        }
        Err(Error::NotCopied(format!("{name} is a table that this release does not copy")))
    })
}

fn count(engine: &mut dyn Engine, table: &str) -> Result<u64, Error> {
    number(engine, &format!("SELECT COUNT(*) FROM {table}"))
}

fn revision(engine: &mut dyn Engine) -> Result<u64, Error> {
    number(engine, "SELECT revision FROM feed")
}

fn number(engine: &mut dyn Engine, sql: &str) -> Result<u64, Error> {
    let mut number = 0;
    engine.query(sql, &[], &mut |mut row| {
        number = row.u64("number")?;
        Ok(())
    })?;
    Ok(number)
}

/// Takes away a database that was just made, because what it was made for failed.
///
/// # Errors
/// If the database fails.
pub fn unmake(options: &Options) -> Result<(), Error> {
    if let Place::File(path) = &options.place {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(suffix);
            let _ = std::fs::remove_file(file); // the last two are seldom there
        }
        return Ok(());
    }
    on_a_thread(|| {
        let mut engine = places::existing(options)?;
        engine::transaction(&mut *engine, Begin::Schema, |engine| {
            engine.batch(&format!("DROP TABLE {}, migrations, store_writers", TABLES.join(", ")))
        })
    })
}
