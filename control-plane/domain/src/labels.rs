//! Labels, and selectors over labels and facts.

use crate::violation::Violation;

mod packed;
mod parse;
mod roster;
mod selector;
mod written;

pub use packed::Labels;
pub use parse::SelectorError;
pub use roster::{Found, Place, Roster};
pub use selector::{Clause, Selector};
pub(crate) use selector::{Required, Subject};
pub use written::{Groups, NoGroup, Unusable, Written};

/// Most labels of one node.
pub const MAX_LABELS: usize = 64;
/// Longest name and longest value.
const MAX_PART: usize = 63;
/// Longest prefix of a key, as of any DNS name.
const MAX_PREFIX: usize = 253;
/// Keys that start so would read as facts in a selector.
const FACTS: &str = "facts.";

/// These cannot be labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    /// More than `MAX_LABELS`.
    #[error("{0} labels; a node has at most {MAX_LABELS}")]
    TooMany(usize),
    /// Not a key.
    #[error(
        "{0:?} is not a label key: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both \
         ends, after an optional DNS name and '/'"
    )]
    Key(String),
    /// Would be taken for a fact.
    #[error("{0:?} cannot be a label key: what starts with \"facts.\" is what a host says about itself")]
    Reserved(String),
    /// Not a value.
    #[error(
        "{value:?} is not a value for label {key:?}: empty, or at most 63 letters, digits, '-', '_' and '.', with a \
         letter or digit at both ends"
    )]
    Value {
        /// Of which key.
        key: String,
        /// The value.
        value: String,
    },
}

impl From<InvalidLabel> for Violation {
    fn from(error: InvalidLabel) -> Self {
        let field = match &error {
            InvalidLabel::TooMany(_) => return Self::too_large("labels", error.to_string()),
            InvalidLabel::Key(key) | InvalidLabel::Reserved(key) | InvalidLabel::Value { key, .. } => {
                format!("labels[{key:?}]")
            }
        };
        Self::invalid(field, error.to_string())
    }
}

/// Whether a node can have these labels.
///
/// # Errors
/// The first that it cannot have.
pub fn check_labels(labels: &Labels) -> Result<(), InvalidLabel> {
    if labels.len() > MAX_LABELS {
        return Err(InvalidLabel::TooMany(labels.len()));
    }
    for (key, value) in labels {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        if key.starts_with(FACTS) {
            return Err(InvalidLabel::Reserved(shown(key)));
        }
        if !is_key(key) {
            return Err(InvalidLabel::Key(shown(key)));
        }
        if !is_value(value) {
            return Err(InvalidLabel::Value { key: key.to_owned(), value: shown(value) });
        }
    }
    Ok(())
}

/// `name` or `dns.prefix/name`.
/// Whether a label can have this key.
#[must_use]
pub fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_word(name),
        None => is_word(key),
    }
}

fn is_value(value: &str) -> bool {
    value.is_empty() || is_word(value)
}

fn is_word(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= MAX_PART
        && ends(text.bytes().next())
        && ends(text.bytes().next_back())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= MAX_PREFIX && text.split('.').all(crate::item::is_resource_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: &str) -> Result<(), InvalidLabel> {
        check_labels(&Labels::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn keys_have_an_optional_dns_prefix() {
        let long = "x".repeat(63);
        for key in ["env", "a", "A_b.c-9", "example.com/role", "a/b", &long, &format!("example.com/{long}")] {
            assert_eq!(check(key, ""), Ok(()), "{key}");
        }
        let too_long = "x".repeat(64);
        for key in [
            "",
            "-a",
            "a-",
            ".a",
            "a b",
            "a=b",
            "a,b",
            "é",
            "/a",
            "a/",
            "a/b/c",
            "Example.com/a",
            "a..b/c",
            &too_long,
        ] {
            assert!(matches!(check(key, ""), Err(InvalidLabel::Key(_))), "{key}");
        }
        let prefix = format!("{}a", "a.".repeat(127));
        assert!(check(&format!("{}/x", &prefix[..253]), "").is_ok());
        assert!(check(&format!("{prefix}/x"), "").is_err());
    }

    #[test]
    fn values_are_words_or_empty() {
        for value in ["", "prod", "1.2_3-x", &"v".repeat(63)] {
            assert_eq!(check("env", value), Ok(()), "{value}");
        }
        for value in ["-", "a b", "a/b", "ü", &"v".repeat(64)] {
            assert!(matches!(check("env", value), Err(InvalidLabel::Value { .. })), "{value}");
        }
    }

    #[test]
    fn no_label_can_pose_as_a_fact() {
        for key in ["facts.os", "facts.anything", "facts.os/x"] {
            assert!(matches!(check(key, "debian"), Err(InvalidLabel::Reserved(_))), "{key}");
        }
        assert_eq!(check("facts", "x"), Ok(()));
    }

    #[test]
    fn a_node_has_64_labels_and_no_more() {
        let labels = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect::<Labels>();
        assert_eq!(check_labels(&labels(64)), Ok(()));
        assert_eq!(check_labels(&labels(65)), Err(InvalidLabel::TooMany(65)));
    }

    #[test]
    fn a_violation_names_the_label() {
        let violation = Violation::from(check("env", "a b").unwrap_err());
        assert_eq!(violation.field, "labels[\"env\"]");
    }
}
