//! What a host says about itself. Claims: shown as such, never trusted.

mod known;
mod packed;

pub(crate) use known::{HOSTNAME, Kind};
pub use known::{Kinds, Known};
use serde::{Deserialize, Serialize};

use crate::settings::EffectiveSetting;

/// Everything a host reports about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Host name.
    pub hostname: String,
    /// Distribution: `debian`.
    pub os: String,
    /// Its version: `12`.
    pub os_version: String,
    /// Kernel release.
    pub kernel: String,
    /// `x86_64`.
    pub architecture: String,
    /// Model of the first CPU.
    pub cpu_model: String,
    /// Logical CPUs.
    pub cpu_count: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Mounted block file systems.
    pub disks: Vec<Disk>,
    /// Addresses of its interfaces.
    pub addresses: Vec<Address>,
    /// Machine id, hashed by the agent.
    pub machine_id: String,
    /// Boot id.
    pub boot_id: String,
    /// Release of the agent.
    pub agent_version: String,
    /// IANA time zone.
    pub timezone: String,
    /// The agent's options in force; none from older agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<EffectiveSetting>,
}

/// One mounted block file system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Where.
    pub mount_point: String,
    /// Which kind.
    pub file_system: String,
    /// How large.
    pub size_bytes: u64,
}

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// Interface name.
    pub interface: String,
    /// Address without prefix length.
    pub address: String,
}

impl Facts {
    /// The facts a selector can ask for, as `facts.NAME`: one word each.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<&str> {
        let value = match name {
            "hostname" => &self.hostname,
            "os" => &self.os,
            "os-version" => &self.os_version,
            "kernel" => &self.kernel,
            "architecture" => &self.architecture,
            "agent-version" => &self.agent_version,
            "timezone" => &self.timezone,
            _ => return None,
        };
        (!value.is_empty()).then_some(value)
    }

    /// Names `lookup` knows.
    pub const SELECTABLE: &'static [&'static str] =
        &["hostname", "os", "os-version", "kernel", "architecture", "agent-version", "timezone"];
}
