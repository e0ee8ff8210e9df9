//! Which extensions a host takes. Pure: a name and an act come in.

use serde::{Deserialize, Deserializer, de::Error as _};

/// In `allow`, alone: nothing may be brought.
const NONE: &str = "none";
/// Longest part of a name, in bytes.
const LONGEST: usize = 64;

/// What is to be done with an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is installed, given other settings, or brought to another version.
    Bring,
    /// It is taken away.
    Remove,
}

/// The section `[extensions]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Extensions {
    #[serde(deserialize_with = "allowed")]
    allow: Vec<Name>,
    block: Vec<Name>,
}

/// `PUBLISHER/TYPE`; in a list either part may be `*`. Capitals are no other letters: a
/// block that a capital passes by would block nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    publisher: String,
    kind: String,
}

impl Extensions {
    /// The rule that refuses an act. Block wins, what is allowed is all that is allowed, and
    /// what is there may always go.
    pub(super) fn refuses(&self, name: &Name, act: Act) -> Option<&'static str> {
        let is_in = |list: &[Name]| list.iter().any(|listed| listed.covers(name));
        match act {
            Act::Remove => None,
            Act::Bring if is_in(&self.block) => Some("extensions.block"),
            Act::Bring if !is_in(&self.allow) => Some("extensions.allow"),
            Act::Bring => None,
        }
    }
}

impl Name {
    /// One extension's name, without `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::pattern(text).filter(|name| name.publisher != "*" && name.kind != "*")
    }

    fn pattern(text: &str) -> Option<Self> {
        let (publisher, kind) = text.split_once('/')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_part =
            |part: &str| part == "*" || ((1..=LONGEST).contains(&part.len()) && part.bytes().all(is_plain));
        (is_part(publisher) && is_part(kind))
            .then(|| Self { publisher: publisher.to_ascii_lowercase(), kind: kind.to_ascii_lowercase() })
    }

    fn covers(&self, name: &Self) -> bool {
        let part = |pattern: &str, part: &str| pattern == "*" || pattern == part;
        part(&self.publisher, &name.publisher) && part(&self.kind, &name.kind)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format!("{text:?} is not PUBLISHER/TYPE, where either may be *"));
        Self::pattern(&text).ok_or_else(wrong)
    }
}

/// The list of `allow`; `none` alone is the empty one, said aloud.
fn allowed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Name>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts == [NONE] {
        return Ok(Vec::new());
    }
    let name = |text: &String| {
        Name::pattern(text).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is not PUBLISHER/TYPE, where either may be *, nor none alone"))
        })
    };
    texts.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lists(text: &str) -> Extensions {
        toml::from_str(text).unwrap()
    }

    fn refused(text: &str, name: &str) -> Option<&'static str> {
        lists(text).refuses(&Name::parse(name).unwrap(), Act::Bring)
    }

    #[test]
    fn block_wins_an_allow_list_is_exclusive_and_none_is_nothing() {
        let (allow, block) = (Some("extensions.allow"), Some("extensions.block"));
        let table = [
            ("", "acme/log", allow),
            ("allow = []", "acme/log", allow),
            ("allow = [\"none\"]", "acme/log", allow),
            ("allow = [\"acme/log\"]", "acme/log", None),
            ("allow = [\"acme/log\"]", "acme/trace", allow),
            ("allow = [\"acme/log\"]", "other/log", allow),
            ("allow = [\"acme/*\"]", "acme/trace", None),
            ("allow = [\"*/*\"]", "other/trace", None),
            ("allow = [\"*/*\"]\nblock = [\"acme/log\"]", "acme/log", block),
            ("allow = [\"*/*\"]\nblock = [\"acme/log\"]", "ACME/Log", block),
            ("allow = [\"*/*\"]\nblock = [\"acme/log\"]", "acme/trace", None),
            ("allow = [\"acme/log\"]\nblock = [\"acme/*\"]", "acme/log", block),
            ("block = [\"acme/log\"]", "acme/log", block),
            ("block = [\"acme/log\"]", "other/log", allow),
        ];
        for (text, name, expected) in table {
            assert_eq!(refused(text, name), expected, "{text} {name}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_and_none_stands_alone() {
        for bad in [
            "allow = [\"acme\"]",
            "allow = [\"none\", \"acme/log\"]",
            "block = [\"none\"]",
            "allow = [\"acme/log/x\"]",
            "allow = [\"/log\"]",
            "allow = [\"acme/l*\"]",
            "allowed = []",
        ] {
            assert!(toml::from_str::<Extensions>(bad).is_err(), "{bad}");
        }
        assert_eq!(Name::parse("*/log"), None, "one extension has a whole name");
    }

    fn name() -> impl Strategy<Value = Name> {
        ("[ab]", "[xyz]").prop_map(|(publisher, kind)| Name { publisher, kind })
    }

    fn pattern() -> impl Strategy<Value = Name> {
        ("[ab*]", "[xyz*]").prop_map(|(publisher, kind)| Name { publisher, kind })
    }

    proptest! {
        #[test]
        fn the_lists_are_the_matrix_whatever_stands_in_them(
            allow in proptest::collection::vec(pattern(), 0..4),
            block in proptest::collection::vec(pattern(), 0..4),
            name in name(),
        ) {
            let is_in = |list: &[Name]| list.iter().any(|one| {
                (one.publisher == "*" || one.publisher == name.publisher)
                    && (one.kind == "*" || one.kind == name.kind)
            });
            let may = is_in(&allow) && !is_in(&block);
            let lists = Extensions { allow, block };
            prop_assert_eq!(lists.refuses(&name, Act::Bring).is_none(), may);
            prop_assert_eq!(lists.refuses(&name, Act::Remove), None);
            // A longer block list never opens anything.
            let mut more = lists;
            more.block.push(name.clone());
            prop_assert_eq!(more.refuses(&name, Act::Bring), Some("extensions.block"));
        }
    }
}
