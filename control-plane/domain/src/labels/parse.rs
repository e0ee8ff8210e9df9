//! Reads selectors, one character after the other.

use super::{
    FACTS, is_key, is_value,
    selector::{Subject, Term, Test},
    written::Member,
};
use crate::{facts::Facts, item::is_resource_name};

/// Longest selector, in bytes.
const MAX_LENGTH: usize = 4096;
/// Most terms of a selector.
const MAX_TERMS: usize = 64;
/// How much of a text an error repeats.
const SHOWN: usize = 40;

/// A selector does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: expected {expected}, found {found}")]
pub struct SelectorError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What could stand there.
    pub expected: String,
    /// What does.
    pub found: String,
}

/// What a selector is made of, in the order in which it stands there.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) terms: Vec<Term>,
    pub(super) members: Vec<Member>,
}

/// Whether groups may stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    Groups,
    NoGroups,
}

/// Reads all parts; none for `*`.
pub(super) fn parts(text: &str, naming: Naming) -> Result<Parts, SelectorError> {
    if text.len() > MAX_LENGTH {
        let found = format!("{} bytes", text.len());
        return Err(SelectorError { column: 1, expected: format!("at most {MAX_LENGTH} bytes"), found });
    }
    let mut reader = Reader { text, at: 0, naming };
    reader.spaces();
    if reader.take("*") {
        reader.spaces();
        return if reader.rest().is_empty() {
            Ok(Parts::default())
        } else {
            Err(reader.expected("the end after '*'"))
        };
    }
    if reader.rest().is_empty() {
        return Err(reader.expected("a selector (every node is written \"*\")"));
    }
    let mut parts = Parts::default();
    loop {
        if parts.terms.len() + parts.members.len() == MAX_TERMS {
            return Err(reader.expected(&format!("at most {MAX_TERMS} terms")));
        }
        match reader.member()? {
            Some(member) => parts.members.push(member),
            None => parts.terms.push(reader.term()?),
        }
        reader.spaces();
        if reader.rest().is_empty() {
            return Ok(parts);
        }
        if !reader.take(",") {
            return Err(reader.expected("',' or the end"));
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    /// In bytes; always at a character.
    at: usize,
    naming: Naming,
}

impl<'a> Reader<'a> {
    /// `@group` or `!@group`. `None`: another term stands here.
    fn member(&mut self) -> Result<Option<Member>, SelectorError> {
        self.spaces();
        let start = self.at;
        let inside = !self.take("!");
        self.spaces();
        if !self.rest().starts_with('@') {
            self.at = start;
            return Ok(None);
        }
        if self.naming == Naming::NoGroups {
            return Err(self.expected("a label key or a fact: no group can be named here"));
        }
        self.take("@");
        let start = self.at;
        let group = self.word();
        if is_resource_name(group) {
            return Ok(Some(Member { group: group.to_owned(), inside }));
        }
        self.at = start;
        Err(self.expected("the name of a group"))
    }

    fn term(&mut self) -> Result<Term, SelectorError> {
        self.spaces();
        if self.take("!") {
            self.spaces();
            return Ok(Term { subject: self.subject()?, test: Test::Absent });
        }
        let subject = self.subject()?;
        self.spaces();
        let test = if self.at_end_of_term() {
            Test::Present
        } else if self.take("==") || self.take("=") {
            Test::one_of(vec![self.value(&subject)?], true)
        } else if self.take("!=") {
            Test::one_of(vec![self.value(&subject)?], false)
        } else {
            let start = self.at;
            match self.word() {
                "in" => Test::one_of(self.values(&subject)?, true),
                "notin" => Test::one_of(self.values(&subject)?, false),
                _ => {
                    self.at = start;
                    return Err(self.expected("'=', '!=', 'in', 'notin', ',' or the end"));
                }
            }
        };
        Ok(Term { subject, test })
    }

    fn subject(&mut self) -> Result<Subject, SelectorError> {
        let start = self.at;
        let word = self.word();
        if let Some(name) = word.strip_prefix(FACTS) {
            if let Some(fact) = Facts::SELECTABLE.iter().find(|fact| **fact == name) {
                return Ok(Subject::Fact(fact));
            }
            self.at = start;
            let known: Vec<_> = Facts::SELECTABLE.iter().map(|fact| format!("{FACTS}{fact}")).collect();
            return Err(self.expected(&format!("one of {}", known.join(", "))));
        }
        if is_key(word) {
            return Ok(Subject::Label(word.to_owned()));
        }
        self.at = start;
        Err(self.expected(match self.naming {
            Naming::Groups => "a label key, a fact or a group",
            Naming::NoGroups => "a label key or a fact",
        }))
    }

    fn values(&mut self, subject: &Subject) -> Result<Vec<String>, SelectorError> {
        self.spaces();
        if !self.take("(") {
            return Err(self.expected("'('"));
        }
        let mut values = Vec::new();
        loop {
            self.spaces();
            let start = self.at;
            let value = self.value(subject)?;
            if value.is_empty() {
                self.at = start;
                return Err(self.expected("a value"));
            }
            values.push(value);
            self.spaces();
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(self.expected("',' or ')'"));
            }
        }
    }

    /// A value that the subject can have: others would never match, and most
    /// often are a slip.
    fn value(&mut self, subject: &Subject) -> Result<String, SelectorError> {
        self.spaces();
        let start = self.at;
        let value = self.word();
        let possible = match subject {
            Subject::Label(_) if value.is_empty() => self.at_end_of_term(),
            Subject::Label(_) => is_value(value),
            Subject::Fact(_) => !value.is_empty(),
        };
        if possible {
            return Ok(value.to_owned());
        }
        self.at = start;
        Err(self.expected("a value"))
    }

    fn at_end_of_term(&mut self) -> bool {
        self.spaces();
        self.rest().is_empty() || self.rest().starts_with(',')
    }

    /// Takes letters, digits and what else keys, label values and facts are made of.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_./+:~@".contains(c);
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        let taken = self.rest().starts_with(token);
        if taken {
            self.at += token.len();
        }
        taken
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, what: &str) -> SelectorError {
        let shown: String = self.rest().chars().take(SHOWN).collect();
        SelectorError {
            column: self.text[..self.at].chars().count() + 1,
            expected: what.to_owned(),
            found: if shown.is_empty() { "the end".to_owned() } else { format!("{shown:?}") },
        }
    }
}
