//! "Which nodes?": terms over labels and facts, all of which must hold.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Labels, parse, parse::SelectorError};
use crate::facts::Facts;

/// A set of nodes, by what is said about them.
///
/// `env=prod`, `env==prod`, `role!=db`, `role in (web,api)`, `role notin (x)`,
/// `canary` (has it), `!canary` (has it not), `facts.os=debian`; joined by
/// commas, all must hold. `*` is every node. As with Kubernetes, `!=` and
/// `notin` hold for a node without the label, too.
///
/// Terms are kept sorted, so that two texts that mean the same by the same
/// terms are equal and print alike. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Selector(Arc<[Term]>);

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term {
    pub(super) subject: Subject,
    pub(super) test: Test,
}

/// What a term looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Label(String),
    /// One of `Facts::SELECTABLE`.
    Fact(&'static str),
}

/// What a term asks. Values are sorted, distinct and never none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Test {
    Present,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// What every node of a selector has: one of these values there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Required<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) values: &'a [String],
}

/// One term of a selector held against one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// The term.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
    /// What the node has there; `None`: nothing.
    pub found: Option<String>,
}

impl Selector {
    /// Every node.
    #[must_use]
    pub fn all() -> Self {
        Self(Arc::from([]))
    }

    /// Reads a selector for a write: one that is empty is refused, because
    /// "every node" should be said, not forgotten.
    ///
    /// # Errors
    /// Where it does not parse and what was expected there.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = parse::terms(text)?;
        terms.sort();
        terms.dedup();
        Ok(Self(terms.into()))
    }

    /// Reads a selector for a list: an empty one is every node.
    ///
    /// # Errors
    /// Where it does not parse and what was expected there.
    pub fn parse_or_all(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() { Ok(Self::all()) } else { Self::parse(text) }
    }

    /// Whether it is every node, whatever is said about them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a node with these is one of them.
    #[must_use]
    pub fn matches(&self, labels: &Labels, facts: &Facts) -> bool {
        self.0.iter().all(|term| term.test.holds(term.subject.of(labels, facts)))
    }

    /// What a node must have to be one of them: each of these. Nodes that have it need not
    /// be: there are other terms. What a selector can be found by.
    pub(crate) fn required(&self) -> impl Iterator<Item = Required<'_>> {
        self.0.iter().filter_map(|term| match &term.test {
            Test::In(values) => Some(Required { subject: &term.subject, values }),
            Test::Present | Test::Absent | Test::NotIn(_) => None,
        })
    }

    /// Why a node with these is one of them, or is not: every term by itself.
    #[must_use]
    pub fn explain(&self, labels: &Labels, facts: &Facts) -> Vec<Clause> {
        let clause = |term: &Term| {
            let found = term.subject.of(labels, facts);
            Clause { text: term.to_string(), holds: term.test.holds(found), found: found.map(str::to_owned) }
        };
        self.0.iter().map(clause).collect()
    }
}

impl Subject {
    fn of<'n>(&self, labels: &'n Labels, facts: &'n Facts) -> Option<&'n str> {
        match self {
            Self::Label(key) => labels.get(key).map(String::as_str),
            Self::Fact(name) => facts.lookup(name),
        }
    }
}

impl Test {
    /// The test for a set of values, in its one form.
    pub(super) fn one_of(mut values: Vec<String>, wanted: bool) -> Self {
        values.sort();
        values.dedup();
        if wanted { Self::In(values) } else { Self::NotIn(values) }
    }

    fn holds(&self, found: Option<&str>) -> bool {
        let among = |values: &[String]| found.is_some_and(|found| values.iter().any(|value| value == found));
        match self {
            Self::Present => found.is_some(),
            Self::Absent => found.is_none(),
            Self::In(values) => among(values),
            Self::NotIn(values) => !among(values),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("*");
        }
        for (n, term) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({self})")
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(key) => f.write_str(key),
            Self::Fact(name) => write!(f, "facts.{name}"),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match &self.test {
            Test::Present => subject.fmt(f),
            Test::Absent => write!(f, "!{subject}"),
            Test::In(values) => match values.as_slice() {
                [value] => write!(f, "{subject}={value}"),
                values => write!(f, "{subject} in ({})", values.join(",")),
            },
            Test::NotIn(values) => match values.as_slice() {
                [value] => write!(f, "{subject}!={value}"),
                values => write!(f, "{subject} notin ({})", values.join(",")),
            },
        }
    }
}

#[cfg(test)]
mod tests;
