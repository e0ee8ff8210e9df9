//! "Which nodes?": terms over labels and facts, all of which must hold.

use std::{fmt, str::FromStr, sync::Arc};

use super::{
    Labels, parse,
    parse::{Naming, SelectorError},
    written::Member,
};
use crate::facts::Known;

/// A set of nodes, by what is said about them.
///
/// `env=prod`, `env==prod`, `role!=db`, `role in (web,api)`, `role notin (x)`,
/// `canary` (has it), `!canary` (has it not), `facts.os=debian`; joined by
/// commas, all must hold. `*` is every node. As with Kubernetes, `!=` and
/// `notin` hold for a node without the label, too.
///
/// One that names groups is read as a [`super::Written`], and becomes a selector by
/// the groups of that moment. Terms are kept sorted, so that two texts that mean the
/// same by the same terms are equal and print alike. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Selector {
    pub(super) terms: Arc<[Term]>,
    pub(super) members: Arc<[Resolved]>,
}

/// A term about a group, with what the group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) member: Member,
    /// All of them hold for the nodes of the group.
    pub(super) terms: Arc<[Term]>,
}

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
    /// What the node has there; `None`: nothing, or the term is about a group.
    pub found: Option<String>,
    /// Of a group: its own terms, none if it is every node. `None`: it is about no group.
    pub within: Option<Vec<Clause>>,
}

impl Selector {
    /// Every node.
    #[must_use]
    pub fn all() -> Self {
        Self { terms: Arc::from([]), members: Arc::from([]) }
    }

    /// Reads a selector that names no groups, for a write: one that is empty is refused,
    /// because "every node" should be said, not forgotten.
    ///
    /// # Errors
    /// Where it does not parse and what was expected there.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = parse::parts(text, Naming::NoGroups)?.terms;
        terms.sort();
        terms.dedup();
        Ok(Self { terms: terms.into(), members: Arc::from([]) })
    }

    /// Whether it is every node, whatever is said about them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.terms.is_empty() && self.members.is_empty()
    }

    /// Whether a node with these is one of them.
    #[must_use]
    pub fn matches(&self, labels: &Labels, facts: &Known) -> bool {
        self.terms.iter().all(|term| term.holds(labels, facts))
            && self.members.iter().all(|member| member.holds(labels, facts))
    }

    /// What a node must have to be one of them: each of these. Nodes that have it need not
    /// be: there are other terms. What a selector can be found by. Who is in a group has what
    /// the group asks for.
    pub(crate) fn required(&self) -> impl Iterator<Item = Required<'_>> {
        let inside = self.members.iter().filter(|member| member.member.inside);
        let terms = self.terms.iter().chain(inside.flat_map(|member| member.terms.iter()));
        terms.filter_map(|term| match &term.test {
            Test::In(values) => Some(Required { subject: &term.subject, values }),
            Test::Present | Test::Absent | Test::NotIn(_) => None,
        })
    }

    /// Why a node with these is one of them, or is not: every term by itself.
    #[must_use]
    pub fn explain(&self, labels: &Labels, facts: &Known) -> Vec<Clause> {
        let terms = self.terms.iter().map(|term| term.explain(labels, facts));
        terms.chain(self.members.iter().map(|member| member.explain(labels, facts))).collect()
    }
}

impl Resolved {
    fn holds(&self, labels: &Labels, facts: &Known) -> bool {
        self.terms.iter().all(|term| term.holds(labels, facts)) == self.member.inside
    }

    fn explain(&self, labels: &Labels, facts: &Known) -> Clause {
        let within = self.terms.iter().map(|term| term.explain(labels, facts)).collect();
        let (text, holds) = (self.member.to_string(), self.holds(labels, facts));
        Clause { text, holds, found: None, within: Some(within) }
    }
}

impl Term {
    fn holds(&self, labels: &Labels, facts: &Known) -> bool {
        self.test.holds(self.subject.of(labels, facts))
    }

    fn explain(&self, labels: &Labels, facts: &Known) -> Clause {
        let found = self.subject.of(labels, facts);
        let (holds, found) = (self.test.holds(found), found.map(str::to_owned));
        Clause { text: self.to_string(), holds, found, within: None }
    }
}

impl Subject {
    fn of<'n>(&self, labels: &'n Labels, facts: &'n Known) -> Option<&'n str> {
        match self {
            Self::Label(key) => labels.get(key),
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

    pub(super) fn holds(&self, found: Option<&str>) -> bool {
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
        write_parts(f, &self.terms, self.members.iter().map(|it| &it.member))
    }
}

/// In the one order of all written forms: first terms, then groups.
pub(super) fn write_parts<'a>(
    f: &mut fmt::Formatter<'_>,
    terms: &[Term],
    members: impl Iterator<Item = &'a Member>,
) -> fmt::Result {
    let mut comma = "";
    for term in terms {
        write!(f, "{comma}{term}")?;
        comma = ",";
    }
    for member in members {
        write!(f, "{comma}{member}")?;
        comma = ",";
    }
    if comma.is_empty() { f.write_str("*") } else { Ok(()) }
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
