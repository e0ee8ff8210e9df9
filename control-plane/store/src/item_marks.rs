//! Since when each item is what it is: the newest revision of all that decides
//! it. The generation of a node's item is derived from it.

use std::collections::BTreeMap;

use muster_domain::item::ItemName;

use crate::{
    engine::params,
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads marks.
pub trait ReadItemMarks: Reader {
    /// All marks.
    ///
    /// # Errors
    /// If the store fails.
    fn item_mark_all(&mut self) -> Result<BTreeMap<ItemName, u64>, Error> {
        let rows = self.rows("SELECT item, mark FROM item_marks", &[], |row| {
            Ok((row.parsed("item")?, row.u64("mark")?))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// The marks that were made in a trace that somebody collects: mark and place in the trace.
    ///
    /// # Errors
    /// If the store fails.
    fn item_mark_traced(&mut self) -> Result<BTreeMap<ItemName, (u64, String)>, Error> {
        const SQL: &str = "SELECT item, mark, traceparent FROM item_marks WHERE traceparent <> ''";
        let rows = self
            .rows(SQL, &[], |row| Ok((row.parsed("item")?, (row.u64("mark")?, row.text("traceparent")?))))?;
        Ok(rows.into_iter().collect())
    }
}

/// Raises marks.
pub trait WriteItemMarks: ReadItemMarks + Writer {
    /// Something that decides this item is being written: its mark becomes the
    /// revision of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn item_mark(&mut self, item: &ItemName) -> Result<(), Error> {
        self.item_mark_in(item, "")
    }

    /// The same, in a trace: `traceparent` is empty if nobody collects it.
    ///
    /// # Errors
    /// If the store fails.
    fn item_mark_in(&mut self, item: &ItemName, traceparent: &str) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO item_marks (item, mark, traceparent) VALUES ($1, $2, $3) \
                           ON CONFLICT (item) DO UPDATE SET mark = excluded.mark, \
                           traceparent = excluded.traceparent";
        let revision = self.own_revision();
        self.put(SQL, params![item.to_string(), revision, traceparent])
    }
}

impl ReadItemMarks for ReadTx<'_> {}
impl ReadItemMarks for WriteTx<'_> {}
impl WriteItemMarks for WriteTx<'_> {}
