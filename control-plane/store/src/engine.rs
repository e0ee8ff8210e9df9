//! What the nouns need of a database: statements with parameters, rows back.
//! One SQL text serves every engine: parameters are `$1`, `$2`, … in the order
//! in which they first appear.

use crate::{dialect::Dialect, error::Error};

mod param;
mod row;

pub(crate) use param::Param;
pub(crate) use param::params;
pub(crate) use row::Row;
pub(crate) use row::Value;
pub(crate) use row::json;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// To read one consistent state.
    Read,
    /// To write.
    Write,
    /// To change the schema: as long as it takes, and after everyone else who does.
    Schema,
}

/// One connection to a database. One that is lost comes back with the next `begin`.
pub(crate) trait Engine: Send {
    /// Its answers to the questions on which engines differ.
    fn dialect(&self) -> &'static Dialect;

    /// Runs a statement; answers how many rows it touched.
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error>;

    /// Runs a statement whose count nobody needs. That it failed may be said by
    /// a later call of the same transaction instead, its commit at the latest.
    fn put(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), Error> {
        self.execute(sql, params).map(drop)
    }

    /// Waits for what was put; its failure, if it has failed.
    fn settle(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Runs a query and shows each row.
    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Runs statements without parameters, of migrations.
    fn batch(&mut self, sql: &str) -> Result<(), Error>;

    /// Begins a transaction.
    fn begin(&mut self, what: Begin) -> Result<(), Error>;

    /// Commits it.
    fn commit(&mut self) -> Result<(), Error>;

    /// Ends it, and with it what it did. Nothing, if none is open.
    fn rollback(&mut self) -> Result<(), Error>;

    /// Begins one write among several of a transaction.
    fn begin_one(&mut self) -> Result<(), Error>;

    /// Ends it; what it did stays if `keep`.
    fn end_one(&mut self, keep: bool) -> Result<(), Error>;

    /// Commits a batch of writes that has taken the revision row; `moved` is
    /// where revision and audit place stand now, if they have moved.
    fn publish(&mut self, moved: Option<(u64, u64)>) -> Result<(), Error>;

    /// Whether the last `publish`, which was not answered, has come about. Asked
    /// by the next transaction that has taken the revision row.
    fn was_published(&mut self) -> Result<bool, Error>;

    /// Ends the transaction that has found it, as durably as `publish` would have.
    fn confirm(&mut self) -> Result<(), Error> {
        self.commit()
    }

    /// Whether a transaction is open. An engine may end one by itself when a
    /// statement fails badly.
    fn in_transaction(&self) -> bool;

    /// Why the transaction ended by itself, if none of its statements is at
    /// fault: the same again may succeed.
    fn interrupted(&self) -> Option<Error>;

    /// Before the last connection that can write ends.
    fn close(&mut self) -> Result<(), Error>;
}

/// Runs statements in one transaction.
///
/// # Errors
/// Those of the work, or if the database fails; then nothing was done.
pub(crate) fn transaction<T>(
    engine: &mut dyn Engine,
    what: Begin,
    work: impl FnOnce(&mut dyn Engine) -> Result<T, Error>,
) -> Result<T, Error> {
    engine.begin(what)?;
    let done = work(engine).and_then(|value| engine.commit().map(|()| value));
    if done.is_err() {
        engine.rollback()?;
    }
    done
}
