//! Reading the audit, and signing it.

mod export;
mod news;
mod signing;

use muster_domain::{
    audit::{Checkpoint, Entry, Filter, Placed},
    page::{Listed, Page},
};
use muster_store::ReadAudit as _;

pub use export::{Lines, Range};
pub use news::News;
pub use signing::{COMMAND_LINE, Signer, key_note};

use super::{App, Error};

/// Most bytes of the entries of one page; their rest comes with the next. What
/// callers can make the audit hold would otherwise be more than clients take.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

impl App {
    /// A page of the entries that are wanted, the newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn audit_entries(&self, page: Page, filter: Filter) -> Result<Listed<Placed<Entry>>, Error> {
        let listed = self.store.read(move |tx| tx.audit_list(&page, &filter).map_err(Error::from)).await?;
        Ok(cut(listed, PAGE_BYTES))
    }

    /// A page of checkpoints, the newest first, of one chain or all.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn audit_checkpoints(
        &self,
        page: Page,
        replica: Option<String>,
    ) -> Result<Listed<Placed<Checkpoint>>, Error> {
        self.store.read(move |tx| tx.checkpoint_list(&page, replica.as_deref()).map_err(Error::from)).await
    }
}

/// The start of a page, within so many bytes; at least one entry.
fn cut(mut listed: Listed<Placed<Entry>>, most: usize) -> Listed<Placed<Entry>> {
    let mut bytes = 0;
    let fits = listed.rows.iter().take_while(|(_, entry)| {
        bytes += size(entry);
        bytes <= most
    });
    let keep = fits.count().max(1);
    if keep < listed.rows.len() {
        listed.rows.truncate(keep);
        listed.next = listed.rows.last().map(|(place, _)| place.to_string());
    }
    listed
}

fn size(entry: &Entry) -> usize {
    let (stamp, note) = (&entry.stamp, &entry.note);
    let texts = [
        &entry.replica,
        &stamp.actor,
        &stamp.action,
        &stamp.remote_address,
        &stamp.trace_id,
        &note.subject,
        &note.before,
        &note.after,
    ];
    texts.iter().map(|text| text.len() + 16).sum()
}

#[cfg(test)]
mod tests;
