//! The agent's own options as they are in force, and who decides each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An option in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveSetting {
    /// Which.
    pub key: String,
    /// As written.
    pub value: String,
    /// Who decided it.
    pub origin: Origin,
    /// What the control plane gave, where another value is in force.
    pub desired: Option<String>,
}

/// Who decides an option; each wins over those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Nobody said another.
    Default,
    /// The control plane.
    ControlPlane,
    /// This host's configuration file.
    Configuration,
    /// This host's lock file.
    Lock,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::ControlPlane => "control plane",
            Self::Configuration => "configuration file",
            Self::Lock => "lock file",
        })
    }
}
