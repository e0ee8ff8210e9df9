//! A role for some principals on some nodes.

use std::{fmt, str::FromStr};

use muster_common::{clock::UnixMillis, tls::spiffe::is_principal_name};

use super::Role;

/// Longest name of a binding.
const MAX_NAME: usize = 160;

/// Principals that match have this role on the nodes that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its own.
    pub name: String,
    /// Who.
    pub principal: Pattern,
    /// What they are trusted with.
    pub role: Role,
    /// On which nodes; as written, `*` for all.
    pub selector: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// By whom.
    pub created_by: String,
}

/// `operator/alice`, `service/ci-*`, `operator/*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

/// A text is no pattern of principals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not operator/NAME or service/NAME, where NAME may end in '*'")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Whether a principal is one of them.
    #[must_use]
    pub fn matches(&self, principal: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => principal.starts_with(start),
            None => principal == self.0,
        }
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let is_pattern = match text.split_once('/') {
            Some(("operator" | "service", "*")) => true,
            Some(("operator" | "service", name)) => is_principal_name(name.strip_suffix('*').unwrap_or(name)),
            _ => false,
        };
        if is_pattern { Ok(Self(text.to_owned())) } else { Err(InvalidPattern(text.to_owned())) }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a binding may be called so: letters, digits and `._@/-`.
#[must_use]
pub fn is_binding_name(name: &str) -> bool {
    let is_fine = |b: u8| b.is_ascii_alphanumeric() || b"._@/-".contains(&b);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_what_it_says_and_nothing_else() {
        for (pattern, principal, is) in [
            ("operator/alice", "operator/alice", true),
            ("operator/alice", "operator/alice2", false),
            ("operator/alice", "service/alice", false),
            ("operator/*", "operator/bob", true),
            ("operator/*", "service/bob", false),
            ("service/ci-*", "service/ci-main", true),
            ("service/ci-*", "service/ci", false),
            ("service/ci-*", "operator/ci-main", false),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(principal), is, "{pattern} {principal}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in
            ["", "*", "operator", "operator/", "node/*", "operator/a*b", "operator/**", "o/*", "operator/a/b"]
        {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for (name, is) in [("operator/alice", true), ("", false), ("a b", false), ("ü", false), ("a*", false)]
        {
            assert_eq!(is_binding_name(name), is, "{name}");
        }
        assert!(is_binding_name(&"a".repeat(160)) && !is_binding_name(&"a".repeat(161)));
    }
}
