//! Which labels a host may ask for when it comes. Labels are what operators say about a
//! node: what a host says is a wish, and only what they allowed beforehand is granted.

use std::str::FromStr;

use muster_common::reason::Reason;

use crate::{
    labels::{Labels, check_labels},
    violation::Violation,
};

/// Most entries of one list.
const MAX: usize = 64;
/// Where a host's wish stands in its request.
const REQUESTED: &str = "requested_labels";

/// One entry: `KEY` for any value, `KEY=VALUE` for that one, `KEY=START*` for those that
/// start so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    key: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Any,
    Exactly(String),
    StartsWith(String),
}

/// Text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write KEY, KEY=VALUE or KEY=START*: {0}")]
pub struct Invalid(String);

impl FromStr for Pattern {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (key, value) = match text.split_once('=') {
            None => (text, Value::Any),
            Some((key, value)) => match value.strip_suffix('*') {
                Some(start) => (key, Value::StartsWith(start.to_owned())),
                None => (key, Value::Exactly(value.to_owned())),
            },
        };
        // A start may end as no value may: "eu-" of "eu-1".
        let example = match &value {
            Value::Any => String::new(),
            Value::Exactly(value) => value.clone(),
            Value::StartsWith(start) if start.is_empty() => {
                return Err(Invalid("for any value write KEY alone".to_owned()));
            }
            Value::StartsWith(start) => format!("{start}0"),
        };
        check_labels(&Labels::from([(key.to_owned(), example)]))
            .map_err(|error| Invalid(error.to_string()))?;
        Ok(Self { key: key.to_owned(), value })
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.value {
            Value::Any => f.write_str(&self.key),
            Value::Exactly(value) => write!(f, "{}={value}", self.key),
            Value::StartsWith(start) => write!(f, "{}={start}*", self.key),
        }
    }
}

impl Pattern {
    fn allows(&self, key: &str, value: &str) -> bool {
        self.key == key
            && match &self.value {
                Value::Any => true,
                Value::Exactly(exactly) => exactly == value,
                Value::StartsWith(start) => value.starts_with(start),
            }
    }
}

/// A list of them. The empty one lets a host ask for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requestable(Vec<Pattern>);

impl Requestable {
    /// Reads a list as it stands in the field of a request or in a configuration.
    ///
    /// # Errors
    /// The first entry that is none; or that there are too many.
    pub fn read(field: &str, texts: &[String]) -> Result<Self, Violation> {
        if texts.len() > MAX {
            return Err(Violation::too_large(field, format!("at most {MAX} entries")));
        }
        let entry = |(n, text): (usize, &String)| {
            text.parse::<Pattern>()
                .map_err(|error| Violation::invalid(format!("{field}[{n}]"), error.to_string()))
        };
        texts.iter().enumerate().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// As it is read.
    #[must_use]
    pub fn written(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// All labels of a node: its `own`, which operators gave, and what its host asks for.
    /// All of the wish is granted or none of it.
    ///
    /// # Errors
    /// The first label that may not be asked for, or that cannot be one.
    pub fn grant(&self, own: &Labels, requested: &Labels) -> Result<Labels, Violation> {
        check_labels(requested).map_err(|error| Violation::invalid(REQUESTED, error.to_string()))?;
        let mut all = own.clone();
        for (key, value) in requested {
            match own.get(key) {
                Some(given) if given == value => continue,
                Some(given) => {
                    let text = format!(
                        "this host gets {key}={given} by what it comes with, and cannot ask for {value:?}"
                    );
                    return Err(refused(key, text));
                }
                None if self.0.iter().any(|pattern| pattern.allows(key, value)) => {}
                None => {
                    return Err(refused(key, format!("{key}={value} may not be asked for; {}", self.told())));
                }
            }
            all.insert(key.to_owned(), value.to_owned());
        }
        check_labels(&all).map_err(|error| Violation::invalid(REQUESTED, error.to_string()))?;
        Ok(all)
    }

    fn told(&self) -> String {
        if self.0.is_empty() {
            return "what this host comes with lets it ask for no labels".to_owned();
        }
        format!("what this host comes with lets it ask for {}", self.written().join(", "))
    }
}

fn refused(key: &str, description: String) -> Violation {
    Violation { field: format!("{REQUESTED}[{key:?}]"), description, reason: Reason::LabelNotRequestable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Requestable {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Requestable::read("requestable_labels", &texts).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_granted_is_a_key_a_value_or_a_start_that_an_operator_named() {
        let list = list(&["rack", "env=prod", "env=test", "dc=eu-*", "example.com/role="]);
        let own = labels(&[("role", "web")]);
        for good in [
            &[("rack", "7")][..],
            &[("env", "test")],
            &[("dc", "eu-1"), ("rack", "")],
            &[("role", "web")],
            &[("example.com/role", "")],
            &[],
        ] {
            let all = list.grant(&own, &labels(good)).unwrap();
            assert_eq!(all, [own.clone(), labels(good)].into_iter().flatten().collect(), "{good:?}");
        }
        for bad in [("env", "dev"), ("dc", "us-1"), ("racks", "7"), ("role", "db"), ("example.com/role", "x")]
        {
            let wish = labels(&[bad, ("rack", "7")]);
            let refused = list.grant(&own, &wish).unwrap_err();
            assert_eq!(refused.reason, Reason::LabelNotRequestable, "{bad:?}");
            assert_eq!(refused.field, format!("requested_labels[{:?}]", bad.0));
        }
        let refused = list.grant(&own, &labels(&[("env", "dev")])).unwrap_err().to_string();
        assert!(
            refused.contains("env=dev") && refused.contains("rack, env=prod, env=test, dc=eu-*"),
            "{refused}"
        );
        let refused = Requestable::default().grant(&own, &labels(&[("env", "dev")])).unwrap_err();
        assert!(refused.to_string().contains("no labels"), "{refused}");
    }

    #[test]
    fn what_cannot_be_a_label_is_not_granted_whatever_is_allowed() {
        let list = list(&["rack"]);
        let long = (0..63).map(|n| (format!("k{n}"), String::new())).collect::<Labels>();
        assert!(list.grant(&long, &labels(&[("rack", "7")])).is_ok());
        let full = (0..64).map(|n| (format!("k{n}"), String::new())).collect::<Labels>();
        for (own, wish) in [(&full, ("rack", "7")), (&long, ("rack", "a b")), (&long, ("facts.os", "x"))] {
            let refused = list.grant(own, &labels(&[wish])).unwrap_err();
            assert_eq!(refused.reason, Reason::InvalidArgument, "{wish:?}");
        }
    }

    #[test]
    fn a_list_is_read_as_it_is_written_and_says_which_entry_is_wrong() {
        let texts = ["rack", "env=prod", "dc=eu-*", "empty="].map(str::to_owned);
        assert_eq!(Requestable::read("x", &texts).unwrap().written(), texts);
        for bad in ["", "a b", "=x", "env=a b", "env=*", "env=*x", "facts.os", "env=a*b"] {
            let error = Requestable::read("x", &["rack".to_owned(), bad.to_owned()]).unwrap_err();
            assert_eq!(error.field, "x[1]", "{bad}");
        }
        assert_eq!(Requestable::read("x", &vec!["a".to_owned(); 65]).unwrap_err().field, "x");
    }
}
