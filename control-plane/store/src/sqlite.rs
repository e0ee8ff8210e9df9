//! SQLite behind the engine's trait: WAL, every commit on the disk before it
//! is answered.

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{
    Connection, OpenFlags,
    ffi::ErrorCode,
    types::{ToSqlOutput, ValueRef},
};
use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    dialect::{self, Dialect},
    engine::{Begin, Engine, Param, Row, Value, params},
    error::Error,
    options::Place,
    watcher::Watch,
};

/// `application_id` of our files: "MUST".
const APPLICATION_ID: i64 = 0x4d55_5354;
/// Statements that stay prepared per connection: more than there are.
const STATEMENTS: usize = 256;

/// One connection.
pub(crate) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// The connection that writes. The file must be there; it may be empty.
    pub(crate) fn writer(path: &Path, busy_timeout: Duration) -> Result<Self, Error> {
        let opened = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, busy_timeout)?;
        // FULL: in WAL mode NORMAL would lose the last commits with the power.
        // 32 MiB of log before it goes into the file, not 4: when a fleet answers, a page is
        // changed many times over, and each time the log ends it is written once more.
        opened.pragmas(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA wal_autocheckpoint = 8192; PRAGMA journal_size_limit = 67108864; \
             PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;",
        )?;
        Ok(opened)
    }

    /// A connection that cannot write.
    pub(crate) fn reader(path: &Path, busy_timeout: Duration) -> Result<Self, Error> {
        let opened = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, busy_timeout)?;
        opened.pragmas("PRAGMA query_only = ON; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;")?;
        Ok(opened)
    }

    /// A connection from which the whole is copied.
    pub(crate) fn source(path: &Path, busy_timeout: Duration) -> Result<Self, Error> {
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, busy_timeout)
    }

    /// Copies one consistent state into an empty file.
    pub(crate) fn copy_into(&self, to: &Path) -> Result<(), Error> {
        let done = self.connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]);
        done.map(drop).map_err(|error| classify(error, "copy"))
    }

    fn connect(path: &Path, mode: OpenFlags, busy_timeout: Duration) -> Result<Self, Error> {
        let open = || {
            // A connection stays on one thread: SQLite's own locks are not needed.
            let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(busy_timeout)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            Ok(connection)
        };
        let failed = |source: rusqlite::Error| Error::Open {
            place: Place::File(path.to_owned()),
            source: Arc::new(source),
        };
        open().map(|connection| Self { connection }).map_err(failed)
    }

    fn pragmas(&self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(|error| classify(error, sql))
    }

    /// Whether the file says that it is ours.
    pub(crate) fn is_ours(&self) -> Result<bool, Error> {
        self.pragma_i64("application_id").map(|id| id == APPLICATION_ID)
    }

    /// Changes whenever another connection, of any process, has committed.
    fn data_version(&self) -> Result<i64, Error> {
        self.pragma_i64("data_version")
    }

    fn pragma_i64(&self, name: &str) -> Result<i64, Error> {
        self.connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|error| classify(error, name))
    }
}

impl Engine for Sqlite {
    fn dialect(&self) -> &'static Dialect {
        &dialect::SQLITE
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        let run = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.execute(rusqlite::params_from_iter(params))
        };
        run().map(|rows| rows as u64).map_err(|error| classify(error, sql))
    }

    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |error| classify(error, sql);
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let values = (0..columns).map(|column| row.get_ref(column).map(value)).collect::<Result<_, _>>();
            each(Row::new(values.map_err(failed)?))?;
        }
        Ok(())
    }

    fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(|error| classify(error, sql))
    }

    fn begin(&mut self, what: Begin) -> Result<(), Error> {
        let sql = match what {
            Begin::Read => "BEGIN",
            Begin::Write | Begin::Schema => "BEGIN IMMEDIATE",
        };
        self.execute(sql, &[]).map(drop)
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.execute("COMMIT", &[]).map(drop)
    }

    fn rollback(&mut self) -> Result<(), Error> {
        if self.in_transaction() {
            self.execute("ROLLBACK", &[])?;
        }
        Ok(())
    }

    fn begin_one(&mut self) -> Result<(), Error> {
        self.execute("SAVEPOINT one_write", &[]).map(drop)
    }

    fn end_one(&mut self, keep: bool) -> Result<(), Error> {
        if !keep {
            self.execute("ROLLBACK TO SAVEPOINT one_write", &[])?;
        }
        self.execute("RELEASE SAVEPOINT one_write", &[]).map(drop)
    }

    fn publish(&mut self, moved: Option<(u64, u64)>) -> Result<(), Error> {
        if let Some((revision, audit_place)) = moved {
            let row = params![revision, audit_place];
            self.execute("UPDATE feed SET revision = $1, audit_place = $2", row)?;
        }
        self.commit()
    }

    /// A commit that failed has not come about.
    fn was_published(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn interrupted(&self) -> Option<Error> {
        None
    }

    /// Moves the log into the file, so that nothing but the file is left.
    fn close(&mut self) -> Result<(), Error> {
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        done.map_err(|error| classify(error, "checkpoint"))
    }
}

/// Looks whether the file was written, at every turn.
pub(crate) struct Looker {
    engine: Sqlite,
    runtime: Runtime,
    seen: Option<i64>,
}

impl Looker {
    pub(crate) fn new(engine: Sqlite, path: &Path) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime
            .map_err(|error| Error::Open { place: Place::File(path.to_owned()), source: Arc::new(error) })?;
        Ok(Self { engine, runtime, seen: None })
    }
}

impl Watch for Looker {
    fn wait(&mut self, limit: Duration, stopped: &mut oneshot::Receiver<()>) {
        let _ = self.runtime.block_on(async { tokio::time::timeout(limit, stopped).await });
    }

    fn look(&mut self) -> Result<Option<u64>, Error> {
        let version = self.engine.data_version()?;
        if self.seen == Some(version) {
            return Ok(None);
        }
        let mut revision = None;
        self.engine.query("SELECT revision FROM feed", &[], &mut |mut row| {
            revision = Some(row.u64("revision")?);
            Ok(())
        })?;
        self.seen = Some(version); // after the read: a failed one is tried again
        Ok(revision)
    }
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Param::Null => ValueRef::Null,
            Param::Int(number) => ValueRef::Integer(*number),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        // No column of ours is REAL; whoever reads it finds a wrong type.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

/// What an error of SQLite means to the store.
fn classify(error: rusqlite::Error, doing: &str) -> Error {
    let code = error.sqlite_error_code();
    let cause: crate::error::Cause = Arc::new(error);
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Locked(cause),
        Some(ErrorCode::DiskFull) => Error::DiskFull(cause),
        Some(ErrorCode::SystemIoFailure) => Error::Io(cause),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt(cause),
        Some(ErrorCode::ConstraintViolation) => Error::Constraint(cause),
        _ => Error::engine(doing, cause),
    }
}
