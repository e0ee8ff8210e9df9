//! Pages by key: each starts after the last row of the one before, so it costs
//! the same anywhere in the list.

use muster_domain::page::{Listed, Page};

/// How many rows to ask the database for: one more than wanted tells whether
/// more follow.
pub(crate) fn limit(page: &Page) -> u64 {
    u64::from(page.size) + 1
}

/// A page out of `limit` rows.
pub(crate) fn listed<T>(page: &Page, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> Listed<T> {
    let size = page.size as usize;
    let more = rows.len() > size;
    rows.truncate(size);
    let next = if more { rows.last().map(key) } else { None };
    Listed { rows, next }
}

/// Where a list by text that rises starts: before all keys, or after one.
pub(crate) fn after(page: &Page) -> &str {
    page.after.as_deref().unwrap_or("")
}

/// Where a list of ids that fall starts: no id's text is above this.
pub(crate) fn before(page: &Page) -> &str {
    page.after.as_deref().unwrap_or("~")
}
