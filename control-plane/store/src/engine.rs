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

/// One connection to a database.
pub(crate) trait Engine {
    /// Its answers to the questions on which engines differ.
    fn dialect(&self) -> &'static Dialect;

    /// Runs a statement; answers how many rows it touched.
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error>;

    /// Runs a query and shows each row.
    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Runs statements without parameters: of migrations and transactions.
    fn batch(&mut self, sql: &str) -> Result<(), Error>;

    /// Whether a transaction is open. An engine may end one by itself when a
    /// statement fails badly.
    fn in_transaction(&self) -> bool;
}
