//! Words about upgrades of the agent itself.

use super::Artifact;

/// A version is to run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpgradeStart {
    /// Which, as it calls itself.
    #[prost(string, tag = "1")]
    pub version: String,
    /// What package managers call it; empty: the version with `-1`.
    #[prost(string, tag = "2")]
    pub package_version: String,
    /// The release's archive, admitted before. None: the package manager has it.
    #[prost(message, optional, tag = "3")]
    pub artifact: Option<Artifact>,
}

/// How upgrades of this host stand.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpgradeState {
    /// Why this host cannot upgrade its agent; empty: it can, or one is under way.
    #[prost(string, tag = "1")]
    pub unavailable: String,
    /// It takes a release's archive. Not said while one is under way.
    #[prost(bool, tag = "2")]
    pub is_in_slots: bool,
    /// The one that is under way.
    #[prost(message, optional, tag = "3")]
    pub pending: Option<UpgradePending>,
    /// The last one that is over.
    #[prost(message, optional, tag = "4")]
    pub last: Option<UpgradeOver>,
}

/// An upgrade that is under way.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpgradePending {
    /// To which version.
    #[prost(string, tag = "1")]
    pub to: String,
    /// When it began, in milliseconds since 1970: no two begin at the same.
    #[prost(int64, tag = "2")]
    pub begun_ms: i64,
    /// Stable: `verified`, `staged`, `switching`, `probation`, `rolling-back`.
    #[prost(string, tag = "3")]
    pub step: String,
    /// Of the step.
    #[prost(uint32, tag = "4")]
    pub percent: u32,
    /// When the step began, in milliseconds since 1970.
    #[prost(int64, tag = "5")]
    pub since_ms: i64,
    /// For people.
    #[prost(string, tag = "6")]
    pub message: String,
}

/// An upgrade that is over.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpgradeOver {
    /// To which version it was.
    #[prost(string, tag = "1")]
    pub to: String,
    /// When it began, as above.
    #[prost(int64, tag = "2")]
    pub begun_ms: i64,
    /// Stable: `committed`, `refused`, `rolled-back`, `failed`.
    #[prost(string, tag = "3")]
    pub end: String,
    /// What went wrong; nothing did if it is committed.
    #[prost(message, optional, tag = "4")]
    pub failure: Option<UpgradeFailure>,
}

/// What went wrong.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpgradeFailure {
    /// Stable reason.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Whose fault: 1 content, 2 host, 3 network, 4 control plane.
    #[prost(uint32, tag = "2")]
    pub cause: u32,
    /// For people.
    #[prost(string, tag = "3")]
    pub message: String,
    /// What the version that failed said last.
    #[prost(string, tag = "4")]
    pub output: String,
}
