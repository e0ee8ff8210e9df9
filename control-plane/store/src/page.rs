//! Pages by key: each starts after the last row of the one before, so it costs
//! the same anywhere in the list.

use muster_domain::page::{Listed, Page};

use crate::{
    engine::{Row, params},
    error::Error,
    tx::Reader,
};

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

/// The key of one version of a name.
pub(crate) fn version(name: &str, version: u64) -> String {
    format!("{name}/{version}")
}

/// What stands in such a key.
///
/// # Errors
/// If it is none.
pub(crate) fn version_from(key: &str) -> Result<(&str, u64), Error> {
    let parsed = key.rsplit_once('/').and_then(|(name, version)| Some((name, version.parse().ok()?)));
    parsed.ok_or_else(|| Error::PageKey(key.chars().take(80).collect()))
}

type Decode<T> = fn(&mut Row) -> Result<T, Error>;

/// One page of what has versions, of one name or of all: by name, newest first. `all` takes a
/// name, a version and a limit, `of_name` the same.
///
/// # Errors
/// If the page's key is none of this list, or the store fails.
pub(crate) fn of_versions<T>(
    reader: &mut (impl Reader + ?Sized),
    page: &Page,
    name: Option<&str>,
    (all, of_name): (&str, &str),
    (decode, key_of): (Decode<T>, fn(&T) -> String),
) -> Result<Listed<T>, Error> {
    let key = page.after.as_deref().map(version_from).transpose()?;
    let rows = match (name, key) {
        (Some(name), key) => {
            let below = key.map_or(i64::MAX.cast_unsigned(), |(_, version)| version);
            reader.rows(of_name, params![name, below, limit(page)], decode)?
        }
        (None, key) => {
            let (after, below) = key.unwrap_or(("", 0));
            reader.rows(all, params![after, below, limit(page)], decode)?
        }
    };
    Ok(listed(page, rows, key_of))
}
