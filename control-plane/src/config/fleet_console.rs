//! `[fleet-console]`.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::template::{quoted, span};

/// Pages about the fleet, for a browser.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FleetConsole {
    /// Where it listens. `None`: it is not there.
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
    /// How long somebody is let in by a one-time link.
    #[serde(with = "humantime_serde")]
    pub session_ttl: Duration,
    /// Between two counts of the nodes, for the plot.
    #[serde(with = "humantime_serde")]
    pub sample_every: Duration,
}

impl Default for FleetConsole {
    fn default() -> Self {
        Self { listen: None, session_ttl: Duration::from_secs(3600), sample_every: Duration::from_secs(60) }
    }
}

impl FleetConsole {
    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 3] {
        [
            (
                "listen",
                quoted(self.listen.map(|address| address.to_string()).unwrap_or_default()),
                "Address and port, such as \"0.0.0.0:8446\"; port 0 lets the system choose. Empty: it is not there.",
            ),
            (
                "session-ttl",
                span(self.session_ttl),
                "How long somebody stays who came by a one-time link. 1 minute to 12 hours.",
            ),
            (
                "sample-every",
                span(self.sample_every),
                "How often the nodes of each state are counted for the plot; the last 1440 counts are kept, in memory. 1s to 1 hour.",
            ),
        ]
    }

    /// What cannot be, each as a sentence.
    pub(super) fn problems(&self) -> Vec<String> {
        let minute = Duration::from_secs(60);
        let ranges = [
            ("session-ttl", self.session_ttl, minute, minute * 60 * 12),
            ("sample-every", self.sample_every, Duration::from_secs(1), minute * 60),
        ];
        let wrong = ranges.into_iter().filter(|(_, value, least, most)| !(least..=most).contains(&value));
        wrong
            .map(|(key, value, least, most)| {
                let format = humantime::format_duration;
                let (value, least, most) = (format(value), format(least), format(most));
                format!("fleet-console.{key} is {value}; it must be from {least} to {most}")
            })
            .collect()
    }
}

fn address<'de, D: Deserializer<'de>>(given: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(given)?;
    if text.is_empty() {
        return Ok(None);
    }
    let told = |_| D::Error::custom(format!("{text:?} is no address; write IP:PORT, or \"\" for none"));
    text.parse().map(Some).map_err(told)
}
