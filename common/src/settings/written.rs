//! Options as a TOML file has them: `log-level = "debug"`, `"proxy.url" = "…"`, or
//! `proxy.url = "…"`, which TOML reads as a table.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(untagged, expecting = "a value in quotes is expected")]
enum Written {
    Value(String),
    Table(BTreeMap<String, String>),
}

/// For `#[serde(deserialize_with)]`: key to value, tables as keys with dots.
///
/// # Errors
/// If a value is no text.
pub fn from_tables<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut all = BTreeMap::new();
    for (key, written) in BTreeMap::<String, Written>::deserialize(from)? {
        match written {
            Written::Value(value) => drop(all.insert(key, value)),
            Written::Table(table) => {
                all.extend(table.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        #[serde(deserialize_with = "from_tables")]
        settings: BTreeMap<String, String>,
    }

    #[test]
    fn a_key_with_a_dot_may_stand_in_quotes_or_not() {
        for text in [
            "[settings]\nlog-level = \"info\"\nproxy.url = \"u\"\nproxy.bypass = \"b\"\n",
            "[settings]\nlog-level = \"info\"\n\"proxy.url\" = \"u\"\n\"proxy.bypass\" = \"b\"\n",
            "[settings]\nlog-level = \"info\"\n[settings.proxy]\nurl = \"u\"\nbypass = \"b\"\n",
        ] {
            let read: File = toml::from_str(text).unwrap();
            let all: Vec<_> =
                read.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(all, [("log-level", "info"), ("proxy.bypass", "b"), ("proxy.url", "u")], "{text}");
        }
        for text in
            ["[settings]\nx = 3\n", "[settings]\na.b.c = \"x\"\n", "settings = \"http://u:hunter2@p\"\n"]
        {
            assert!(toml::from_str::<File>(text).is_err(), "{text}");
        }
    }
}
