//! The table `[upgrade]`: how long another version of the agent is watched.

use std::time::Duration;

use muster_common::settings::parse_duration;
use serde::{Deserialize, Deserializer, de::Error as _};

/// Least and most of what is said: after an hour in all a version goes back.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(1800));

/// How long another version is watched that the control plane brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Upgrade {
    /// It is kept if it is well for so long without a break. One minute. Since 0.1.
    #[serde(deserialize_with = "bounded")]
    pub probation: Duration,
    /// It may be unwell for so long while nothing else is to blame. Five minutes. Since 0.1.
    #[serde(deserialize_with = "bounded")]
    pub patience: Duration,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { probation: Duration::from_secs(60), patience: Duration::from_secs(300) }
    }
}

fn bounded<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let told = parse_duration(&text).filter(|told| (BOUNDS.0..=BOUNDS.1).contains(told));
    told.ok_or_else(|| D::Error::custom(format!("{text:?} is no time from 1s to 30m, such as 1m")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_bounds() {
        let of = |text: &str| toml::from_str::<Upgrade>(text);
        let minutes = |probation: u64, patience: u64| Upgrade {
            probation: Duration::from_secs(60 * probation),
            patience: Duration::from_secs(60 * patience),
        };
        assert_eq!(of("").unwrap(), minutes(1, 5));
        assert_eq!(of("probation = \"10m\"").unwrap(), minutes(10, 5));
        assert_eq!(of("patience = \"30m\"").unwrap(), minutes(1, 30));
        for bad in
            ["probation = \"0s\"", "patience = \"1h\"", "probation = \"soon\"", "probation = 3", "x = 1"]
        {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
