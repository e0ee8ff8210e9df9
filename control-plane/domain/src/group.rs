//! A selector with a name, to be used in others.

use muster_common::clock::UnixMillis;

/// The nodes that a selector matches, under a name: `@canary` in other selectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// As written; it names no groups.
    pub selector: String,
    /// For people.
    pub description: String,
    /// First write.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// By whom.
    pub updated_by: String,
    /// Revision of the last write; the etag.
    pub revision: u64,
}

/// Longest description, in bytes.
const MAX_DESCRIPTION: usize = 1024;

/// Whether a group can be described so: at most 1024 bytes, of control characters only
/// ends of lines.
#[must_use]
pub fn is_description(text: &str) -> bool {
    text.len() <= MAX_DESCRIPTION && !text.contains(|c: char| c.is_control() && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_something_to_read() {
        assert!(
            is_description("") && is_description("first line\nsecond") && is_description(&"x".repeat(1024))
        );
        assert!(!is_description(&"x".repeat(1025)) && !is_description("a\u{1b}[2J"));
    }
}
