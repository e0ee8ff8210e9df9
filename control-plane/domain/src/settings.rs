//! Profiles of the agents' own options. A version is immutable. And the options that
//! are in force on a host, as it says.

use std::collections::BTreeMap;

use muster_common::{clock::UnixMillis, settings};
use serde::{Deserialize, Serialize};

use crate::violation::Violation;

/// Faults told of one profile: they travel in the trailer of an answer, which has
/// little room.
pub const MAX_FAULTS: usize = 16;
/// Characters of a key that are told.
const MAX_KEY: usize = 64;

/// Key to written value.
pub type Values = BTreeMap<String, String>;

/// One version of a named set of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name.
    pub name: String,
    /// From 1.
    pub version: u64,
    /// What it says.
    pub values: Values,
    /// When it was made.
    pub created_at: UnixMillis,
    /// By whom.
    pub created_by: String,
    /// Revision of its write; the etag.
    pub revision: u64,
}

/// An option as it is in force on a host. A claim, as all facts are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EffectiveSetting {
    /// Which.
    pub key: String,
    /// As written.
    pub value: String,
    /// Who decided it. `None`: a layer that this release does not know.
    pub origin: Option<Origin>,
    /// What the control plane gave, where the host has another value in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
}

/// Who decides an option; each wins over those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Nobody said another.
    Default,
    /// We.
    ControlPlane,
    /// The host's configuration file.
    Configuration,
    /// The host's lock file.
    Lock,
}

/// Checks all values of a profile.
///
/// # Errors
/// What is wrong with each key, of the first [`MAX_FAULTS`].
pub fn check_values(values: &Values) -> Result<(), Vec<Violation>> {
    let fault = |(key, value): (&String, &String)| {
        let error = settings::check_remote(key, value).err()?;
        let key: String = key.chars().take(MAX_KEY).collect();
        let (field, description) = (format!("profile.values[{key}]"), error.to_string());
        Some(Violation { field, description, reason: error.reason })
    };
    let faults: Vec<Violation> = values.iter().filter_map(fault).take(MAX_FAULTS).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use muster_common::reason::Reason;

    use super::*;

    #[test]
    fn every_key_is_told_that_cannot_be() {
        let values =
            [("colour", "red"), ("log-level", "loud"), ("facts-interval", "1m"), ("proxy.url", "http://p:1")];
        let values: Values = values.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let faults = check_values(&values).unwrap_err();
        let told: Vec<_> = faults.iter().map(|fault| (fault.field.as_str(), fault.reason)).collect();
        assert_eq!(
            told,
            [
                ("profile.values[colour]", Reason::SettingUnknown),
                ("profile.values[log-level]", Reason::SettingInvalid),
                ("profile.values[proxy.url]", Reason::SettingHostOnly),
            ]
        );
        assert_eq!(check_values(&Values::new()), Ok(()));
    }

    #[test]
    fn many_and_long_faults_are_told_in_little_room() {
        let long = "k".repeat(10_000);
        let values: Values = (0..1000).map(|n| (format!("{n}{long}"), long.clone())).collect();
        let faults = check_values(&values).unwrap_err();
        let size: usize = faults.iter().map(|fault| fault.field.len() + fault.description.len()).sum();
        assert_eq!(faults.len(), MAX_FAULTS);
        assert!(size < 6 * 1024, "{size}");
    }
}
