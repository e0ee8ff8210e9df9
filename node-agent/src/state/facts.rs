//! What a host says about itself.

use muster_common::clock::UnixMillis;
use serde::Serialize;

use super::EffectiveSetting;

/// What a host is. Changes seldom; sent only when it does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs)] // documented in node.proto
pub struct Facts {
    pub hostname: String,
    pub os: String,
    pub os_version: String,
    pub kernel: String,
    pub architecture: String,
    pub cpu_model: String,
    pub cpu_count: u32,
    pub memory_bytes: u64,
    pub disks: Vec<Disk>,
    pub addresses: Vec<Address>,
    pub machine_id: String,
    pub boot_id: String,
    pub agent_version: String,
    pub timezone: String,
    pub settings: Vec<EffectiveSetting>,
}

/// One mounted block file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Disk {
    pub mount_point: String,
    pub file_system: String,
    pub size_bytes: u64,
}

/// One address of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[allow(missing_docs)]
pub struct Address {
    pub interface: String,
    pub address: String,
}

/// How busy a host is, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Of all cores, since the last heartbeat.
    pub cpu: u32,
    /// Memory in use.
    pub memory: u32,
    /// The fullest disk.
    pub disk: u32,
}

/// How full one mounted block file system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling {
    /// Where it is mounted.
    pub mount_point: String,
    /// Of what users may have, in thousandths.
    pub permille: u32,
}

/// What one measurement of a host has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measured {
    /// How busy it is.
    pub load: Load,
    /// How full its disks are.
    pub disks: Vec<Filling>,
}

/// A named truth about this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `ClockOk`.
    pub kind: &'static str,
    /// Whether it holds; `None`: nobody knows.
    pub holds: Option<bool>,
    /// One CamelCase word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Since when it is so, by the host's clock.
    pub since: UnixMillis,
}
