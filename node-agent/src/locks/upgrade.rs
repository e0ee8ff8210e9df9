//! Which versions of the agent a host takes. Pure: a version comes in.

use serde::Deserialize;

/// The section `[upgrade]`. What it says nothing of is allowed: a release is signed by keys
/// that are on the host, or comes from a repository that its administrator has set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Upgrade {
    pub(super) allow: bool,
    /// The only version that may be brought.
    pub(super) pin: Option<String>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { allow: true, pin: None }
    }
}

impl Upgrade {
    /// The rule that refuses a version; an empty version is none in particular.
    pub(super) fn refuses(&self, version: &str) -> Option<&'static str> {
        match &self.pin {
            _ if !self.allow => Some("upgrade.allow"),
            Some(pin) if pin != version => Some("upgrade.pin"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_allowed_and_a_pin_is_one_version() {
        let refused = |text: &str, version| toml::from_str::<Upgrade>(text).unwrap().refuses(version);
        assert_eq!(refused("", "0.2.0"), None);
        assert_eq!(refused("allow = false", "0.2.0"), Some("upgrade.allow"));
        assert_eq!(refused("allow = false\npin = \"0.2.0\"", "0.2.0"), Some("upgrade.allow"));
        assert_eq!(refused("pin = \"0.2.0\"", "0.2.0"), None);
        assert_eq!(refused("pin = \"0.2.0\"", "0.3.0"), Some("upgrade.pin"));
        assert!(toml::from_str::<Upgrade>("allowed = true").is_err());
    }
}
