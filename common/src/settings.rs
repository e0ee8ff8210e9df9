//! The agent's own options: what exists, what may be said of each. The agent
//! applies them, the control plane checks and shows them.

use std::time::Duration;

use crate::reason::Reason;

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// `facts-interval`.
    pub key: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Of the value; empty: none.
    pub unit: &'static str,
    /// Smallest value, as written; empty: none.
    pub minimum: &'static str,
    /// Largest value, as written; empty: none.
    pub maximum: &'static str,
    /// Value when nobody says another.
    pub default: &'static str,
    /// When a new value takes effect.
    pub applies: Applies,
    /// For people.
    pub description: &'static str,
    /// Release that brought it.
    pub since: &'static str,
    /// All values, if they can be named.
    pub words: &'static [&'static str],
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `15s`, `2m 30s`.
    Duration,
    /// `42`.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Words.
    Text,
}

/// When a new value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// At once; the session stays.
    Live,
    /// With the next session.
    Reconnect,
}

/// Longest value, in bytes.
const MAX_VALUE: usize = 64;

/// A value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// `SETTING_UNKNOWN` or `SETTING_INVALID`.
    pub reason: Reason,
    message: String,
}

const fn duration(
    key: &'static str,
    range: (&'static str, &'static str),
    default: &'static str,
    description: &'static str,
) -> Setting {
    Setting {
        key,
        kind: Kind::Duration,
        unit: "duration",
        minimum: range.0,
        maximum: range.1,
        default,
        applies: Applies::Live,
        description,
        since: "0.1",
        words: &[],
    }
}

/// All options of this release, by key.
pub const SCHEMA: &[Setting] = &[
    duration(
        "drift-interval",
        ("10s", "24h"),
        "1h",
        "How often the agent looks through all files of bundles for drift, besides noticing changes at once.",
    ),
    duration("facts-interval", ("10s", "24h"), "10m", "How often the agent reads its host's facts again."),
    Setting {
        key: "log-level",
        kind: Kind::Text,
        unit: "",
        minimum: "",
        maximum: "",
        default: "info",
        applies: Applies::Live,
        description: "What the agent logs: error, warn, info, debug or trace.",
        since: "0.1",
        words: &["error", "warn", "info", "debug", "trace"],
    },
    duration(
        "reconnect-max",
        ("1s", "30m"),
        "60s",
        "Longest wait before a broken session is tried again; the control plane may ask for a longer one.",
    ),
    duration("reconnect-min", ("100ms", "1m"), "1s", "First wait before a broken session is tried again."),
];

/// The option with this key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SCHEMA.iter().find(|setting| setting.key == key)
}

/// Checks a written value.
///
/// # Errors
/// If the key is unknown or the value not of its kind or out of its range.
pub fn check(key: &str, value: &str) -> Result<(), Invalid> {
    let Some(setting) = find(key) else {
        let known: Vec<&str> = SCHEMA.iter().map(|setting| setting.key).collect();
        let key: String = key.chars().take(MAX_VALUE).collect();
        let message = format!("{key:?} is not a setting; there are {}", known.join(", "));
        return Err(Invalid { reason: Reason::SettingUnknown, message });
    };
    setting.check(value).map_err(|message| Invalid { reason: Reason::SettingInvalid, message })
}

/// A duration as written.
#[must_use]
pub fn parse_duration(value: &str) -> Option<Duration> {
    humantime::parse_duration(value).ok()
}

impl Setting {
    fn check(&self, value: &str) -> Result<(), String> {
        let key = self.key;
        if value.len() > MAX_VALUE {
            return Err(format!("{key} is {} bytes long; it may be {MAX_VALUE}", value.len()));
        }
        match self.kind {
            Kind::Duration => self.check_range(value, parse_duration, "a duration such as 15s"),
            Kind::Integer => self.check_range(value, |text| text.parse::<i64>().ok(), "a whole number"),
            Kind::Boolean if matches!(value, "true" | "false") => Ok(()),
            Kind::Boolean => Err(format!("{key} is {value:?}; it must be true or false")),
            Kind::Text if self.words.is_empty() || self.words.contains(&value) => Ok(()),
            Kind::Text => Err(format!("{key} is {value:?}; it must be one of {}", self.words.join(", "))),
        }
    }

    fn check_range<T: PartialOrd>(
        &self,
        value: &str,
        parse: impl Fn(&str) -> Option<T>,
        what: &str,
    ) -> Result<(), String> {
        let (key, minimum, maximum) = (self.key, self.minimum, self.maximum);
        let parsed = parse(value).ok_or_else(|| format!("{key} is {value:?}; it must be {what}"))?;
        let above = parse(minimum).is_none_or(|minimum| parsed >= minimum);
        let below = parse(maximum).is_none_or(|maximum| parsed <= maximum);
        if above && below {
            Ok(())
        } else {
            Err(format!("{key} is {value}; it must be from {minimum} to {maximum}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_can_be() {
        for setting in SCHEMA {
            assert_eq!(check(setting.key, setting.default), Ok(()), "{}", setting.key);
        }
        assert!(SCHEMA.is_sorted_by_key(|setting| setting.key));
    }

    #[test]
    fn a_wrong_value_is_told_with_what_it_must_be() {
        let reason = |key, value| check(key, value).map_err(|error| error.reason);
        assert_eq!(reason("reconnect-min", "1ms"), Err(Reason::SettingInvalid));
        assert_eq!(reason("reconnect-min", "soon"), Err(Reason::SettingInvalid));
        assert_eq!(reason("log-level", "loud"), Err(Reason::SettingInvalid));
        assert_eq!(reason("colour", "red"), Err(Reason::SettingUnknown));
        assert_eq!(reason("facts-interval", &"1m ".repeat(30)), Err(Reason::SettingInvalid));
        let message = check("reconnect-min", "2h").unwrap_err().to_string();
        assert!(message.contains("100ms") && message.contains("1m"), "{message}");
    }

    #[test]
    fn the_table_of_the_documents_is_this_schema() {
        let page = include_str!("../../docs/settings.md");
        let rows: Vec<String> = SCHEMA.iter().map(row).collect();
        let shown: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).take(rows.len()).collect();
        assert_eq!(shown, rows);
    }

    fn row(setting: &Setting) -> String {
        let values = match setting.kind {
            _ if !setting.words.is_empty() => setting.words.join(", "),
            Kind::Duration | Kind::Integer => format!("{} to {}", setting.minimum, setting.maximum),
            Kind::Boolean => "true, false".to_owned(),
            Kind::Text => "text".to_owned(),
        };
        let applies = match setting.applies {
            Applies::Live => "at once",
            Applies::Reconnect => "with the next session",
        };
        let Setting { key, default, since, description, .. } = setting;
        format!("| `{key}` | {values} | {default} | {applies} | {since} | {description} |")
    }
}
