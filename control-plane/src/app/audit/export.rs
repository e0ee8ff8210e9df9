//! The audit as a file: lines of JSON in the order of commits, piece by piece.
//! The command line and the API write the same.

use muster_common::clock::UnixMillis;
use muster_domain::{
    access::Scope,
    audit::{Filter, line},
};
use muster_store::{ReadAudit, ReadTx};

use crate::app::{App, Error, watch::not_any_more};

/// Records in memory at once.
const PIECE: u32 = 100;

/// Places of the records of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Not included.
    pub after: u64,
    /// Included.
    pub to: u64,
}

/// Some lines of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// Whole lines.
    pub text: String,
    /// Up to and with this place nothing is missing; the file goes on after it.
    pub reached: u64,
}

impl Range {
    /// What lies between two times, as far as it is written now. Between the
    /// first and last of those entries may be others, of a clock that was set
    /// back: a chain is never cut in two.
    ///
    /// # Errors
    /// If the store fails.
    pub fn of(
        tx: &mut ReadTx<'_>,
        since: Option<UnixMillis>,
        until: Option<UnixMillis>,
    ) -> Result<Self, muster_store::Error> {
        let window = tx.audit_window(&Filter { since, until, ..Filter::default() })?;
        let (first, last) = window.unwrap_or((1, 0));
        Ok(Self { after: first.saturating_sub(1), to: last.min(tx.audit_place()?) })
    }

    /// The part from one place to another, both included; 0: no bound.
    #[must_use]
    pub fn within(self, from: u64, to: u64) -> Self {
        let to = if to == 0 { self.to } else { self.to.min(to) };
        Self { after: self.after.max(from.saturating_sub(1)), to }
    }

    /// Whether there is more.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.after < self.to
    }
}

impl Lines {
    /// The next lines of a range.
    ///
    /// # Errors
    /// If the store fails.
    pub fn next(tx: &mut ReadTx<'_>, range: Range) -> Result<Self, muster_store::Error> {
        let piece = tx.audit_records(range.after, range.to, PIECE)?;
        let mut text = String::new();
        for record in &piece.records {
            text.push_str(&line::write(record));
            text.push('\n');
        }
        Ok(Self { text, reached: piece.reached })
    }
}

impl App {
    /// What lies between two times.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn audit_range(
        &self,
        since: Option<UnixMillis>,
        until: Option<UnixMillis>,
    ) -> Result<Range, Error> {
        self.store.read(move |tx| Range::of(tx, since, until).map_err(Error::from)).await
    }

    /// The next lines of a range.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn audit_lines(&self, scope: &Scope, range: Range) -> Result<Lines, Error> {
        self.access.scope_now(scope, true).ok_or_else(not_any_more)?;
        self.store.read(move |tx| Lines::next(tx, range).map_err(Error::from)).await
    }
}
