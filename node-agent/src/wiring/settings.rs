//! The agent's options in force: what this host decides, else what the control
//! plane wants, else the default.

use std::{collections::BTreeMap, time::Duration};

use muster_common::settings;

/// The options, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InForce {
    pub(super) facts_interval: Duration,
    pub(super) drift_interval: Duration,
    pub(super) reconnect: (Duration, Duration),
    pub(super) log_level: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said another.
    Default,
    /// The control plane.
    ControlPlane,
    /// This host's configuration file.
    Host,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::ControlPlane => "control plane",
            Self::Host => "this host",
        })
    }
}

/// A value and where it comes from.
#[must_use]
pub fn resolve(
    key: &str,
    host: &BTreeMap<String, String>,
    control_plane: &BTreeMap<String, String>,
) -> (String, Origin) {
    if let Some(value) = host.get(key) {
        return (value.clone(), Origin::Host);
    }
    if let Some(value) = control_plane.get(key) {
        return (value.clone(), Origin::ControlPlane);
    }
    (settings::find(key).map(|setting| setting.default).unwrap_or_default().to_owned(), Origin::Default)
}

impl InForce {
    pub(super) fn of(host: &BTreeMap<String, String>, control_plane: &BTreeMap<String, String>) -> Self {
        let text = |key| resolve(key, host, control_plane).0;
        // Checked before they came here, and defaults are durations: a test of the schema says so.
        let duration = |key| settings::parse_duration(&text(key)).unwrap_or(Duration::from_secs(60));
        let (min, max) = (duration("reconnect-min"), duration("reconnect-max"));
        Self {
            facts_interval: duration("facts-interval"),
            drift_interval: duration("drift-interval"),
            reconnect: (min, max.max(min)),
            log_level: text("log-level"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_decides_before_the_control_plane_and_that_before_the_default() {
        let one = |value: &str| BTreeMap::from([("log-level".to_owned(), value.to_owned())]);
        let none = BTreeMap::new();
        assert_eq!(resolve("log-level", &none, &none), ("info".to_owned(), Origin::Default));
        assert_eq!(resolve("log-level", &none, &one("warn")), ("warn".to_owned(), Origin::ControlPlane));
        assert_eq!(resolve("log-level", &one("debug"), &one("warn")), ("debug".to_owned(), Origin::Host));
        assert_eq!(InForce::of(&none, &none).facts_interval, Duration::from_secs(600));
    }
}
