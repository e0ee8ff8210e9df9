//! Selectors as people write them: they may name groups, and match nothing before
//! somebody says what the groups are.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use super::{
    parse,
    parse::{Naming, SelectorError},
    selector::{Resolved, Selector, Term, write_parts},
};
use crate::group::Group;

/// A selector with the names of groups in it: `role=web,!@canary`.
///
/// `@canary` is every node of the group, `!@canary` every other one. A group is what
/// it is at the moment of [`Self::resolve`]. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    terms: Arc<[Term]>,
    members: Arc<[Member]>,
}

/// One term about a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub(super) group: String,
    /// Its nodes, or all others.
    pub(super) inside: bool,
}

/// What groups there are at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(BTreeMap<String, Known>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    terms: Arc<[Term]>,
    revision: u64,
}

/// A selector names a group that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no group {0:?}")]
pub struct NoGroup(pub String);

/// A selector can match no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It does not parse.
    #[error(transparent)]
    Written(#[from] SelectorError),
    /// It names a group that is not there.
    #[error(transparent)]
    Group(#[from] NoGroup),
}

impl Written {
    /// Reads a selector for a write: one that is empty is refused, because
    /// "every node" should be said, not forgotten.
    ///
    /// # Errors
    /// Where it does not parse and what was expected there.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let parse::Parts { mut terms, mut members } = parse::parts(text, Naming::Groups)?;
        terms.sort();
        terms.dedup();
        members.sort();
        members.dedup();
        Ok(Self { terms: terms.into(), members: members.into() })
    }

    /// Reads a selector for a list: an empty one is every node.
    ///
    /// # Errors
    /// Where it does not parse and what was expected there.
    pub fn parse_or_all(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() { Ok(Self::all()) } else { Self::parse(text) }
    }

    /// Every node.
    #[must_use]
    pub fn all() -> Self {
        Self { terms: Arc::from([]), members: Arc::from([]) }
    }

    /// The groups that it names.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.group.as_str())
    }

    /// What it is with these groups.
    ///
    /// # Errors
    /// The first group that it names and that is not there.
    pub fn resolve(&self, groups: &Groups) -> Result<Selector, NoGroup> {
        let resolved = self.members.iter().map(|member| {
            let known = groups.0.get(&member.group).ok_or_else(|| NoGroup(member.group.clone()))?;
            Ok(Resolved { member: member.clone(), terms: Arc::clone(&known.terms) })
        });
        Ok(Selector { terms: Arc::clone(&self.terms), members: resolved.collect::<Result<_, _>>()? })
    }
}

impl Groups {
    /// Of these. One whose selector does not parse is as if it were not there.
    #[must_use]
    pub fn of<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Self {
        let known = groups.into_iter().filter_map(|group| {
            let terms = Selector::parse(&group.selector).ok()?.terms;
            Some((group.name.clone(), Known { terms, revision: group.revision }))
        });
        Self(known.collect())
    }

    /// The same with this group in the place of the one with its name.
    #[must_use]
    pub fn with(&self, group: &Group) -> Self {
        let mut groups = self.clone();
        groups.0.remove(&group.name);
        groups.0.append(&mut Self::of([group]).0);
        groups
    }

    /// The newest revision of those that a selector names; 0: it names none.
    #[must_use]
    pub fn revision_of(&self, written: &Written) -> u64 {
        let known = written.groups().filter_map(|name| self.0.get(name));
        known.map(|group| group.revision).max().unwrap_or(0)
    }
}

impl FromStr for Written {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_parts(f, &self.terms, self.members.iter())
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Written({self})")
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", if self.inside { "" } else { "!" }, self.group)
    }
}

#[cfg(test)]
mod tests;
