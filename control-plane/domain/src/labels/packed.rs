//! Labels of one node in one piece of memory: there may be a million nodes.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What operators say about a node: keys, each once and in order, with their values.
///
/// One text, in which each key and value stands after its length. A map of strings takes
/// nine times as much.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Box<str>);

/// Labels in order of their keys.
#[derive(Debug, Clone)]
pub struct Iter<'a>(&'a str);

/// Bits of a length that one byte of the text holds; the next one says that more follow.
const BITS: usize = 6;

impl Labels {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a label; `None`: there is no such label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(found, value)| (found == key).then_some(value))
    }

    /// Whether there is a label with this key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets one label. Costs as much as to make all of them anew.
    pub fn insert(&mut self, key: String, value: String) {
        let others = self.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        *self = others.chain([(key, value)]).collect();
    }

    /// Labels in order of their keys.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = part(self.0)?;
        let (value, rest) = part(rest)?;
        self.0 = rest;
        Some((key, value))
    }
}

/// The first part of a packed text, and what comes behind it. `None`: nothing is left.
fn part(text: &str) -> Option<(&str, &str)> {
    let (mut length, mut bytes) = (0, text.bytes().zip(0_usize..));
    loop {
        let (byte, at) = bytes.next()?;
        length |= usize::from(byte & 0x3f) << (BITS * at);
        if byte & 0x40 == 0 {
            return text.get(at + 1..)?.split_at_checked(length);
        }
    }
}

fn add(text: &mut String, part: &str) {
    let mut length = part.len();
    loop {
        // All are ASCII, so the whole is a text, whatever the parts are.
        let digit = u8::try_from(length & 0x3f).unwrap_or_default();
        length >>= BITS;
        text.push(char::from(if length > 0 { digit | 0x40 } else { digit }));
        if length == 0 {
            break;
        }
    }
    text.push_str(part);
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    /// Of several values of one key, the last one counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let labels: Vec<(K, V)> = labels.into_iter().collect();
        let sorted: BTreeMap<&str, &str> = labels.iter().map(|(k, v)| (k.as_ref(), v.as_ref())).collect();
        let mut text = String::new();
        for (key, value) in sorted {
            add(&mut text, key);
            add(&mut text, value);
        }
        Self(text.into())
    }
}

impl Extend<(String, String)> for Labels {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, more: I) {
        *self = std::mem::take(self).into_iter().chain(more).collect();
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> From<[(K, V); N]> for Labels {
    fn from(labels: [(K, V); N]) -> Self {
        labels.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for Labels {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;
    fn into_iter(self) -> Self::IntoIter {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        self.iter().map(owned).collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<String, String>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_map_in_order_whatever_their_texts_are() {
        let long = "ü".repeat(3000);
        for value in ["", "prod", "a=b,c", "\0\u{7f}\u{1}", &"x".repeat(63), &"x".repeat(64), &long] {
            let labels = Labels::from([("role", "web"), ("env", "old"), ("env", value), ("", "nameless")]);
            let all: Vec<_> = labels.iter().collect();
            assert_eq!(all, [("", "nameless"), ("env", value), ("role", "web")]);
            assert_eq!((labels.get("env"), labels.get("en"), labels.len()), (Some(value), None, 3));
        }
    }

    #[test]
    fn the_same_labels_are_equal_in_whatever_order_they_came() {
        let (mut some, all) = (Labels::from([("b", "2")]), Labels::from([("a", "1"), ("b", "3")]));
        assert_ne!(some, all);
        some.insert("b".to_owned(), "3".to_owned());
        some.insert("a".to_owned(), "1".to_owned());
        assert_eq!(some, all);
    }

    #[test]
    fn the_json_form_is_that_of_a_map() {
        let labels = Labels::from([("env", "prod"), ("role", "web")]);
        let text = serde_json::to_string(&labels).expect("JSON");
        assert_eq!(text, r#"{"env":"prod","role":"web"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&text).expect("labels"), labels);
        assert_eq!(format!("{labels:?}"), r#"{"env": "prod", "role": "web"}"#);
    }
}
