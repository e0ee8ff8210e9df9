//! The agent's own options: what exists, what may be said of each. The agent
//! applies them, the control plane checks and shows them.

mod bypass;
mod mirror_url;
mod proxy_url;
mod written;

use std::{borrow::Cow, time::Duration};

pub use bypass::{Bypass, Exception, Service};
pub use mirror_url::MirrorUrl;
pub use proxy_url::ProxyUrl;
pub use written::from_tables;

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
    /// Only the host's own files say it: the control plane can neither give nor override it.
    pub host_only: bool,
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
    /// `http://user:password@host:3128`. A secret: see [`Setting::told`].
    ProxyUrl,
    /// `Session, 10.0.0.0/8`: entries between commas.
    BypassList,
    /// `https://mirror.example/muster`.
    MirrorUrl,
}

/// When a new value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// At once; the session stays.
    Live,
    /// With the next session.
    Reconnect,
}

/// Longest value of most kinds, in bytes.
const MAX_VALUE: usize = 64;

/// A value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// `SETTING_UNKNOWN`, `SETTING_INVALID` or `SETTING_HOST_ONLY`.
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
        host_only: false,
    }
}

/// An option of the way to the control plane: who sets it wrong cuts the host off, so it is
/// for those who can reach the host without it.
const fn way(key: &'static str, kind: Kind, description: &'static str) -> Setting {
    Setting {
        key,
        kind,
        unit: "",
        minimum: "",
        maximum: "",
        default: "",
        applies: Applies::Live,
        description,
        since: "0.1",
        words: &[],
        host_only: true,
    }
}

/// All options of this release, by key.
pub const SCHEMA: &[Setting] = &[
    Setting {
        key: "artifacts.cache",
        kind: Kind::Integer,
        unit: "MiB",
        minimum: "64",
        maximum: "1048576",
        default: "1024",
        applies: Applies::Live,
        description: "Most MiB of files of the signed repository that the host keeps.",
        since: "0.1",
        words: &[],
        host_only: true,
    },
    Setting {
        key: "artifacts.mirror",
        kind: Kind::MirrorUrl,
        unit: "",
        minimum: "",
        maximum: "",
        default: "",
        applies: Applies::Live,
        description: "A static mirror of the signed repository, asked before the control plane; none: the control plane alone.",
        since: "0.1",
        words: &[],
        host_only: false,
    },
    Setting {
        key: "disk-nearly-full",
        kind: Kind::Integer,
        unit: "percent",
        minimum: "50",
        maximum: "99",
        default: "90",
        applies: Applies::Live,
        description: "From so many percent on a disk is nearly full: the condition DiskOk is false until it is 3 below.",
        since: "0.1",
        words: &[],
        host_only: false,
    },
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
        host_only: false,
    },
    way(
        "proxy.bypass",
        Kind::BypassList,
        "What goes past the proxy: Session, Enrollment, Artifacts, hosts with all below them, addresses, networks, or *.",
    ),
    way("proxy.url", Kind::ProxyUrl, "The HTTP proxy to the control plane; none: what HTTPS_PROXY says."),
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

/// Checks a written value that the control plane gives.
///
/// # Errors
/// As `check`; or if the option is the host's alone.
pub fn check_remote(key: &str, value: &str) -> Result<(), Invalid> {
    if find(key).is_some_and(|setting| setting.host_only) {
        let message = format!("{key} is said on the host alone, in its configuration file or its lock file");
        return Err(Invalid { reason: Reason::SettingHostOnly, message });
    }
    check(key, value)
}

/// A duration as written.
#[must_use]
pub fn parse_duration(value: &str) -> Option<Duration> {
    humantime::parse_duration(value).ok()
}

impl Setting {
    /// Longest value, in bytes.
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        match self.kind {
            Kind::ProxyUrl => proxy_url::MAX,
            Kind::BypassList => bypass::MAX,
            Kind::MirrorUrl => mirror_url::MAX,
            Kind::Duration | Kind::Integer | Kind::Boolean | Kind::Text => MAX_VALUE,
        }
    }

    /// Whether a value is entries between commas.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self.kind, Kind::BypassList)
    }

    /// A value as it may be shown to anybody, logged and told: without what is secret in it.
    #[must_use]
    pub fn told<'a>(&self, value: &'a str) -> Cow<'a, str> {
        match self.kind {
            Kind::ProxyUrl if !value.is_empty() => Cow::Owned(
                // What cannot be read may have a password anywhere.
                ProxyUrl::parse(value).map_or_else(|_| "***".to_owned(), |url| url.to_string()),
            ),
            _ => Cow::Borrowed(value),
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let (key, most) = (self.key, self.max_bytes());
        if value.len() > most {
            return Err(format!("{key} is {} bytes long; it may be {most}", value.len()));
        }
        match self.kind {
            Kind::Duration => self.check_range(value, parse_duration, "a duration such as 15s"),
            Kind::Integer => self.check_range(value, |text| text.parse::<i64>().ok(), "a whole number"),
            Kind::Boolean if matches!(value, "true" | "false") => Ok(()),
            Kind::Boolean => Err(format!("{key} is {value:?}; it must be true or false")),
            Kind::Text if self.words.is_empty() || self.words.contains(&value) => Ok(()),
            Kind::Text => Err(format!("{key} is {value:?}; it must be one of {}", self.words.join(", "))),
            Kind::ProxyUrl | Kind::BypassList | Kind::MirrorUrl if value.is_empty() => Ok(()),
            Kind::MirrorUrl => {
                MirrorUrl::parse(value).map(drop).map_err(|why| format!("{key} cannot be used: {why}"))
            }
            Kind::ProxyUrl => {
                ProxyUrl::parse(value).map(drop).map_err(|why| format!("{key} cannot be used: {why}"))
            }
            Kind::BypassList => {
                Bypass::parse(value).map(drop).map_err(|why| format!("{key} cannot be used: {why}"))
            }
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
    fn what_is_secret_in_a_value_is_neither_told_nor_in_an_error() {
        let url = find("proxy.url").unwrap();
        assert_eq!(url.told("http://u:hunter2@p:3128"), "http://u:***@p:3128");
        assert_eq!((url.told(""), url.told("https://u:hunter2@p")), ("".into(), "***".into()));
        assert_eq!(find("proxy.bypass").unwrap().told("Session"), "Session");
        let error = check("proxy.url", "https://u:hunter2@p").unwrap_err();
        assert!(error.reason == Reason::SettingInvalid && !error.to_string().contains("hunter2"), "{error}");
        assert_eq!(check("proxy.bypass", "a b").map_err(|error| error.reason), Err(Reason::SettingInvalid));
        let far = |key, value| check_remote(key, value).map_err(|error| error.reason);
        assert_eq!(far("proxy.url", "http://p:1"), Err(Reason::SettingHostOnly));
        assert_eq!(far("proxy.bypass", ""), Err(Reason::SettingHostOnly));
        assert_eq!((far("log-level", "debug"), far("log-level", "")), (Ok(()), Err(Reason::SettingInvalid)));
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
            Kind::ProxyUrl => "http://[user:password@]host[:port]".to_owned(),
            Kind::BypassList => "list with commas".to_owned(),
            Kind::MirrorUrl => "http(s)://host[:port][/path]".to_owned(),
        };
        let applies = match setting.applies {
            Applies::Live => "at once",
            Applies::Reconnect => "with the next session",
        };
        let Setting { key, since, .. } = setting;
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        let only = if setting.host_only { " Only the host says it." } else { "" };
        let description = format!("{}{only}", setting.description);
        format!("| `{key}` | {values} | {default} | {applies} | {since} | {description} |")
    }
}
