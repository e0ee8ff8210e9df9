//! Selectors of requests: read as they are written, and resolved by the groups of a
//! moment.

use muster_common::reason::Reason;
use muster_domain::labels::{Groups, Selector, Written};
use muster_store::ReadGroups;

use super::{App, Error};

/// A selector of a write, which may name groups.
///
/// # Errors
/// If it does not parse.
pub fn written(field: &str, text: &str) -> Result<Written, Error> {
    Written::parse(text).map_err(|error| invalid(field, &error))
}

/// A selector of a list: empty is every node.
///
/// # Errors
/// If it does not parse.
pub fn written_or_all(text: &str) -> Result<Written, Error> {
    Written::parse_or_all(text).map_err(|error| invalid("selector", &error))
}

/// A selector of a write, in which no group may stand.
///
/// # Errors
/// If it does not parse, or names a group.
pub fn plain(field: &str, text: &str) -> Result<Selector, Error> {
    Selector::parse(text).map_err(|error| invalid(field, &error))
}

/// What a selector is with these groups.
pub(super) fn resolved(field: &str, written: &Written, groups: &Groups) -> Result<Selector, Error> {
    written.resolve(groups).map_err(|error| invalid(field, &error))
}

/// The groups as they are stored.
pub(super) fn groups(tx: &mut impl ReadGroups) -> Result<Groups, Error> {
    Ok(Groups::of(&tx.group_all()?))
}

impl App {
    /// A selector of a list, with the groups of now.
    ///
    /// # Errors
    /// If it does not parse, or names a group that is not there.
    pub fn selector_or_all(&self, text: &str) -> Result<Selector, Error> {
        resolved("selector", &written_or_all(text)?, &self.catalog.now().groups)
    }
}

fn invalid(field: &str, error: &impl ToString) -> Error {
    Error::Invalid { reason: Reason::SelectorInvalid, field: field.to_owned(), message: error.to_string() }
}
